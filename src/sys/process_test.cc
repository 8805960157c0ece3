// SPDX-License-Identifier: Apache-2.0
#include "sys/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::sys {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

Deadline soon() { return Deadline::after(Millis(20'000), "the end of the child"); }

Command shell(const std::string& script) {
  Command command;
  command.argv = {"sh", "-c", script};
  return command;
}

std::string output_of(Command command, std::string_view input = {}) {
  return run(std::move(command), input, soon()).value().out;
}

std::string text_from(const UniqueFd& fd) { return read_fd(fd.get()).value(); }

// A pipe whose reading end says what the child wrote and when every holder of the other end has
// gone.
struct Listener {
  Pipe pipe = make_pipe().value();
  std::string rest() {
    pipe.write_end.reset();
    return text_from(pipe.read_end);
  }
};

class Spawn : public testing::Test {
 protected:
  static void SetUpTestSuite() { ::signal(SIGPIPE, SIG_IGN); }
};

TEST_F(Spawn, GivesTheChildItsDescriptorsUnderTheirNumbers) {
  Listener three;
  Listener seven;
  Command command = shell("echo three >&3; echo seven >&7");
  command.fds = {{three.pipe.write_end.get(), 3}, {seven.pipe.write_end.get(), 7}};
  Child child = spawn(command).value();
  EXPECT_EQ(three.rest(), "three\n");
  EXPECT_EQ(seven.rest(), "seven\n");
  EXPECT_TRUE(child.wait(soon()).value().ok());
}

TEST_F(Spawn, SwapsDescriptorsThatOverlap) {
  Listener a;
  Listener b;
  const int first = a.pipe.write_end.get();
  const int second = b.pipe.write_end.get();
  Command command;
  command.argv = {"bash", "-c",
                  "echo a >&" + std::to_string(second) + "; echo b >&" + std::to_string(first)};
  command.fds = {{first, second}, {second, first}};
  Child child = spawn(command).value();
  EXPECT_EQ(a.rest(), "a\n");
  EXPECT_EQ(b.rest(), "b\n");
  EXPECT_TRUE(child.wait(soon()).value().ok());
}

TEST_F(Spawn, GivesOneDescriptorUnderSeveralNumbers) {
  Listener both;
  Command command = shell("echo out; echo err >&2");
  command.fds = {{both.pipe.write_end.get(), 1}, {both.pipe.write_end.get(), 2}};
  Child child = spawn(command).value();
  EXPECT_EQ(both.rest(), "out\nerr\n");
}

TEST_F(Spawn, PutsDevNullWhereNothingIsGiven) {
  Listener out;
  Command command = shell("readlink /proc/self/fd/0 /proc/$$/fd/2");
  command.fds = {{out.pipe.write_end.get(), 1}};
  Child child = spawn(command).value();
  EXPECT_EQ(out.rest(), "/dev/null\n/dev/null\n");
}

TEST_F(Spawn, ClosesEverythingElseInTheChildEvenWithoutCloseOnExec) {
  const UniqueFd inherited(::open("/dev/zero", O_RDONLY));
  Command command;
  command.argv = {"ls", "-l", "/proc/self/fd"};
  EXPECT_THAT(output_of(command), Not(HasSubstr("/dev/zero")));
}

TEST_F(Spawn, ReportsAMissingProgramAsItsOwnError) {
  Command command;
  command.argv = {"no-such-program-anywhere"};
  const Error error = spawn(command).error();
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_THAT(error.text(), HasSubstr("no-such-program-anywhere"));
}

TEST_F(Spawn, ReportsAMissingPathAndAnEmptyCommandToo) {
  Command command;
  command.argv = {"/nowhere/at/all"};
  EXPECT_EQ(spawn(command).error().code(), Errc::kNotFound);
  command.argv = {};
  EXPECT_EQ(spawn(command).error().code(), Errc::kNotFound);
}

TEST_F(Spawn, ReportsAFileThatIsNoProgramBeforeItReturns) {
  const TempDir dir = TempDir::create("/tmp", "mvm-process-").value();
  ASSERT_TRUE(write_file(dir.path() + "/junk", "\x7f junk", 0755));
  Command command;
  command.argv = {dir.path() + "/junk"};
  const Error error = spawn(command).error();
  EXPECT_EQ(error.errnum(), ENOEXEC);
  EXPECT_THAT(error.text(), HasSubstr("exec " + dir.path() + "/junk"));
}

TEST_F(Spawn, ReportsAWorkingDirectoryThatIsNotThere) {
  Command command = shell("true");
  command.working_dir = "/nowhere";
  EXPECT_EQ(spawn(command).error().errnum(), ENOENT);
}

TEST_F(Spawn, StartsInTheWorkingDirectory) {
  Command command;
  command.argv = {"pwd"};
  command.working_dir = "/usr";
  EXPECT_EQ(output_of(command), "/usr\n");
}

TEST_F(Spawn, PassesOnlyTheGivenEnvironment) {
  Command command;
  command.argv = {"env"};
  command.environment = {{"COLOUR=blue", "EMPTY="}};
  EXPECT_EQ(output_of(command), "COLOUR=blue\nEMPTY=\n");
}

TEST_F(Spawn, InheritsTheEnvironmentOtherwise) {
  ::setenv("MVM_PROCESS_TEST", "seen", 1);
  EXPECT_EQ(output_of(shell("echo $MVM_PROCESS_TEST")), "seen\n");
  ::unsetenv("MVM_PROCESS_TEST");
}

TEST_F(Spawn, ResetsSignalsThatWeIgnoreOrBlock) {
  sigset_t usr1;
  sigset_t before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &usr1, &before);
  const std::string status = output_of(shell("exec grep -E 'SigBlk|SigIgn' /proc/self/status"));
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(Spawn, StartsASessionOfItsOwnOnRequest) {
  Command command = shell("cut -d' ' -f6 /proc/$$/stat; echo $$");
  command.new_session = true;
  const std::string text = output_of(command);
  const std::size_t half = text.size() / 2;
  EXPECT_EQ(text.substr(0, half), text.substr(half));
}

// Runs in a child of the test: starts a shell that dies with it, tells its pid, and waits to be
// killed.
[[noreturn]] void parent_of_a_dying_child(int tell) {
  Command command = shell("echo $$; exec sleep 1000");
  command.die_with_parent = true;
  command.fds = {{tell, 1}};
  const auto child = spawn(command);
  ::pause();
  ::_exit(child.has_value() ? 0 : 1);
}

TEST_F(Spawn, EndsAChildThatDiesWithItsParent) {
  Listener pid_text;
  const pid_t parent = ::fork();
  if (parent == 0) parent_of_a_dying_child(pid_text.pipe.write_end.get());
  std::array<char, 32> line{};
  ASSERT_GT(::read(pid_text.pipe.read_end.get(), line.data(), line.size()), 0);
  ASSERT_EQ(::kill(parent, SIGKILL), 0);
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
  // Only the grandchild still holds the pipe's other end: its end is the end of the file.
  EXPECT_EQ(pid_text.rest(), "");
}

// Prints a line when program, child and a child that has left the session all run.
constexpr const char* kFamily = "sleep 1000 & setsid sh -c 'sleep 1000 & echo up; wait' & wait";

[[noreturn]] void parent_of_a_contained_family(int out) {
  Command command = shell(kFamily);
  command.contain = true;
  command.fds = {{out, 1}};
  const Child child = spawn(command).value();
  ::close(out);
  for (;;) ::pause();
}

TEST_F(Spawn, EndsAContainedProgramWithAllItHasStartedWhenTheParentDies) {
  Listener family;
  const pid_t parent = ::fork();
  if (parent == 0) parent_of_a_contained_family(family.pipe.write_end.get());
  std::array<char, 32> line{};
  ASSERT_EQ(::read(family.pipe.read_end.get(), line.data(), line.size()), 3);
  ASSERT_EQ(::kill(parent, SIGKILL), 0);
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
  // Every one of them holds the pipe's other end.
  EXPECT_EQ(family.rest(), "");
}

TEST_F(Spawn, EndsAContainedProgramWithAllItHasStartedWhenItsOwnerGoes) {
  Listener family;
  Command command = shell(kFamily);
  command.contain = true;
  command.fds = {{family.pipe.write_end.get(), 1}};
  {
    const Child child = spawn(command).value();
    std::array<char, 32> line{};
    ASSERT_EQ(::read(family.pipe.read_end.get(), line.data(), line.size()), 3);
  }
  EXPECT_EQ(family.rest(), "");
}

TEST_F(Spawn, EndsWhatAContainedProgramLeavesBehind) {
  Listener family;
  Command command = shell("setsid sleep 1000 & exit 5");
  command.contain = true;
  command.fds = {{family.pipe.write_end.get(), 1}};
  Child child = spawn(command).value();
  EXPECT_EQ(child.wait(soon()).value().code, 5);
  EXPECT_EQ(family.rest(), "");
}

TEST_F(Spawn, TellsTheEndOfAContainedProgramAsItsOwn) {
  Command command = shell("kill -TERM $$");
  command.contain = true;
  EXPECT_EQ(spawn(command).value().wait(soon()).value().signal, SIGTERM);
  command = Command{};
  command.argv = {"/no/such/program"};
  command.contain = true;
  EXPECT_EQ(spawn(command).error().code(), Errc::kNotFound);
  command.argv = {"/etc/passwd"};
  EXPECT_FALSE(spawn(command).has_value());
}

TEST(EnvironmentWith, ReplacesAddsAndLeavesOut) {
  ::setenv("MVM_TEST_KEPT", "old", 1);
  ::setenv("MVM_TEST_CHANGED", "old", 1);
  ::setenv("MVM_TEST_GONE", "old", 1);
  const auto got = environment_with({"MVM_TEST_CHANGED=new", "MVM_TEST_ADDED=1", "MVM_TEST_GONE="});
  const auto count = [&](const std::string& entry) {
    return std::count(got.begin(), got.end(), entry);
  };
  EXPECT_EQ(count("MVM_TEST_KEPT=old"), 1);
  EXPECT_EQ(count("MVM_TEST_CHANGED=new"), 1);
  EXPECT_EQ(count("MVM_TEST_CHANGED=old"), 0);
  EXPECT_EQ(count("MVM_TEST_ADDED=1"), 1);
  EXPECT_EQ(count("MVM_TEST_GONE=old"), 0);
  EXPECT_EQ(count("MVM_TEST_GONE="), 0);
}

TEST_F(Spawn, TellsExitCodeAndSignalApart) {
  Child exits = spawn(shell("exit 42")).value();
  const ExitStatus code = exits.wait(soon()).value();
  EXPECT_EQ(code.code, 42);
  EXPECT_EQ(code.signal, 0);
  EXPECT_EQ(code.text(), "exit code 42");
  Child dies = spawn(shell("kill -TERM $$")).value();
  const ExitStatus signal = dies.wait(soon()).value();
  EXPECT_EQ(signal.signal, SIGTERM);
  EXPECT_EQ(signal.shell_code(), 143);
  EXPECT_EQ(signal.text(), "signal 15");
  EXPECT_FALSE(signal.ok());
}

TEST_F(Spawn, CarriesArgumentsUnchanged) {
  Command command;
  command.argv = {"printf", "%s|", "", "a b", "$HOME", "*", "\n"};
  EXPECT_EQ(output_of(command), "|a b|$HOME|*|\n|");
}

TEST_F(Spawn, RunsTheChildWithStandardInputClosedInTheParent) {
  Command command = shell("exec <&-; exec " + executable_dir().value() +
                          "/sys_test --gtest_filter='Spawn.PutsDevNullWhereNothingIsGiven'");
  EXPECT_TRUE(run(command, {}, soon()).value().status.ok());
}

TEST(Child, KillsAndReapsWhenItGoes) {
  pid_t pid = 0;
  {
    const Child child = spawn(shell("exec sleep 1000")).value();
    pid = child.pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(Child, LivesOnWhenDetached) {
  Child child = spawn(shell("exec sleep 1000")).value();
  const pid_t pid = child.pid();
  child.detach();
  EXPECT_FALSE(child.running());
  EXPECT_EQ(::kill(pid, SIGKILL), 0);
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
}

TEST(Child, ReplacesTheOneItHeldBefore) {
  Child child = spawn(shell("exec sleep 1000")).value();
  const pid_t first = child.pid();
  child = spawn(shell("exit 5")).value();
  EXPECT_EQ(::kill(first, 0), -1);
  EXPECT_EQ(child.wait(soon()).value().code, 5);
}

TEST(Child, GivesUpWaitingAtItsDeadlineAndNamesIt) {
  Child child = spawn(shell("exec sleep 1000")).value();
  const Error error = child.wait(Deadline::after(Millis(10), "the end of sleep")).error();
  EXPECT_EQ(error.code(), Errc::kTimeout);
  EXPECT_THAT(error.text(), HasSubstr("the end of sleep"));
  EXPECT_TRUE(child.running());
}

TEST(Child, CannotBeSignalledOrAwaitedTwice) {
  Child child = spawn(shell("true")).value();
  ASSERT_TRUE(child.wait(soon()));
  EXPECT_EQ(child.signal(SIGTERM).error().code(), Errc::kNotFound);
  EXPECT_EQ(child.wait(soon()).error().code(), Errc::kNotFound);
}

TEST(Run, PumpsLargeInputAndOutputAtOnce) {
  const std::string input(8 << 20, 'x');
  const Output output = run(shell("tee /dev/stderr"), input, soon(), mebibytes(16)).value();
  EXPECT_TRUE(output.status.ok());
  EXPECT_EQ(output.out.size(), input.size());
  EXPECT_TRUE(output.out == input);
}

TEST(Run, KeepsTheEndOfALongStandardError) {
  const Output output =
      run(shell("head -c 3000000 /dev/zero | tr '\\0' e >&2; echo last >&2"), {}, soon()).value();
  EXPECT_THAT(output.err, EndsWith("elast\n"));
  EXPECT_LE(output.err.size(), 2U * 65536);
}

TEST(Run, DoesNotMindAProgramThatIgnoresItsInput) {
  ::signal(SIGPIPE, SIG_IGN);
  const Output output =
      run(shell("exec <&-; echo done"), std::string(1 << 20, 'x'), soon()).value();
  EXPECT_EQ(output.out, "done\n");
}

TEST(Run, EndsTheProgramAtItsDeadline) {
  const Error error =
      run(shell("exec sleep 1000"), {}, Deadline::after(Millis(20), "sleeping")).error();
  EXPECT_EQ(error.code(), Errc::kTimeout);
  EXPECT_THAT(error.text(), HasSubstr("running sh"));
  EXPECT_THAT(error.text(), HasSubstr("sleeping"));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

TEST(Run, RefusesMoreOutputThanItsLimit) {
  EXPECT_EQ(run(shell("exec cat /dev/zero"), {}, soon(), mebibytes(1)).error().code(),
            Errc::kLimit);
}

TEST(RunChecked, ReturnsTheOutputOfASuccess) {
  EXPECT_EQ(run_checked(shell("echo fine")).value(), "fine\n");
}

TEST(RunChecked, QuotesTheEndOfStandardErrorOfAFailure) {
  const Error error = run_checked(shell("echo 'mkfs: no space' >&2; exit 3")).error();
  EXPECT_EQ(error.text(), "sh ended with exit code 3: mkfs: no space");
}

TEST(RunChecked, CutsALongComplaint) {
  const Error error = run_checked(shell("head -c 9000 /dev/zero | tr '\\0' e >&2; exit 1")).error();
  EXPECT_LT(error.text().size(), 2100U);
}

TEST(FindProgram, FindsWhatIsInPathAndNothingElse) {
  EXPECT_TRUE(find_program("sh").has_value());
  EXPECT_EQ(find_program("/bin/sh"), "/bin/sh");
  EXPECT_EQ(find_program("no-such-program-anywhere"), std::nullopt);
  EXPECT_EQ(find_program("/etc/passwd"), std::nullopt);
}

TEST(ProcessStartTime, NamesAProcessForGood) {
  const Child child = spawn(shell("exec sleep 1000")).value();
  const std::uint64_t started = process_start_time(child.pid()).value();
  EXPECT_EQ(process_start_time(child.pid()).value(), started);
  EXPECT_GE(started, process_start_time(::getpid()).value());
}

TEST(ProcessStartTime, IsNotConfusedByBracketsAndSpacesInAName) {
  const Pipe input = make_pipe().value();
  const TempDir dir = TempDir::create("/tmp", "mvm-process-").value();
  ASSERT_EQ(::symlink(find_program("cat")->c_str(), (dir.path() + "/a) b (c").c_str()), 0);
  Command command;
  command.argv = {dir.path() + "/a) b (c"};
  command.fds = {{input.read_end.get(), 0}};
  const Child child = spawn(command).value();
  ASSERT_THAT(read_file("/proc/" + std::to_string(child.pid()) + "/stat").value(),
              HasSubstr("(a) b (c)"));
  EXPECT_GE(process_start_time(child.pid()).value(), process_start_time(::getpid()).value());
}

TEST(ProcessStartTime, IsNotFoundForAProcessThatHasEnded) {
  Child child = spawn(shell("true")).value();
  const pid_t pid = child.pid();
  ASSERT_TRUE(child.wait(soon()));
  EXPECT_EQ(process_start_time(pid).error().code(), Errc::kNotFound);
}

TEST(ExecutableDir, IsWhereTheTestProgramIs) {
  EXPECT_TRUE(path_exists(executable_dir().value() + "/sys_test"));
}

}  // namespace
}  // namespace mvm::sys
