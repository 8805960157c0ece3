// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/host_socket.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "vmm/vsock/testing_vsock.h"

namespace mvm::vmm {
namespace {

using testing_vsock::ScratchDir;

TEST(VsockConnectLine, GivesThePort) {
  EXPECT_EQ(parse_connect("CONNECT 52"), 52U);
  EXPECT_EQ(parse_connect("connect 4294967295\r"), 4294967295U);
}

TEST(VsockConnectLine, RefusesEverythingElse) {
  EXPECT_EQ(parse_connect(""), std::nullopt);
  EXPECT_EQ(parse_connect("CONNECT"), std::nullopt);
  EXPECT_EQ(parse_connect("CONNECT "), std::nullopt);
  EXPECT_EQ(parse_connect("CONNECT -1"), std::nullopt);
  EXPECT_EQ(parse_connect("CONNECT 4294967296"), std::nullopt);
  EXPECT_EQ(parse_connect("CONNECT 52 x"), std::nullopt);
  EXPECT_EQ(parse_connect("CONNECTED 52"), std::nullopt);
}

TEST(VsockBoundSocket, IsForItsOwnerAloneAndGoesAway) {
  const ScratchDir dir;
  const std::string path = dir.file("s");
  {
    const auto socket = BoundSocket::create(path).value();
    struct stat facts{};
    ASSERT_EQ(::lstat(path.c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600U);
  }
  EXPECT_FALSE(sys::path_exists(path));
}

TEST(VsockBoundSocket, RefusesAPathThatExists) {
  const ScratchDir dir;
  ASSERT_TRUE(sys::write_file(dir.file("s"), "mine"));
  const auto socket = BoundSocket::create(dir.file("s"));
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code(), Errc::kBusy);
  EXPECT_EQ(sys::read_file(dir.file("s")).value(), "mine");
}

TEST(VsockBoundSocket, LeavesAFileThatTookItsPlace) {
  const ScratchDir dir;
  const std::string path = dir.file("s");
  {
    const auto socket = BoundSocket::create(path).value();
    ASSERT_EQ(::unlink(path.c_str()), 0);
    ASSERT_TRUE(sys::write_file(path, "new"));
  }
  EXPECT_TRUE(sys::path_exists(path));
}

TEST(VsockConnectNow, TellsThatNobodyListens) {
  const ScratchDir dir;
  const auto missing = connect_now(dir.file("s_1"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::kNotFound);
}

TEST(VsockConnectNow, DoesNotWaitForAFullBacklog) {
  const ScratchDir dir;
  const auto listener = sys::listen_unix(dir.file("s")).value();
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  const auto first = connect_now(dir.file("s")).value();
  const auto second = connect_now(dir.file("s"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().errnum(), EAGAIN);
}

TEST(VsockConnectNow, ReachesAPathLongerThanAnAddressHolds) {
  const ScratchDir dir;
  const std::string folder = dir.file(std::string(100, 'd'));
  ASSERT_TRUE(sys::make_dirs(folder));
  const auto socket = BoundSocket::create(folder + "/s").value();
  EXPECT_TRUE(connect_now(folder + "/s"));
}

}  // namespace
}  // namespace mvm::vmm
