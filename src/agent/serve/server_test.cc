// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/serve/test_host.h"
#include "sys/unique_fd.h"

namespace mvm::agent {
namespace {

using testing::HasSubstr;

// The agent says that a stream has closed before it is through with closing it, so it is asked for
// one more answer first.
long open_descriptors(TestHost& host) {
  const auto pongs = host.pongs;
  host.link->send(0, wire::FrameType::kPing, 0, std::vector<std::byte>(8));
  EXPECT_TRUE(host.until([&] { return host.pongs > pongs; }));
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(
      ::opendir(("/proc/" + std::to_string(host.agent()) + "/fd").c_str()), ::closedir);
  long count = 0;
  while (::readdir(dir.get()) != nullptr) ++count;
  return count;
}

TEST(Server, RunsAThousandProgramsAfterEachOtherAndKeepsNothing) {
  TestHost host;
  host.run({"head", "-c", "100000", "/dev/zero"});  // opens the link's own pipe
  const long before = open_descriptors(host);
  long failures = 0;
  for (int i = 0; i < 1000; ++i) failures += host.run(std::vector<std::string>{"true"}).result.code;
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(open_descriptors(host), before);
}

TEST(Server, RunsFiftyProgramsAtOnce) {
  TestHost host;
  std::vector<std::uint32_t> ids;
  for (int i = 0; i < 50; ++i)
    ids.push_back(host.exec({"sh", "-c", "cat; exit " + std::to_string(i)}));
  for (const auto id : ids) host.data(id, "x");
  for (const auto id : ids) host.eof(id);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(host.wait(ids[i]).result.code, static_cast<int>(i));
    EXPECT_EQ(host.stream(ids[i]).out, "x");
  }
}

// KiB. AddressSanitizer keeps freed memory for a while; keeping all of it would still be seen.
#if defined(__SANITIZE_ADDRESS__)
constexpr long kFlatMemory = 80 * 1024;
#else
constexpr long kFlatMemory = 12 * 1024;
#endif

TEST(Server, PassesAHundredMegabytesThroughCatInFlatMemory) {
  TestHost host;
  host.run(std::vector<std::string>{"true"});
  const long before = host.agent_memory();
  sys::Sha256 sent;
  const std::string received = host.stream_through(host.exec({"cat"}), 100 << 20, sent);
  EXPECT_EQ(received, sent.finish());
  EXPECT_LT(host.agent_memory() - before, kFlatMemory);
}

TEST(Server, ClosesAStreamWhoseReaderWasSlowerThanItsProcess) {
  TestHost host({}, {}, 4096);
  const auto id = host.exec({"head", "-c", "100000", "/dev/zero"});
  ASSERT_TRUE(host.until([&] { return host.stream(id).started; }));
  // We read nothing until the process is gone. Its pipe and the link hold what it has written.
  const sys::UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, host.stream(id).pid, 0)));
  if (process) {
    pollfd ended{process.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&ended, 1, 10'000), 1);
  } else {
    ASSERT_EQ(errno, ESRCH);  // gone already
  }
  EXPECT_EQ(host.wait(id).out.size(), 100'000U);
  EXPECT_EQ(host.stream(id).result.code, 0);
  EXPECT_FALSE(host.ended);
}

TEST(Server, AStoppedReaderHoldsBackOnlyItsOwnStream) {
  TestHost host;
  host.grants = false;
  const auto stuck = host.exec({"sh", "-c", "yes"});
  ASSERT_TRUE(host.until([&] { return host.stream(stuck).out.size() == wire::kOutputWindow; }));
  EXPECT_EQ(host.sh("echo free").out, "free\n");
  EXPECT_EQ(host.stream(stuck).out.size(), wire::kOutputWindow);
}

TEST(Server, AnswersPing) {
  TestHost host;
  host.link->send(0, wire::FrameType::kPing, 0, std::vector<std::byte>(8));
  EXPECT_TRUE(host.until([&] { return host.pongs == 1; }));
}

TEST(Server, EndsTheConnectionOnGarbageWithoutCrashing) {
  TestHost host;
  ASSERT_TRUE(host.until([&] { return host.ready; }));
  const std::string garbage(4096, '\xee');
  ASSERT_GT(::write(host.link->fd(), garbage.data(), garbage.size()), 0);
  EXPECT_TRUE(host.until([&] { return host.ended; }));
}

TEST(Server, NamesBothVersionsOfADifferentProtocol) {
  wire::Hello hello;
  hello.version = 9;
  TestHost host(hello);
  EXPECT_TRUE(host.until([&] { return host.ended; }));
  EXPECT_THAT(host.fault, HasSubstr("version 9 is not ours (1)"));
}

TEST(Server, EndsTheConnectionWhenTheHostExceedsItsWindow) {
  TestHost host;
  const auto id = host.exec({"sleep", "100"});
  const std::string chunk(wire::kMaxDataChunk, 'x');
  // What the process's pipe (1 MiB) takes is granted again.
  constexpr std::uint32_t kEnough = (1U << 20) + 2 * wire::kInputWindow;
  for (std::uint32_t sent = 0; sent <= kEnough; sent += wire::kMaxDataChunk) host.data(id, chunk);
  EXPECT_TRUE(host.until([&] { return host.ended; }));
  EXPECT_THAT(host.fault, HasSubstr("window"));
}

TEST(Server, RefusesASecondStreamOfTheSameNumber) {
  TestHost host;
  const auto id = host.exec({"sleep", "100"});
  wire::Open open;
  open.exec.argv = {"true"};
  host.link->send(id, wire::FrameType::kOpen, 0, wire::encode(open));
  EXPECT_TRUE(host.until([&] { return host.ended; }));
}

TEST(Server, RefusesABrokenRequestAndGoesOn) {
  TestHost host;
  host.link->send(900, wire::FrameType::kOpen, 0, std::vector<std::byte>(3));
  EXPECT_EQ(host.wait(900).result.outcome, wire::Outcome::kRefused);
  EXPECT_EQ(host.sh("echo on").out, "on\n");
}

TEST(Server, IgnoresFramesForAStreamThatHasClosed) {
  TestHost host;
  const auto id = host.exec({"true"});
  host.wait(id);
  host.data(id, "late");
  host.signal(id, SIGTERM);
  EXPECT_EQ(host.sh("echo on").out, "on\n");
}

TEST(Server, RefusesMoreStreamsThanTheLimit) {
  TestHost host;
  wire::Open open;
  open.kind = wire::OpenKind::kWrite;
  open.file.path = "/dev/null";
  for (std::size_t i = 0; i < wire::kMaxStreams; ++i) host.open(open);
  const Reply reply = host.sh("true");
  EXPECT_EQ(reply.result.outcome, wire::Outcome::kRefused);
}

TEST(Server, ShutdownEndsTheProgramsAndReportsHalted) {
  TestHost host;
  const auto id = host.exec({"sleep", "100"});
  ASSERT_TRUE(host.until([&] { return host.stream(id).started; }));
  host.link->send_control(wire::FrameType::kShutdown,
                          wire::encode(wire::Shutdown{SIGTERM, 10'000}));
  EXPECT_TRUE(host.until([&] { return host.halted; }));
  EXPECT_EQ(host.stream(id).result.code, SIGTERM);
}

TEST(Server, ShutdownKillsWhatIgnoresTheSignal) {
  TestHost host;
  const auto id = host.exec({"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"});
  ASSERT_TRUE(host.until([&] { return host.stream(id).out == "ready\n"; }));
  host.link->send_control(wire::FrameType::kShutdown, wire::encode(wire::Shutdown{SIGTERM, 50}));
  EXPECT_TRUE(host.until([&] { return host.halted; }));
  EXPECT_EQ(host.stream(id).result.code, SIGKILL);
}

TEST(Server, RefusesNewStreamsWhileShuttingDown) {
  TestHost host;
  host.link->send_control(wire::FrameType::kShutdown, wire::encode(wire::Shutdown{SIGTERM, 1000}));
  EXPECT_EQ(host.sh("true").result.outcome, wire::Outcome::kRefused);
}

TEST(Server, RefusesToServeWithoutItsConfiguration) {
  ServerOptions options;
  options.configure = [](const wire::Configure&) -> Result<int> {
    return Error(Errc::kIo, "eth0 is missing");
  };
  TestHost host({}, options);
  EXPECT_TRUE(host.until([&] { return host.ended; }));
  EXPECT_EQ(host.fault, "configuring the guest: eth0 is missing");
}

}  // namespace
}  // namespace mvm::agent
