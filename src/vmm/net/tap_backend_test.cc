// SPDX-License-Identifier: Apache-2.0
#include "vmm/net/tap_backend.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

using ::testing::HasSubstr;
using Sent = NetBackend::Sent;

constexpr unsigned kTestType = 0x88b5;  // local experimental EtherType

std::string test_frame(char fill, std::size_t size = 60) {
  std::string out(size, fill);
  out.replace(0, 14, std::string("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5", 14));
  return out;
}

// A tap device of our own, up, with a packet socket at the host's end of it.
class TapBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = TapBackend::open("mvmtst%d");
    if (!opened) GTEST_SKIP() << "needs the right to make tap devices: " << opened.error().text();
    backend_ = std::move(*opened);
    ASSERT_EQ(::ioctl(backend_->fd(), TUNGETIFF, &request_), 0);
    host_ = sys::UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(kTestType)));
    ASSERT_TRUE(host_);
    ASSERT_EQ(::ioctl(host_.get(), SIOCGIFFLAGS, &request_), 0);
    request_.ifr_flags = static_cast<short>(request_.ifr_flags | IFF_UP);
    ASSERT_EQ(::ioctl(host_.get(), SIOCSIFFLAGS, &request_), 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(kTestType);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(request_.ifr_name));
    ASSERT_EQ(::bind(host_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  static bool readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 5000) == 1;
  }
  Sent send(std::string bytes) {
    const iovec part{bytes.data(), bytes.size()};
    return backend_->send({}, {&part, 1}, bytes.size()).value();
  }

  std::unique_ptr<TapBackend> backend_;
  sys::UniqueFd host_;
  ifreq request_{};
};

TEST_F(TapBackendTest, SendsAFrameToTheHost) {
  EXPECT_EQ(send(test_frame('t')), Sent::kYes);
  ASSERT_TRUE(readable(host_.get()));
  std::string got(200, '\0');
  got.resize(static_cast<std::size_t>(::recv(host_.get(), got.data(), got.size(), 0)));
  EXPECT_EQ(got, test_frame('t'));
}

TEST_F(TapBackendTest, ReceivesAFrameFromTheHost) {
  const std::string frame = test_frame('r');
  ASSERT_EQ(::send(host_.get(), frame.data(), frame.size(), 0), 60);
  std::string got;
  // The host's own packets (router solicitations) come, too.
  while (got != frame) {
    ASSERT_TRUE(readable(backend_->fd()));
    const auto next = backend_->peek().value();
    if (!next) continue;
    got.assign(reinterpret_cast<const char*>(next->bytes.data()), next->bytes.size());
    backend_->consume();
  }
}

TEST_F(TapBackendTest, TakesEveryOffloadThatItOffers) {
  EXPECT_TRUE(backend_->set_offloads(backend_->offloads()));
  EXPECT_TRUE(backend_->set_offloads(0));
}

TEST_F(TapBackendTest, RefusesAFrameWhileItIsDown) {
  request_.ifr_flags = static_cast<short>(request_.ifr_flags & ~IFF_UP);
  ASSERT_EQ(::ioctl(host_.get(), SIOCSIFFLAGS, &request_), 0);
  EXPECT_EQ(send(test_frame('d')), Sent::kRefused);
}

TEST_F(TapBackendTest, MayBeHandedOverAsADescriptor) {
  auto adopted = TapBackend::adopt(sys::duplicate(backend_->fd()).value());
  ASSERT_TRUE(adopted) << adopted.error().text();
  backend_ = std::move(*adopted);
  EXPECT_EQ(send(test_frame('a')), Sent::kYes);
}

TEST(TapBackend, RefusesNamesThatNoInterfaceCanHave) {
  for (const char* name : {"", "a/b", "sixteen-letters-"}) {
    const auto opened = TapBackend::open(name);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), Errc::kInvalidArgument);
    EXPECT_THAT(opened.error().text(), HasSubstr(name));
  }
}

TEST(TapBackend, RefusesADescriptorThatIsNone) {
  const auto adopted = TapBackend::adopt(sys::open_file("/dev/null", O_RDWR).value());
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code(), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace mvm::vmm
