// SPDX-License-Identifier: Apache-2.0
// Whole supervisors as processes, with the real agent or an odd engine behind the fake backend.
#include "supervisor/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <memory>

#include "agent_client/session.h"
#include "supervisor/launch.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::supervisor {
namespace {

using agent_client::Client;
using testing::HasSubstr;
using wire::VmPhase;

class Whole : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    vm_.id = "0123456789abcdef";
    vm_.name = vm_.hostname = "test";
    vm_.backend = "fake";
    vm_.isolation = spec::Isolation::kContainer;
    vm_.engine_program = MVM_AGENT;
    vm_.run_dir = dir_.path() + "/run";
    vm_.data_dir = dir_.path() + "/data";
    vm_.limits.boot_deadline = Millis(20'000);
    ASSERT_TRUE(sys::make_dirs(vm_.run_dir));
    ASSERT_TRUE(sys::make_dirs(vm_.data_dir));
  }
  void TearDown() override {
    founder_.reset();
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // Starts the supervisor and connects as the command that made it.
  void start() {
    std::optional<sys::FileLock> lock = sys::FileLock::acquire(lock_path()).value();
    sys::UniqueFd control = listen();
    founder_ = Client::attach(loop_, launch(MVM_SUPERVISOR, vm_, *lock, control.get(), {}).value())
                   .value();
    control.reset();
    lock.reset();
    ASSERT_TRUE(until([&] { return founder_->state().has_value() || !founder_->connected(); }));
  }
  void start_ready() {
    start();
    const auto ready = founder_->wait_ready(soon());
    ASSERT_TRUE(ready.has_value()) << ready.error().text();
    pid_ = static_cast<pid_t>(read_status(vm_.data_dir).value().supervisor_pid);
  }
  // An engine that runs this shell script instead of an agent.
  void use_engine(const std::string& script) {
    vm_.engine_program = dir_.path() + "/engine";
    ASSERT_TRUE(sys::write_file(vm_.engine_program, "#!/bin/sh\n" + script + "\n", 0755));
  }
  void use_process(std::vector<std::string> argv) {
    vm_.process = spec::ProcessSpec{std::move(argv), {}, "/", "", "TERM"};
  }

  wire::VmState final_state() {
    auto state = founder_->wait_stopped(soon());
    EXPECT_TRUE(state.has_value()) << state.error().text();
    return state.value_or(wire::VmState{});
  }
  wire::Closed exec(Client& client, std::vector<std::string> argv, std::string* output = nullptr) {
    wire::Open open;
    open.exec.argv = std::move(argv);
    const sys::Pipe out = sys::make_pipe().value();
    const auto closed =
        agent_client::run_session(client, open, {-1, out.write_end.get(), -1, nullptr, nullptr});
    EXPECT_TRUE(closed.has_value()) << closed.error().text();
    std::array<std::byte, 4096> bytes;
    (void)sys::set_nonblocking(out.read_end.get(), true);
    const std::size_t n = sys::read_some(out.read_end.get(), bytes).value_or(0);
    if (output != nullptr) *output = std::string(reinterpret_cast<const char*>(bytes.data()), n);
    return closed.value_or(wire::Closed{});
  }
  sys::UniqueFd listen() { return sys::listen_unix(control_socket(vm_.run_dir)).value(); }
  std::unique_ptr<Client> connect() {
    return Client::attach(loop_, sys::connect_unix(control_socket(vm_.run_dir)).value()).value();
  }
  template <class Condition>
  bool until(Condition condition) {
    const Deadline deadline = soon();
    while (!condition()) {
      if (!loop_.run_once(deadline)) return false;
    }
    return true;
  }
  Deadline soon() { return Deadline::after(Millis(20'000), "the supervisor's answer"); }
  std::string lock_path() const { return dir_.path() + "/lock"; }
  bool alive(std::int64_t pid) { return pid > 0 && ::kill(static_cast<pid_t>(pid), 0) == 0; }

  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-supervisor-").value();
  spec::VmSpec vm_;
  sys::EventLoop loop_ = sys::EventLoop::create().value();
  std::unique_ptr<Client> founder_;
  pid_t pid_ = 0x7fffffff;  // of nobody
};

TEST_F(Whole, BootsRunsACommandAndStops) {
  start_ready();
  std::string output;
  EXPECT_EQ(exec(*founder_, {"sh", "-c", "echo hello; exit 7"}, &output).code, 7);
  EXPECT_EQ(output, "hello\n");
  const Status status = read_status(vm_.data_dir).value();
  EXPECT_TRUE(alive(status.engine_pid));
  EXPECT_TRUE(sys::FileLock::is_held(lock_path()).value());
  founder_->request_stop({1000, false});
  EXPECT_EQ(final_state().phase, VmPhase::kStopped);
  EXPECT_FALSE(alive(status.engine_pid));
  EXPECT_FALSE(sys::FileLock::is_held(lock_path()).value());
  EXPECT_FALSE(sys::path_exists(control_socket(vm_.run_dir)));
  EXPECT_EQ(read_status(vm_.data_dir).value().message, "stopped on request");
}

TEST_F(Whole, ServesAClientThatCameBeforeIt) {
  const sys::FileLock lock = sys::FileLock::acquire(lock_path()).value();
  sys::UniqueFd control = listen();
  const std::unique_ptr<Client> early = connect();
  founder_ =
      Client::attach(loop_, launch(MVM_SUPERVISOR, vm_, lock, control.get(), {}).value()).value();
  control.reset();
  const auto ready = early->wait_ready(soon());
  ASSERT_TRUE(ready.has_value()) << ready.error().text();
  pid_ = static_cast<pid_t>(read_status(vm_.data_dir).value().supervisor_pid);
  EXPECT_EQ(exec(*early, {"sh", "-c", "exit 3"}).code, 3);
}

TEST_F(Whole, TellsAnEarlyClientWhyTheMachineDidNotStart) {
  vm_.engine_program = "/nowhere/engine";
  const sys::FileLock lock = sys::FileLock::acquire(lock_path()).value();
  sys::UniqueFd control = listen();
  const std::unique_ptr<Client> early = connect();
  const sys::UniqueFd founder = launch(MVM_SUPERVISOR, vm_, lock, control.get(), {}).value();
  control.reset();
  const auto ready = early->wait_ready(soon());
  EXPECT_THAT(ready.error().text(), HasSubstr("/nowhere/engine"));
}

TEST_F(Whole, TellsAnEarlyClientThatThereWillBeNoMachine) {
  sys::UniqueFd control = listen();
  const std::unique_ptr<Client> early = connect();
  control.reset();
  const auto ready = early->wait_ready(soon());
  EXPECT_EQ(ready.error().code(), Errc::kNotFound);
  EXPECT_THAT(ready.error().text(), HasSubstr("the supervisor has ended"));
}

TEST_F(Whole, EndsWithCodeZeroSoThatNoSanitizerComplained) {
  start_ready();
  founder_->request_stop({1000, false});
  (void)final_state();
  int status = -1;
  ASSERT_EQ(::waitpid(pid_, &status, 0), pid_);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Whole, IsKilledOnRequest) {
  start_ready();
  founder_->request_stop({0, true});
  EXPECT_EQ(final_state().phase, VmPhase::kStopped);
}

TEST_F(Whole, HoldsAnOpenStreamWhilePausedAndGoesOnWithIt) {
  start_ready();
  const auto second = connect();
  ASSERT_TRUE(second->wait_ready(soon()));
  // The echo of what is sent in while the guest is held comes when it is not any more.
  wire::Open open;
  open.exec.argv = {"cat"};
  std::string output;
  std::optional<wire::Closed> closed;
  std::shared_ptr<agent_client::Stream> stream;
  agent_client::StreamHandlers handlers;
  handlers.on_data = [&](std::uint8_t channel, std::span<const std::byte> bytes) {
    output.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    stream->consumed(channel, bytes.size());
  };
  handlers.on_closed = [&](const wire::Closed& end) { closed = end; };
  stream = second->streams().open(open, std::move(handlers)).value();
  stream->send(std::as_bytes(std::span(std::string_view("before"))));
  ASSERT_TRUE(until([&] { return output == "before"; }));
  ASSERT_TRUE(founder_->ask({wire::RequestKind::kPause}, soon()));
  stream->send(std::as_bytes(std::span(std::string_view(" after"))));
  stream->send_eof();
  // The supervisor has passed that on when it answers what was asked behind it.
  ASSERT_TRUE(second->ask({wire::RequestKind::kPause}, soon()));
  EXPECT_EQ(output, "before");
  ASSERT_TRUE(founder_->ask({wire::RequestKind::kResume}, soon()));
  ASSERT_TRUE(until([&] { return closed.has_value(); }));
  EXPECT_EQ(output, "before after");
  EXPECT_EQ(closed->code, 0);
}

TEST_F(Whole, RefusesNewStreamsWhilePausedAndTellsTheNextStep) {
  start_ready();
  ASSERT_TRUE(founder_->ask({wire::RequestKind::kPause}, soon()));
  EXPECT_EQ(read_status(vm_.data_dir).value().phase, VmPhase::kPaused);
  const wire::Closed closed = exec(*founder_, {"true"});
  EXPECT_EQ(closed.outcome, wire::Outcome::kRefused);
  EXPECT_THAT(closed.message, HasSubstr("mvmctl resume test"));
  const Error late = connect()->wait_ready(soon()).error();
  EXPECT_EQ(late.code(), Errc::kUnavailable);
  EXPECT_EQ(late.hint(), "mvmctl resume test");
  ASSERT_TRUE(founder_->ask({wire::RequestKind::kResume}, soon()));
  EXPECT_EQ(read_status(vm_.data_dir).value().phase, VmPhase::kReady);
  EXPECT_EQ(exec(*founder_, {"true"}).code, 0);
}

TEST_F(Whole, StopsAPausedMachineInOrder) {
  start_ready();
  ASSERT_TRUE(founder_->ask({wire::RequestKind::kPause}, soon()));
  founder_->request_stop({1000, false});
  EXPECT_EQ(final_state().phase, VmPhase::kStopped);
  EXPECT_EQ(read_status(vm_.data_dir).value().message, "stopped on request");
}

TEST_F(Whole, KillsAPausedMachine) {
  start_ready();
  ASSERT_TRUE(founder_->ask({wire::RequestKind::kPause}, soon()));
  founder_->request_stop({0, true});
  EXPECT_EQ(final_state().phase, VmPhase::kStopped);
}

TEST_F(Whole, EndsAPausedMachineWhenItsTimeIsOver) {
  vm_.limits.ttl = Millis(1500);
  start_ready();
  ASSERT_TRUE(founder_->ask({wire::RequestKind::kPause}, soon()));
  EXPECT_EQ(final_state().phase, VmPhase::kStopped);
  EXPECT_THAT(read_status(vm_.data_dir).value().message, HasSubstr("time to live"));
}

TEST_F(Whole, SaysWhatTheBackendCannotSaveAndGoesOn) {
  start_ready();
  const auto saved = founder_->ask({wire::RequestKind::kSave}, soon());
  EXPECT_EQ(saved.error().code(), Errc::kUnsupported);
  EXPECT_EQ(exec(*founder_, {"true"}).code, 0);
}

TEST_F(Whole, RefusesToSaveASealedMachine) {
  vm_.sealed_by = std::string(64, 'a');
  start_ready();
  const auto saved = founder_->ask({wire::RequestKind::kSave}, soon());
  EXPECT_THAT(saved.error().text(), HasSubstr("sealed"));
}

TEST_F(Whole, RemovesWhatAnInterruptedSaveHasLeftWhenTheMachineEnds) {
  start_ready();
  const std::string saving = vm_.data_dir + "/saving";
  ASSERT_TRUE(sys::make_dirs(saving + "/odd"));
  ASSERT_TRUE(sys::write_file(saving + "/memory.x1y2z3", "half"));
  founder_->request_stop({0, true});
  EXPECT_EQ(final_state().phase, VmPhase::kStopped);
  EXPECT_TRUE(sys::path_exists(saving));
  EXPECT_FALSE(sys::path_exists(saving + "/memory.x1y2z3"));
  EXPECT_FALSE(sys::path_exists(saving + "/odd"));
}

TEST_F(Whole, HangsUpOnAClientWhoseRequestIsNone) {
  start_ready();
  const auto odd = connect();
  (void)odd->ask({static_cast<wire::RequestKind>(9)}, soon());
  EXPECT_FALSE(odd->connected());
  EXPECT_EQ(exec(*founder_, {"true"}).code, 0);
}

TEST_F(Whole, ServesSeveralCommandsAtOnce) {
  start_ready();
  const auto second = connect();
  ASSERT_TRUE(second->wait_ready(soon()));
  std::string output;
  EXPECT_EQ(exec(*second, {"echo", "second"}, &output).code, 0);
  EXPECT_EQ(output, "second\n");
  EXPECT_EQ(exec(*founder_, {"true"}).code, 0);
}

TEST_F(Whole, StopsWhenItsTimeToLiveIsOver) {
  vm_.limits.ttl = Millis(300);
  start_ready();
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kStopped);
  EXPECT_THAT(state.message, HasSubstr("time to live of 300ms is over"));
}

TEST_F(Whole, GoesOnPastItsIdleTimeWhileACommandIsConnected) {
  vm_.limits.idle = Millis(300);
  start_ready();
  const auto second = connect();
  EXPECT_TRUE(until([&] { return second->state().has_value(); }));
  founder_.reset();
  // As long as one is connected it goes on.
  EXPECT_FALSE(second->wait_stopped(Deadline::after(Millis(800), "its end")));
  EXPECT_EQ(exec(*second, {"true"}).code, 0);
}

TEST_F(Whole, SaysThatItWasIdleWhenItHasStopped) {
  vm_.limits.idle = Millis(300);
  start_ready();
  founder_.reset();
  // Held as long as the supervisor lives.
  ASSERT_TRUE(sys::FileLock::acquire(lock_path()));
  const Status status = read_status(vm_.data_dir).value();
  EXPECT_EQ(status.phase, VmPhase::kStopped);
  EXPECT_EQ(status.message, "no command was connected to it for 300ms");
}

TEST_F(Whole, EndsWithItsMainProcessAndItsExitCode) {
  use_process({"sh", "-c", "echo from main; exit 9"});
  start();
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kStopped);
  EXPECT_EQ(state.exit_code, 9);
  EXPECT_EQ(sys::read_file(vm_.data_dir + "/output.log").value(), "from main\n");
}

TEST_F(Whole, TellsTheSignalOfItsMainProcessAsAShellDoes) {
  use_process({"sh", "-c", "kill -KILL $$"});
  start();
  EXPECT_EQ(final_state().exit_code, 137);
}

TEST_F(Whole, FailsWhenItsMainProcessCannotBeStarted) {
  use_process({"/nowhere/program"});
  start();
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kFailed);
  EXPECT_EQ(state.exit_code, 127);
  EXPECT_THAT(state.message, HasSubstr("the main process was not started"));
}

TEST_F(Whole, StartsAgainAfterAFailureAsOftenAsItsPolicySays) {
  use_process({"sh", "-c", "echo run >> " + dir_.path() + "/runs; exit 4"});
  vm_.restart = {true, 2};
  start();
  EXPECT_EQ(final_state().exit_code, 4);
  EXPECT_EQ(sys::read_file(dir_.path() + "/runs").value(), "run\nrun\nrun\n");
  EXPECT_EQ(read_status(vm_.data_dir).value().restarts, 2U);
}

TEST_F(Whole, DoesNotStartAgainAfterSuccess) {
  use_process({"true"});
  vm_.restart = {true, 2};
  start();
  EXPECT_EQ(final_state().exit_code, 0);
  EXPECT_EQ(read_status(vm_.data_dir).value().restarts, 0U);
}

TEST_F(Whole, RemovesEverythingWhenItsFounderIsGone) {
  vm_.remove_when_done = true;
  start_ready();
  const std::int64_t engine = read_status(vm_.data_dir).value().engine_pid;
  founder_.reset();
  int status = -1;
  ASSERT_EQ(::waitpid(pid_, &status, 0), pid_);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(sys::path_exists(vm_.data_dir));
  EXPECT_FALSE(sys::path_exists(vm_.run_dir));
  EXPECT_FALSE(alive(engine));
  EXPECT_FALSE(sys::FileLock::is_held(lock_path()).value());
}

TEST_F(Whole, GoesOnWithoutItsFounderOtherwise) {
  start_ready();
  founder_.reset();
  founder_ = connect();
  ASSERT_TRUE(founder_->wait_ready(soon()));
  EXPECT_EQ(exec(*founder_, {"true"}).code, 0);
}

TEST_F(Whole, LosesItsEngineWhenItIsKilled) {
  start_ready();
  const std::int64_t engine = read_status(vm_.data_dir).value().engine_pid;
  ASSERT_EQ(::kill(pid_, SIGKILL), 0);
  ASSERT_EQ(::waitpid(pid_, nullptr, 0), pid_);
  ASSERT_TRUE(until([&] { return !founder_->connected(); }));
  // The kernel kills the engine when its parent dies; init reaps it.
  const Deadline deadline = soon();
  while (alive(engine) && !deadline.passed()) ::sched_yield();
  EXPECT_FALSE(sys::FileLock::is_held(lock_path()).value());
}

TEST_F(Whole, DropsAClientThatSendsGarbageAndNobodyElse) {
  start_ready();
  for (int i = 0; i < 20; ++i) {
    const sys::UniqueFd bad = sys::connect_unix(control_socket(vm_.run_dir)).value();
    (void)sys::write_full(bad.get(), std::string(100'000, '\xee'));
  }
  EXPECT_EQ(exec(*founder_, {"true"}).code, 0);
  const auto next = connect();
  EXPECT_TRUE(next->wait_ready(soon()));
}

TEST_F(Whole, FailsWithTheCauseWhenTheGuestSendsGarbage) {
  use_engine("head -c 4096 /dev/zero | tr '\\0' z >&4; exec cat <&4 >/dev/null");
  start();
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kFailed);
  EXPECT_THAT(state.message, HasSubstr("agent protocol"));
  EXPECT_THAT(read_status(vm_.data_dir).value().message, HasSubstr("agent protocol"));
}

TEST_F(Whole, FailsWithTheEnginesOwnWordsWhenItEnds) {
  use_engine("echo 'qemu: no such cpu' >&2; exit 3");
  start();
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kFailed);
  EXPECT_EQ(state.message, "the fake engine ended with exit code 3: qemu: no such cpu");
}

TEST_F(Whole, NamesItsBootDeadlineWhenTheGuestHangs) {
  use_engine("exec cat <&4 >/dev/null");
  vm_.limits.boot_deadline = Millis(200);
  start();
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kFailed);
  EXPECT_EQ(state.message, "the guest was not ready within 200ms of its start");
}

TEST_F(Whole, FailsWhenTheEngineIsMissing) {
  vm_.engine_program = "/nowhere/engine";
  start();
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kFailed);
  EXPECT_THAT(state.message, HasSubstr("/nowhere/engine"));
}

TEST_F(Whole, AnswersEveryStreamWhenTheEngineDies) {
  start_ready();
  const std::int64_t engine = read_status(vm_.data_dir).value().engine_pid;
  wire::Open open;
  open.exec.argv = {"sleep", "1000"};
  agent_client::SessionOptions options;
  options.on_started = [&](std::uint32_t) { ::kill(static_cast<pid_t>(engine), SIGKILL); };
  const auto closed = agent_client::run_session(*founder_, open, {}, options);
  EXPECT_TRUE(!closed.has_value() || closed->outcome == wire::Outcome::kCancelled);
  const wire::VmState state = final_state();
  EXPECT_EQ(state.phase, VmPhase::kFailed);
  EXPECT_EQ(state.message, "the fake engine ended with signal 9");
}

TEST(Launch, NamesAProgramThatIsMissing) {
  const sys::TempDir dir = sys::TempDir::create("/tmp", "mvm-supervisor-").value();
  const sys::FileLock lock = sys::FileLock::acquire(dir.path() + "/lock").value();
  const Error error = launch("/nowhere/mvm-supervisor", {}, lock, lock.fd(), {}).error();
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_THAT(error.text(), HasSubstr("starting the supervisor"));
}

}  // namespace
}  // namespace mvm::supervisor
