// SPDX-License-Identifier: Apache-2.0
#include "backend/fake/fake.h"

#include <signal.h>
#include <sys/epoll.h>

#include "backend/engine_process.h"

namespace mvm::backend::fake {
namespace {

class FakeMachine final : public Machine {
 public:
  explicit FakeMachine(EngineProcess process) : process_(std::move(process)) {}
  ~FakeMachine() override {
    if (loop_ != nullptr) loop_->remove(process_.child.pidfd());
  }

  pid_t pid() const override { return process_.child.pid(); }
  sys::UniqueFd take_console() override { return {}; }
  sys::UniqueFd take_exchange() override { return std::move(process_.exchange); }

  Result<> watch(sys::EventLoop& loop, Events events) override {
    loop_ = &loop;
    MVM_TRY(loop.add(process_.child.pidfd(), EPOLLIN,
                     [this, on_end = std::move(events.on_end)](std::uint32_t) {
                       loop_->remove(process_.child.pidfd());
                       ErrorTail errors;
                       errors.drain(process_.errors.get());
                       MachineEnd end{EndReason::kEngineExit, {}, errors.text(), {}};
                       if (auto status = process_.child.wait()) end.status = *status;
                       on_end(end);
                     }));
    events.on_agent(std::move(process_.agent));
    return {};
  }

  void kill() override { (void)process_.child.signal(SIGKILL); }

  void pause(Done done) override { done(process_.child.signal(SIGSTOP)); }
  void resume(Done done) override { done(process_.child.signal(SIGCONT)); }
  void save(const SnapshotFiles& /*files*/, Done done) override { done(no_snapshots("fake")); }

 private:
  EngineProcess process_;
  sys::EventLoop* loop_ = nullptr;
};

}  // namespace

Result<LaunchPlan> FakeBackend::plan(const spec::VmSpec& vm) const {
  if (!vm.network.forwards.empty())
    return Error(Errc::kUnsupported, "the fake backend has no port forwards");
  if (!vm.restore_dir.empty()) return no_snapshots("fake");
  LaunchPlan out;
  out.backend = "fake";
  out.has_exchange = true;
  out.argv = {vm.engine_program, "--serve-fd", std::to_string(kAgentFd), "--exchange-fd",
              std::to_string(kExchangeFd)};
  return out;
}

Result<std::string> FakeBackend::saved_by(const SnapshotFiles& /*files*/) const {
  return no_snapshots("fake");
}

Result<std::unique_ptr<Machine>> FakeBackend::launch(const LaunchPlan& plan) const {
  EngineProcess process = MVM_TRY(start_engine(plan));
  return std::unique_ptr<Machine>(std::make_unique<FakeMachine>(std::move(process)));
}

}  // namespace mvm::backend::fake
