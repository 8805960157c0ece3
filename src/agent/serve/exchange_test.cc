// SPDX-License-Identifier: Apache-2.0
// Bytes that lie on a disk, through a whole agent. The disk is memory here, which the agent copies;
// tests/e2e passes gigabytes through a real one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "agent/serve/test_host.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

using testing::HasSubstr;

class DiskData : public testing::Test {
 protected:
  DiskData() {
    EXPECT_EQ(::ftruncate(memory_.get(), wire::kExchangeSize), 0);
    ServerOptions options;
    options.open_exchange = [fd = memory_.get()] {
      return Result<sys::UniqueFd>(sys::UniqueFd(::dup(fd)));
    };
    host_ = std::make_unique<TestHost>(wire::Hello{}, std::move(options));
    host_->exchange = memory_.get();
  }
  std::string put(std::uint32_t offset, std::uint32_t length, char seed) {
    std::string text(length, seed);
    for (std::size_t i = 0; i < text.size(); ++i)
      text[i] = static_cast<char>(seed + static_cast<char>(i % 61));
    EXPECT_EQ(::pwrite(memory_.get(), text.data(), text.size(), offset),
              static_cast<ssize_t>(text.size()));
    return text;
  }
  void point(std::uint32_t stream, std::uint32_t offset, std::uint32_t length) {
    host_->link->send(stream, wire::FrameType::kDataAt, wire::kStdin,
                      wire::encode(wire::DataAt{offset, length}));
  }

  sys::UniqueFd memory_ = sys::memory_file("input", "").value();
  std::unique_ptr<TestHost> host_;
};

using DiskInput = DiskData;
using DiskOutput = DiskData;

TEST_F(DiskInput, ReachesTheProcess) {
  const std::string text = put(8192, 40960, 'a');
  const auto id = host_->exec({"cat"});
  point(id, 8192, 40960);
  host_->eof(id);
  EXPECT_TRUE(host_->wait(id).out == text);
}

TEST_F(DiskInput, KeepsItsOrderAmongOtherInput) {
  const std::string first = put(0, 262144, 'a');
  const std::string second = put(262144, 262144, 'b');
  const std::string third = put(1048576, 4096, 'c');
  const auto id = host_->exec({"cat"});
  host_->data(id, "before ");
  point(id, 0, 262144);
  point(id, 262144, 262144);
  host_->data(id, " between ");
  point(id, 1048576, 4096);
  host_->eof(id);
  EXPECT_TRUE(host_->wait(id).out == "before " + first + second + " between " + third);
}

TEST_F(DiskInput, ThatNobodyReadsIsGrantedAgain) {
  const auto id =
      host_->exec({"sh", "-c", "exec <&-; echo closed; read line < /dev/null; sleep 5"});
  ASSERT_TRUE(host_->until([&] { return host_->stream(id).out == "closed\n"; }));
  for (std::uint32_t sent = 0; sent < 3 * wire::kInputWindow; sent += wire::kMaxDataChunk) {
    ASSERT_TRUE(host_->until([&] { return host_->window(id) >= wire::kMaxDataChunk; }));
    point(id, 0, wire::kMaxDataChunk);
    host_->spend(id, wire::kMaxDataChunk);
  }
  host_->signal(id, SIGKILL);
  EXPECT_EQ(host_->wait(id).result.code, SIGKILL);
}

TEST_F(DiskInput, IsGrantedAgainAsSoonAsItIsTaken) {
  const auto id = host_->exec({"sh", "-c", "cat > /dev/null; sleep 100"});
  host_->spend(id, 4096);
  point(id, 0, 4096);
  EXPECT_TRUE(host_->until([&] { return host_->window(id) == wire::kInputWindow; }));
  host_->spend(id, 4096);
  point(id, 0, 4096);
  host_->eof(id);
  EXPECT_TRUE(host_->until([&] { return host_->window(id) == wire::kInputWindow; }));
  host_->signal(id, SIGKILL);
  host_->wait(id);
}

TEST_F(DiskInput, CountsAgainstTheWindow) {
  const auto id = host_->exec({"sleep", "100"});
  for (std::uint32_t sent = 0; sent <= 2 * wire::kInputWindow; sent += wire::kMaxDataChunk)
    point(id, 0, wire::kMaxDataChunk);
  EXPECT_TRUE(host_->until([&] { return host_->ended; }));
  EXPECT_THAT(host_->fault, HasSubstr("window"));
}

TEST_F(DiskInput, OutsideTheDiskIsRefused) {
  const auto id = host_->exec({"cat"});
  point(id, wire::kExchangeSize - 4096, 8192);
  EXPECT_TRUE(host_->until([&] { return host_->ended; }));
  EXPECT_THAT(host_->fault, HasSubstr("malformed data-at"));
}

TEST_F(DiskInput, InTheGuestsHalfIsRefused) {
  const auto id = host_->exec({"cat"});
  point(id, wire::kExchangeInput - 4096, 8192);
  EXPECT_TRUE(host_->until([&] { return host_->ended; }));
  EXPECT_THAT(host_->fault, HasSubstr("not in its half"));
}

TEST_F(DiskInput, ThatTheDiskLostIsAFaultAndNotAnEnd) {
  ASSERT_EQ(::ftruncate(memory_.get(), 4096), 0);
  const auto id = host_->exec({"cat"});
  point(id, 1048576, 4096);
  EXPECT_TRUE(host_->until([&] { return !host_->fault.empty(); }));
  EXPECT_THAT(host_->fault, HasSubstr("exchange disk ends too early"));
}

TEST(Server, RefusesInputOnADiskThatItDoesNotHave) {
  TestHost host;
  const auto id = host.exec({"cat"});
  host.link->send(id, wire::FrameType::kDataAt, wire::kStdin, wire::encode(wire::DataAt{0, 4096}));
  EXPECT_TRUE(host.until([&] { return host.ended; }));
  EXPECT_THAT(host.fault, HasSubstr("does not have"));
}

TEST_F(DiskOutput, CarriesWhatAProcessWritesInWholePages) {
  sys::Sha256 sent;
  const auto id = host_->exec({"cat"});
  const std::string received = host_->stream_through(id, 64U << 20, sent);
  EXPECT_EQ(received, sent.finish());
  EXPECT_GT(host_->by_disk, 0U);
}

TEST_F(DiskOutput, KeepsItsOrderAmongOddPieces) {
  // Pieces that end anywhere, then whole pages, then the rest.
  const auto reply = host_->sh(
      "seq 1 100000; head -c 3000000 /dev/zero | tr '\\0' x; seq 1 100000; head -c 999999 "
      "/dev/zero | "
      "tr '\\0' y");
  std::string lines;
  for (int i = 1; i <= 100000; ++i) lines += std::to_string(i) + "\n";
  EXPECT_TRUE(reply.out == lines + std::string(3000000, 'x') + lines + std::string(999999, 'y'));
}

TEST_F(DiskOutput, UsesNoSlotAgainThatTheHostHasNotRead) {
  host_->tells_taken = false;
  const auto reply = host_->sh("head -c 50000000 /dev/zero | tr '\\0' z");
  EXPECT_TRUE(reply.out == std::string(50'000'000, 'z'));
  EXPECT_EQ(host_->slots.size(), wire::kExchangeOutput / wire::kMaxInputChunk);
  EXPECT_EQ(std::set<std::uint32_t>(host_->slots.begin(), host_->slots.end()).size(),
            host_->slots.size());
}

TEST_F(DiskOutput, ThatTheHostSaysToHaveReadTwiceIsAFault) {
  ASSERT_TRUE(host_->until([&] { return host_->ready; }));
  host_->link->send(0, wire::FrameType::kTaken, 0, wire::encode_u32(wire::kExchangeInput));
  EXPECT_TRUE(host_->until([&] { return host_->ended; }));
  EXPECT_THAT(host_->fault, HasSubstr("did not write"));
}

}  // namespace
}  // namespace mvm::agent
