// SPDX-License-Identifier: Apache-2.0
#include "backend/engine_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::backend {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

Deadline soon() { return Deadline::after(Millis(10'000), "the end of the engine"); }

LaunchPlan shell(const std::string& script, bool all_streams = true) {
  LaunchPlan plan;
  plan.backend = "test";
  plan.argv = {"sh", "-c", script};
  plan.has_control = plan.has_console = all_streams;
  return plan;
}

std::string rest(const sys::UniqueFd& fd) { return sys::read_fd(fd.get()).value(); }

TEST(EngineProcessTest, ConnectsEveryStreamUnderItsNumber) {
  EngineProcess engine =
      start_engine(
          shell("echo control >&3; echo agent >&4; echo console >&5; echo out; echo err >&2"))
          .value();
  EXPECT_EQ(rest(engine.control), "control\n");
  EXPECT_EQ(rest(engine.agent), "agent\n");
  EXPECT_EQ(rest(engine.console), "console\n");
  EXPECT_TRUE(engine.child.wait(soon()).value().ok());
  ErrorTail tail;
  EXPECT_FALSE(tail.drain(engine.errors.get()));
  EXPECT_EQ(tail.text(), "out\nerr\n");
}

TEST(EngineProcessTest, ReadsWhatTheHostSends) {
  EngineProcess engine = start_engine(shell("read word <&4; echo got $word >&4", false)).value();
  ASSERT_TRUE(sys::write_full(engine.agent.get(), "hello\n"));
  EXPECT_EQ(rest(engine.agent), "got hello\n");
}

TEST(EngineProcessTest, LeavesOutStreamsThatThePlanDoesNotHave) {
  const EngineProcess engine =
      start_engine(shell("ls /proc/self/fd | tr '\\n' ' ' >&4", false)).value();
  EXPECT_FALSE(static_cast<bool>(engine.control));
  EXPECT_FALSE(static_cast<bool>(engine.console));
  EXPECT_EQ(rest(engine.agent), "0 1 2 3 4 ");  // 3 is ls's own directory
}

TEST(EngineProcessTest, IsAwayFromTheTerminalsSession) {
  const EngineProcess engine =
      start_engine(shell("cut -d' ' -f6 /proc/$$/stat >&4; echo $$ >&4", false)).value();
  const std::string text = rest(engine.agent);
  EXPECT_EQ(text.substr(0, text.size() / 2), text.substr(text.size() / 2));
}

TEST(EngineProcessTest, NamesAnEngineThatIsMissing) {
  LaunchPlan plan = shell("");
  plan.argv = {"/nowhere/engine"};
  const Error error = start_engine(plan).error();
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_THAT(error.text(), HasSubstr("starting the test engine"));
}

TEST(ErrorTailTest, KeepsTheEndOfALongOutput) {
  EngineProcess engine =
      start_engine(
          shell("head -c 50000 /dev/zero | tr '\\0' x >&2; echo 'the last word' >&2", false))
          .value();
  ASSERT_TRUE(engine.child.wait(soon()));
  ErrorTail tail;
  EXPECT_FALSE(tail.drain(engine.errors.get()));
  EXPECT_THAT(tail.text(), EndsWith("the last word\n"));
  EXPECT_LE(tail.text().size(), 2 * ErrorTail::kKeep);
}

TEST(ErrorTailTest, TellsThatThereMayBeMore) {
  const EngineProcess engine = start_engine(shell("echo early >&2; read x <&4", false)).value();
  ErrorTail tail;
  EXPECT_TRUE(tail.drain(engine.errors.get()));
}

TEST(EngineProcessTest, EndsAGuardedEngineByItsGuard) {
  LaunchPlan plan = shell("trap 'exit 7' USR1; echo up >&4; while :; do sleep 0.01; done", false);
  plan.jailed = true;
  EngineProcess engine = start_engine(plan).value();
  std::array<std::byte, 3> up{};
  ASSERT_TRUE(sys::read_full(engine.agent.get(), up));
  ASSERT_TRUE(engine.child.kill());
  EXPECT_EQ(engine.child.wait(soon()).value().code, 7);
}

// A plan whose engine becomes another user, and the files that it names.
class EngineFiles : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "not started as root";
    plan_.user = kUser;
    plan_.directories = {dir_.path() + "/engine/place"};
    plan_.written = {dir_.path() + "/disk"};
    plan_.read = {dir_.path() + "/image"};
    for (const auto& path : {plan_.written[0], plan_.read[0]})
      ASSERT_TRUE(sys::write_file(path, "x", 0600));
  }
  static struct stat stat_of(const std::string& path) {
    struct stat out{};
    ::stat(path.c_str(), &out);
    return out;
  }

  static constexpr std::uint32_t kUser = 0x7000'0000;
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-engine-").value();
  LaunchPlan plan_;
};

TEST_F(EngineFiles, BelongToItsUserWhereItWrites) {
  ASSERT_TRUE(prepare_files(plan_));
  const struct stat place = stat_of(plan_.directories[0]);
  EXPECT_EQ(place.st_uid, kUser);
  EXPECT_EQ(place.st_gid, kUser);
  EXPECT_EQ(place.st_mode & 0777, 0700U);
  EXPECT_EQ(stat_of(plan_.written[0]).st_uid, kUser);
}

TEST_F(EngineFiles, CanBeReadByItsUserAndStayOurs) {
  ASSERT_TRUE(prepare_files(plan_));
  const struct stat image = stat_of(plan_.read[0]);
  EXPECT_EQ(image.st_uid, 0U);
  EXPECT_EQ(image.st_mode & 0777, 0604U);
}

TEST_F(EngineFiles, AreNotOpenedWhereOtherUsersCouldReachThem) {
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0711), 0);
  const Result<> prepared = prepare_files(plan_);
  EXPECT_EQ(prepared.error().code(), Errc::kPermission);
  EXPECT_EQ(prepared.error().hint(), "chmod o+r " + plan_.read[0]);
  EXPECT_EQ(stat_of(plan_.read[0]).st_mode & 0777, 0600U);
}

TEST_F(EngineFiles, StayAsTheyAreForAnEngineThatStaysOurselves) {
  plan_.user = 0;
  ASSERT_TRUE(prepare_files(plan_));
  EXPECT_EQ(stat_of(plan_.directories[0]).st_uid, 0U);
  EXPECT_EQ(stat_of(plan_.written[0]).st_uid, 0U);
  EXPECT_EQ(stat_of(plan_.read[0]).st_mode & 0777, 0600U);
}

TEST(EngineProcessTest, ANetworkNamespaceThatCannotBeMadeIsToldInTheWordsOfItsProcess) {
  LaunchPlan plan = shell("echo never");
  plan.network_argv = {"sh", "-c", "echo the port is taken >&2; exit 1"};
  plan.network_namespace = true;
  EXPECT_THAT(start_engine(plan).error().text(), HasSubstr("the port is taken"));
}

TEST(PrepareFilesTest, AnEngineThatSeesOtherNamesGetsLinks) {
  const auto dir = sys::TempDir::create("/tmp", "engine-").value();
  LaunchPlan plan;
  plan.working_dir = dir.path() + "/root";
  plan.directories = {plan.working_dir};
  plan.written = {dir.path() + "/disk"};
  plan.links = {{dir.path() + "/disk", "scratch"}};
  ASSERT_TRUE(sys::write_file(plan.written.front(), "old"));
  ASSERT_TRUE(prepare_files(plan));
  ASSERT_TRUE(sys::write_file(plan.working_dir + "/scratch", "new"));
  EXPECT_EQ(sys::read_file(plan.written.front()).value(), "new");
}

}  // namespace
}  // namespace mvm::backend
