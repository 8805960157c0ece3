// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/tx_buffer.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace mvm::vmm {
namespace {

bool append(TxBuffer& buffer, std::string text, std::size_t skip = 0) {
  const std::array<iovec, 2> parts = {
      iovec{text.data(), text.size() / 2},
      iovec{text.data() + text.size() / 2, text.size() - text.size() / 2}};
  return buffer.append(parts, skip);
}

std::string contents(const TxBuffer& buffer) {
  iovec parts[2];
  std::string out;
  for (std::size_t i = 0, n = buffer.contents(parts); i < n; ++i)
    out.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  return out;
}

TEST(VsockTxBuffer, HoldsWhatFollowsTheSkippedBytes) {
  TxBuffer buffer(64 << 10);
  ASSERT_TRUE(append(buffer, "0123456789", 7));
  EXPECT_EQ(contents(buffer), "789");
}

TEST(VsockTxBuffer, RefusesWhatGoesOverItsLimitAndStaysAsItWas) {
  TxBuffer buffer(64 << 10);
  ASSERT_TRUE(append(buffer, std::string((64 << 10) - 1, 'a')));
  EXPECT_FALSE(append(buffer, "bc"));
  EXPECT_EQ(buffer.size(), (64U << 10) - 1);
  EXPECT_TRUE(append(buffer, "b"));
}

TEST(VsockTxBuffer, KeepsTheOrderAroundTheEndOfTheRing) {
  TxBuffer buffer(16 << 10);
  ASSERT_TRUE(append(buffer, std::string(16000, 'a')));
  buffer.consume(15990);
  ASSERT_TRUE(append(buffer, std::string(1000, 'b')));
  EXPECT_EQ(contents(buffer), std::string(10, 'a') + std::string(1000, 'b'));
}

TEST(VsockTxBuffer, GrowsWithItsContentsInOrder) {
  TxBuffer buffer(256 << 10);
  ASSERT_TRUE(append(buffer, std::string(16000, 'a')));
  buffer.consume(15000);
  ASSERT_TRUE(append(buffer, std::string(10000, 'b')));
  ASSERT_TRUE(append(buffer, std::string(100000, 'c')));
  EXPECT_EQ(contents(buffer),
            std::string(1000, 'a') + std::string(10000, 'b') + std::string(100000, 'c'));
}

TEST(VsockTxBuffer, IsEmptyWhenAllIsConsumed) {
  TxBuffer buffer(64 << 10);
  ASSERT_TRUE(append(buffer, "abc"));
  buffer.consume(3);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(contents(buffer), "");
}

}  // namespace
}  // namespace mvm::vmm
