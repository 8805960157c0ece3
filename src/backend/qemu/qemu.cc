// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/qemu.h"

#include <signal.h>
#include <sys/epoll.h>

#include "backend/engine_process.h"
#include "backend/qemu/qemu_plan.h"
#include "backend/qemu/qmp.h"

namespace mvm::backend::qemu {
namespace {

EndReason end_reason(const std::string& shutdown_reason) {
  if (shutdown_reason == "guest-shutdown") return EndReason::kGuestPoweroff;
  if (shutdown_reason == "guest-reset") return EndReason::kGuestReset;
  if (shutdown_reason == "guest-panic") return EndReason::kGuestPanic;
  return EndReason::kEngineExit;
}

class QemuMachine final : public Machine {
 public:
  explicit QemuMachine(EngineProcess process) : process_(std::move(process)) {}

  ~QemuMachine() override {
    if (loop_ == nullptr) return;
    loop_->remove(process_.child.pidfd());
    loop_->remove(process_.errors.get());
  }

  pid_t pid() const override { return process_.child.pid(); }
  sys::UniqueFd take_console() override { return std::move(process_.console); }
  sys::UniqueFd take_exchange() override { return std::move(process_.exchange); }

  Result<> watch(sys::EventLoop& loop, Events events) override {
    loop_ = &loop;
    on_end_ = std::move(events.on_end);
    errors_ = ErrorTail(std::move(events.on_output));
    qmp_ =
        std::make_unique<Qmp>(loop, std::move(process_.control), [this](const QmpMessage& event) {
          if (event.name == "SHUTDOWN") end_.reason = end_reason(event.reason);
        });
    MVM_TRY(qmp_->start());
    MVM_TRY(loop.add(process_.errors.get(), EPOLLIN, [this](std::uint32_t) {
      if (!errors_.drain(process_.errors.get())) loop_->remove(process_.errors.get());
    }));
    MVM_TRY(loop.add(process_.child.pidfd(), EPOLLIN, [this](std::uint32_t) { ended(); }));
    events.on_agent(std::move(process_.agent));
    return {};
  }

  void kill() override { (void)process_.child.signal(SIGKILL); }

  // Source: QEMU QMP reference, "stop" and "cont": both are done when they have returned.
  void pause(Done done) override { qmp_->execute("stop", std::move(done)); }
  void resume(Done done) override { qmp_->execute("cont", std::move(done)); }
  void save(const SnapshotFiles& /*files*/, Done done) override { done(no_snapshots("qemu")); }

 private:
  void ended() {
    loop_->remove(process_.child.pidfd());
    qmp_->receive();  // the reason may have come in the same moment as the end
    errors_.drain(process_.errors.get());
    end_.engine_output = errors_.text();
    if (auto status = process_.child.wait()) end_.status = *status;
    on_end_(end_);
  }

  EngineProcess process_;
  sys::EventLoop* loop_ = nullptr;
  std::function<void(MachineEnd)> on_end_;
  std::unique_ptr<Qmp> qmp_;
  ErrorTail errors_;
  MachineEnd end_;
};

}  // namespace

Result<LaunchPlan> QemuBackend::plan(const spec::VmSpec& vm) const {
  if (!vm.restore_dir.empty()) return no_snapshots("qemu");
  return qemu::plan(vm);
}

Result<std::string> QemuBackend::saved_by(const SnapshotFiles& /*files*/) const {
  return no_snapshots("qemu");
}

Result<std::unique_ptr<Machine>> QemuBackend::launch(const LaunchPlan& plan) const {
  EngineProcess process = MVM_TRY(start_engine(plan));
  return std::unique_ptr<Machine>(std::make_unique<QemuMachine>(std::move(process)));
}

}  // namespace mvm::backend::qemu
