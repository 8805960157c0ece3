// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "agent/serve/test_host.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

using testing::HasSubstr;
using wire::Outcome;

wire::ExecRequest request(std::vector<std::string> argv) {
  wire::ExecRequest out;
  out.argv = std::move(argv);
  return out;
}

TEST(Exec, ReturnsExitCodeAndBothOutputs) {
  TestHost host;
  const Reply reply = host.sh("echo out; echo err >&2; exit 7");
  EXPECT_TRUE(reply.started);
  EXPECT_EQ(reply.result.outcome, Outcome::kExited);
  EXPECT_EQ(reply.result.code, 7);
  EXPECT_EQ(reply.out, "out\n");
  EXPECT_EQ(reply.err, "err\n");
}

TEST(Exec, PassesStdinToTheProgram) {
  TestHost host;
  EXPECT_EQ(host.run(std::vector<std::string>{"cat"}, "hello").out, "hello");
}

TEST(Exec, KeepsStdinOpenUntilTheHostEndsIt) {
  TestHost host;
  const auto id = host.exec({"cat"});
  host.data(id, "one ");
  ASSERT_TRUE(host.until([&] { return host.stream(id).out == "one "; }));
  host.data(id, "two");
  host.eof(id);
  EXPECT_EQ(host.wait(id).out, "one two");
}

TEST(Exec, TakesInputThatNobodyReads) {
  TestHost host;
  const auto id = host.exec({"sh", "-c", "exec <&-; sleep 0.1; echo done"});
  sys::Sha256 sent;
  host.stream_through(id, 4 << 20, sent);
  EXPECT_EQ(host.stream(id).result.code, 0);
}

TEST(Exec, TellsTheSignalThatEndedTheProgram) {
  TestHost host;
  const Reply reply = host.sh("kill -KILL $$");
  EXPECT_EQ(reply.result.outcome, Outcome::kSignalled);
  EXPECT_EQ(reply.result.code, SIGKILL);
}

TEST(Exec, SignalsTheWholeProcessGroup) {
  TestHost host;
  const auto id = host.exec({"sh", "-c", "sleep 100 & echo ready; wait"});
  ASSERT_TRUE(host.until([&] { return host.stream(id).out == "ready\n"; }));
  host.signal(id, SIGTERM);
  EXPECT_EQ(host.wait(id).result.code, SIGTERM);
}

TEST(Exec, NamesAProgramThatIsNotThere) {
  TestHost host;
  const Reply reply = host.run(std::vector<std::string>{"/no/such"});
  EXPECT_EQ(reply.result.outcome, Outcome::kNotStarted);
  EXPECT_EQ(reply.result.code, ENOENT);
  EXPECT_EQ(reply.result.message, "exec /no/such: No such file or directory");
  EXPECT_FALSE(reply.started);
}

TEST(Exec, RefusesADirectoryAsProgram) {
  TestHost host;
  const Reply reply = host.run(std::vector<std::string>{"/etc"});
  EXPECT_EQ(reply.result.outcome, Outcome::kNotStarted);
  EXPECT_EQ(reply.result.code, EACCES);
}

TEST(Exec, SearchesThePathOfTheRequest) {
  const auto dir = sys::TempDir::create("/tmp", "agent-").value();
  ASSERT_TRUE(sys::write_file(dir.path() + "/tool", "#!/bin/sh\necho mine\n", 0755));
  TestHost host;
  wire::ExecRequest exec = request({"tool"});
  exec.env = {"PATH=/nowhere:" + dir.path()};
  EXPECT_EQ(host.wait(host.exec(exec)).out, "mine\n");
}

TEST(Exec, RunsAScriptWithoutInterpreterLineByTheShell) {
  const auto dir = sys::TempDir::create("/tmp", "agent-").value();
  ASSERT_TRUE(sys::write_file(dir.path() + "/script", "echo \"$0 $1\"\n", 0755));
  TestHost host;
  const std::string path = dir.path() + "/script";
  EXPECT_EQ(host.run(std::vector<std::string>{path, "x"}).out, path + " x\n");
}

TEST(Exec, TellsAMissingInterpreterFromAMissingProgram) {
  const auto dir = sys::TempDir::create("/tmp", "agent-").value();
  ASSERT_TRUE(sys::write_file(dir.path() + "/script", "#!/no/interpreter\n", 0755));
  TestHost host;
  EXPECT_THAT(host.run(std::vector<std::string>{dir.path() + "/script"}).result.message,
              HasSubstr("interpreter"));
}

TEST(Exec, NamesAMissingWorkingDirectory) {
  TestHost host;
  wire::ExecRequest exec = request({"pwd"});
  exec.working_dir = "/no/such";
  const Reply reply = host.wait(host.exec(exec));
  EXPECT_EQ(reply.result.outcome, Outcome::kNotStarted);
  EXPECT_EQ(reply.result.message, "working directory /no/such: No such file or directory");
}

TEST(Exec, EndsAProgramWhoseTimeHasPassed) {
  TestHost host;
  wire::ExecRequest exec = request({"sleep", "100"});
  exec.timeout_ms = 50;
  EXPECT_EQ(host.wait(host.exec(exec)).result.outcome, Outcome::kTimedOut);
}

TEST(Exec, KillsAProgramThatIgnoresItsTimeout) {
  TestHost host;
  wire::ExecRequest exec = request({"sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"});
  exec.timeout_ms = 50;
  EXPECT_EQ(host.wait(host.exec(exec)).result.outcome, Outcome::kTimedOut);
}

TEST(Exec, CancelKillsAndCloses) {
  TestHost host;
  const auto id = host.exec({"sh", "-c", "trap '' HUP TERM; while :; do sleep 1; done"});
  host.link->send(id, wire::FrameType::kCancel, 0, {});
  EXPECT_EQ(host.wait(id).result.outcome, Outcome::kCancelled);
}

TEST(Exec, DoesNotWaitForABackgroundChildThatKeepsTheOutputOpen) {
  TestHost host;
  const Reply reply = host.sh("sleep 5 & echo done");
  EXPECT_TRUE(reply.closed);
  EXPECT_EQ(reply.out, "done\n");
}

TEST(Exec, BecomesTheUserWithItsGroups) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  TestHost host;
  wire::ExecRequest exec = request({"sh", "-c", "id -u; id -g; id -G; echo ok > /dev/stderr"});
  exec.user = "12345:54321";
  const Reply reply = host.wait(host.exec(exec));
  EXPECT_EQ(reply.out, "12345\n54321\n54321\n");
  EXPECT_EQ(reply.err, "ok\n");
}

TEST(Exec, RefusesAnUnknownUser) {
  TestHost host;
  wire::ExecRequest exec = request({"id"});
  exec.user = "nobody-of-this-name";
  const Reply reply = host.wait(host.exec(exec));
  EXPECT_EQ(reply.result.outcome, Outcome::kNotStarted);
  EXPECT_THAT(reply.result.message, HasSubstr("nobody-of-this-name"));
}

TEST(Exec, GivesATerminalOfTheAskedSizeAndResizesIt) {
  TestHost host;
  wire::ExecRequest exec = request({"sh", "-c", "stty size; read line; stty size"});
  exec.tty = true;
  exec.rows = 33;
  exec.columns = 99;
  const auto id = host.exec(exec);
  ASSERT_TRUE(host.until([&] { return host.stream(id).out == "33 99\r\n"; }));
  host.link->send(id, wire::FrameType::kResize, 0, wire::encode(wire::Resize{44, 111}));
  host.data(id, "\n");
  EXPECT_THAT(host.wait(id).out, HasSubstr("44 111"));
}

TEST(Exec, TerminalTurnsControlCIntoAnInterrupt) {
  TestHost host;
  // No shell: dash loses an interrupt that comes while it starts a child.
  wire::ExecRequest exec = request({"cat"});
  exec.tty = true;
  const auto id = host.exec(exec);
  host.data(id, "x\n");
  ASSERT_TRUE(host.until([&] { return host.stream(id).out == "x\r\nx\r\n"; }));
  host.data(id, "\x03");
  EXPECT_EQ(host.wait(id).result.code, SIGINT);
}

TEST(Exec, TerminalTakesTheEndOfInputAsControlD) {
  TestHost host;
  wire::ExecRequest exec = request({"cat"});
  exec.tty = true;
  const auto id = host.exec(exec);
  host.eof(id);
  EXPECT_EQ(host.wait(id).result.code, 0);
}

TEST(Exec, TerminalDeliversAllOutputBeforeItCloses) {
  TestHost host;
  wire::ExecRequest exec = request({"seq", "20000"});
  exec.tty = true;
  EXPECT_THAT(host.wait(host.exec(exec)).out, testing::EndsWith("19999\r\n20000\r\n"));
}

TEST(Exec, CompletesTheEnvironment) {
  TestHost host;
  const Reply reply = host.run(std::vector<std::string>{"env"});
  EXPECT_THAT(reply.out, HasSubstr("PATH=/usr/local/sbin:"));
  EXPECT_THAT(reply.out, HasSubstr("USER=root"));
}

}  // namespace
}  // namespace mvm::agent
