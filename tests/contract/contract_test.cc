// SPDX-License-Identifier: Apache-2.0
// What every backend must do, told by the agent stream and the end of the machine alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <optional>

#include "agent_client/stream_table.h"
#include "backend/registry/registry.h"
#include "engine.h"
#include "supervisor/guest_link.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/random.h"

namespace mvm::contract {
namespace {

using backend::EndReason;
using backend::MachineEnd;

// One launched machine with the host's half of the agent channel.
class Booted {
 public:
  Booted(sys::EventLoop& loop, const backend::Backend& backend, const spec::VmSpec& vm)
      : streams_([this](std::uint32_t stream, wire::FrameType type, std::uint8_t channel,
                        std::span<const std::byte> payload) {
          link_->send({stream, type, channel, payload});
        }) {
    const backend::LaunchPlan plan = backend.plan(vm).value();
    machine_ = backend.launch(plan).value();
    pid = machine_->pid();
    console_ = machine_->take_console();
    backend::Machine::Events events;
    events.on_agent = [this, &loop, configure = supervisor::configure_for(vm, plan)](
                          sys::UniqueFd fd) { attach(loop, std::move(fd), configure); };
    events.on_end = [this](const MachineEnd& end) {
      ++ends;
      last_end = end;
    };
    EXPECT_TRUE(machine_->watch(loop, std::move(events)));
  }
  void attach(sys::EventLoop& loop, sys::UniqueFd fd, const wire::Configure& configure) {
    link_ = std::make_unique<supervisor::GuestLink>(
        loop, std::move(fd),
        supervisor::GuestLink::Handlers{
            [this](const wire::Ready&) { ++ready; },
            [this](Error error) { faults += error.text() + "; "; }, [this] { ++halted; },
            [this](const wire::Frame& frame) { return streams_.handle(frame); }});
    EXPECT_TRUE(link_->start(configure));
  }
  // Starts a command in the guest; what it says and how it ends is kept here.
  void exec(std::vector<std::string> argv) {
    output.clear();
    closed.reset();
    wire::Open open;
    open.exec.argv = std::move(argv);
    agent_client::StreamHandlers handlers;
    handlers.on_data = [this](std::uint8_t channel, std::span<const std::byte> bytes) {
      output.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      stream_->consumed(channel, bytes.size());
    };
    handlers.on_closed = [this](const wire::Closed& end) { closed = end; };
    stream_ = streams_.open(open, std::move(handlers)).value();
    stream_->send_eof();
  }
  void kill() { machine_->kill(); }
  void pause(backend::Machine::Done done) { machine_->pause(std::move(done)); }
  void resume(backend::Machine::Done done) { machine_->resume(std::move(done)); }
  void end() { machine_->end(); }
  void save(const backend::SnapshotFiles& files, backend::Machine::Done done) {
    machine_->save(files, std::move(done));
  }
  void shut_down() { link_->request_shutdown({SIGTERM, 500}); }

  pid_t pid = 0;
  int ready = 0;
  int halted = 0;
  int ends = 0;
  std::string faults;
  std::optional<MachineEnd> last_end;
  std::string output;
  std::optional<wire::Closed> closed;

 private:
  agent_client::StreamTable streams_;
  std::shared_ptr<agent_client::Stream> stream_;
  std::unique_ptr<backend::Machine> machine_;
  std::unique_ptr<supervisor::GuestLink> link_;
  sys::UniqueFd console_;
};

class Contract : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    const auto vm = bootable();
    ASSERT_TRUE(vm.has_value()) << vm.error().text();
    vm_ = *vm;
    backend_ = backend::find_backend(engine().backend).value();
  }
  // Each machine has a directory of its own, as the supervisor would give it.
  std::unique_ptr<Booted> launch() {
    run_dirs_.push_back(sys::TempDir::create("/tmp", "mvm-contract-").value());
    spec::VmSpec vm = vm_;
    vm.run_dir = vm.data_dir = run_dirs_.back().path();
    vm.id = sys::random_hex(8);
    locks_.push_back(sys::FileLock::acquire(vm.run_dir + "/lock").value());
    return std::make_unique<Booted>(loop_, *backend_, vm);
  }
  std::unique_ptr<Booted> boot() {
    auto out = launch();
    EXPECT_TRUE(until([&] { return out->ready > 0 || out->ends > 0; }));
    EXPECT_EQ(out->ready, 1) << out->faults << (out->last_end ? out->last_end->engine_output : "");
    return out;
  }
  template <class Condition>
  bool until(Condition condition, Millis limit = engine().boot_deadline) {
    const Deadline deadline = Deadline::after(limit, "the condition");
    while (!condition()) {
      if (!loop_.run_once(deadline)) return false;
    }
    return true;
  }
  Result<> hold(Booted& machine, void (Booted::*act)(backend::Machine::Done)) {
    std::optional<Result<>> out;
    (machine.*act)([&](Result<> done) { out = std::move(done); });
    EXPECT_TRUE(until([&] { return out.has_value(); }));
    return out.value_or(Error(Errc::kTimeout, "no answer"));
  }
  // Where launch() has put the data of the machine that it has made last.
  std::string saving_dir() const {
    spec::VmSpec vm;
    vm.data_dir = run_dirs_.back().path();
    return backend::saving_dir(vm);
  }
  Result<> save(Booted& machine) {
    std::optional<Result<>> out;
    machine.save(backend::snapshot_files(saving_dir()),
                 [&](Result<> done) { out = std::move(done); });
    EXPECT_TRUE(until([&] { return out.has_value(); }));
    return out.value_or(Error(Errc::kTimeout, "no answer"));
  }
  bool exists(pid_t pid) { return ::kill(pid, 0) == 0; }
  std::string run(Booted& machine, std::vector<std::string> argv) {
    machine.exec(std::move(argv));
    EXPECT_TRUE(until([&] { return machine.closed.has_value(); })) << machine.faults;
    return machine.output;
  }

  std::vector<sys::TempDir> run_dirs_;
  std::vector<sys::FileLock> locks_;
  sys::EventLoop loop_ = sys::EventLoop::create().value();
  spec::VmSpec vm_;
  const backend::Backend* backend_ = nullptr;
};

TEST_F(Contract, PlansTheSameTwice) {
  EXPECT_EQ(backend_->plan(vm_).value().argv, backend_->plan(vm_).value().argv);
}

TEST_F(Contract, YieldsAnAgentThatIsReadyAndRunsCommands) {
  const auto machine = boot();
  EXPECT_EQ(run(*machine, {"sh", "-c", "echo from inside; exit 5"}), "from inside\n");
  EXPECT_EQ(machine->closed->outcome, wire::Outcome::kExited);
  EXPECT_EQ(machine->closed->code, 5);
  EXPECT_EQ(machine->faults, "");
  EXPECT_EQ(machine->ends, 0);
}

TEST_F(Contract, ReportsAnEndOnceAfterAKill) {
  const auto machine = boot();
  machine->kill();
  ASSERT_TRUE(until([&] { return machine->ends > 0; }));
  (void)loop_.run_once(Deadline::after(Millis(20), "nothing more"));
  EXPECT_EQ(machine->ends, 1);
  EXPECT_EQ(machine->last_end->reason, EndReason::kEngineExit);
  EXPECT_EQ(machine->last_end->status.signal, engine().dies_of_kill ? SIGKILL : 0);
  EXPECT_FALSE(exists(machine->pid));
}

TEST_F(Contract, EndsWhenItIsToldTo) {
  const auto machine = boot();
  machine->end();
  ASSERT_TRUE(until([&] { return machine->ends > 0; }));
  EXPECT_FALSE(exists(machine->pid));
}

TEST_F(Contract, IsKilledWhileItBoots) {
  const auto machine = launch();
  machine->kill();
  ASSERT_TRUE(until([&] { return machine->ends > 0; }));
  EXPECT_EQ(machine->ready, 0);
}

TEST_F(Contract, HoldsItsStreamsWhilePausedAndGoesOnWithThem) {
  const auto machine = boot();
  ASSERT_TRUE(backend_->capabilities().pause);
  ASSERT_TRUE(hold(*machine, &Booted::pause));
  machine->exec({"echo", "late"});
  EXPECT_FALSE(until([&] { return machine->closed || !machine->output.empty(); }, Millis(500)));
  EXPECT_EQ(machine->output, "");
  ASSERT_TRUE(hold(*machine, &Booted::resume));
  ASSERT_TRUE(until([&] { return machine->closed.has_value(); })) << machine->faults;
  EXPECT_EQ(machine->output, "late\n");
  EXPECT_EQ(machine->ends, 0);
}

TEST_F(Contract, IsPausedAndResumedAgainAndAgain) {
  const auto machine = boot();
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(hold(*machine, &Booted::pause));
    ASSERT_TRUE(hold(*machine, &Booted::resume));
  }
  EXPECT_EQ(run(*machine, {"echo", "here"}), "here\n");
}

TEST_F(Contract, IsKilledWhilePaused) {
  const auto machine = boot();
  ASSERT_TRUE(hold(*machine, &Booted::pause));
  machine->kill();
  ASSERT_TRUE(until([&] { return machine->ends > 0; }));
  EXPECT_FALSE(exists(machine->pid));
}

TEST_F(Contract, HaltsWhenItIsAskedTo) {
  const auto machine = boot();
  machine->shut_down();
  EXPECT_TRUE(until([&] { return machine->halted > 0 || machine->ends > 0; })) << machine->faults;
}

TEST_F(Contract, KeepsTwoMachinesApart) {
  const auto first = boot();
  const auto second = boot();
  EXPECT_NE(first->pid, second->pid);
  EXPECT_EQ(run(*second, {"echo", "two"}), "two\n");
  first->kill();
  ASSERT_TRUE(until([&] { return first->ends > 0; }));
  EXPECT_EQ(run(*second, {"echo", "still"}), "still\n");
  EXPECT_EQ(second->ends, 0);
}

TEST_F(Contract, LeavesNoProcessWhenTheMachineIsDestroyed) {
  auto machine = boot();
  const pid_t pid = machine->pid;
  EXPECT_TRUE(exists(pid));
  machine.reset();
  EXPECT_FALSE(exists(pid));
}

TEST_F(Contract, SavesAMachineThatAnotherStartsFrom) {
  if (!backend_->capabilities().snapshot) GTEST_SKIP() << "this engine has no snapshots";
  const auto saved = boot();
  EXPECT_EQ(run(*saved, {"sh", "-c", "echo kept > /tmp/mark; cat /tmp/mark"}), "kept\n");
  ASSERT_TRUE(hold(*saved, &Booted::pause));
  const Result<> done = save(*saved);
  ASSERT_TRUE(done) << done.error().text();
  const std::string kept = run_dirs_.back().path() + "/kept";
  ASSERT_EQ(::rename(saving_dir().c_str(), kept.c_str()), 0);
  vm_.restore_dir = kept;
  const auto started = boot();
  ASSERT_EQ(started->ready, 1);
  EXPECT_EQ(run(*started, {"cat", "/tmp/mark"}), "kept\n");
}

#if MVM_ENGINE_IS_MACHINE  // something that can be switched off
TEST_F(Contract, ReportsAPoweroffFromInside) {
  const auto machine = boot();
  machine->exec({"sh", "-c", "echo o > /proc/sysrq-trigger; sleep 1000"});
  ASSERT_TRUE(until([&] { return machine->ends > 0; }));
  EXPECT_EQ(machine->ends, 1);
  EXPECT_THAT(machine->last_end->reason,
              testing::AnyOf(EndReason::kGuestPoweroff, EndReason::kGuestReset))
      << machine->last_end->status.text() << ": " << machine->last_end->engine_output;
}
#endif

}  // namespace
}  // namespace mvm::contract
