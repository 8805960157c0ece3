// SPDX-License-Identifier: Apache-2.0
#include "backend/docker/docker.h"

#include <signal.h>
#include <sys/epoll.h>

#include <array>
#include <deque>

#include "backend/docker/docker_plan.h"
#include "backend/engine_process.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::backend::docker {
namespace {

// A daemon that does not answer has this long to remove the container.
constexpr Millis kMostRemoval{10'000};
// Before a hint in what mvm-docker says last.
constexpr std::string_view kHint = "\n  hint: ";

class ContainerMachine final : public Machine {
 public:
  ContainerMachine(std::string place, EngineProcess process, sys::UniqueFd agents)
      : place_(std::move(place)), process_(std::move(process)), agents_(std::move(agents)) {}

  ~ContainerMachine() override {
    if (loop_ != nullptr) {
      stop_watching();
      loop_->remove(process_.child.pidfd());
    }
    (void)sys::remove_tree(place_);
  }

  pid_t pid() const override { return process_.child.pid(); }
  sys::UniqueFd take_console() override { return std::move(process_.console); }
  sys::UniqueFd take_exchange() override { return {}; }

  Result<> watch(sys::EventLoop& loop, Events events) override {
    loop_ = &loop;
    events_ = std::move(events);
    errors_ = ErrorTail(events_.on_output);
    MVM_TRY(sys::set_nonblocking(process_.control.get(), true));
    MVM_TRY(loop.add(agents_.get(), EPOLLIN, [this](std::uint32_t) { accept_agent(); }));
    MVM_TRY(loop.add(process_.control.get(), EPOLLIN, [this](std::uint32_t) { read_answers(); }));
    MVM_TRY(loop.add(process_.errors.get(), EPOLLIN, [this](std::uint32_t) {
      if (!errors_.drain(process_.errors.get())) loop_->remove(process_.errors.get());
    }));
    return loop.add(process_.child.pidfd(), EPOLLIN, [this](std::uint32_t) { ended(); });
  }

  // It removes the container first; the container of one that is killed ends by itself, unless it
  // is held.
  void kill() override {
    (void)process_.child.signal(SIGTERM);
    if (loop_ != nullptr && timer_ == 0)
      timer_ = loop_->after(kMostRemoval, [this] { (void)process_.child.kill(); });
  }

  void pause(Done done) override { ask("pause\n", std::move(done)); }
  void resume(Done done) override { ask("resume\n", std::move(done)); }
  void save(const SnapshotFiles& /*files*/, Done done) override { done(no_snapshots("docker")); }

 private:
  // The agent connects once; whoever comes later is something else in the container.
  void accept_agent() {
    auto agent = sys::accept_connection(agents_.get());
    if (!agent) return;
    loop_->remove(agents_.get());
    agents_.reset();
    events_.on_agent(std::move(*agent));
  }

  void ask(std::string_view line, Done done) {
    if (auto written = sys::write_full(process_.control.get(), line); !written)
      return done(std::move(written).error().with_context("asking mvm-docker"));
    asked_.push_back(std::move(done));
  }

  void read_answers() {
    std::array<std::byte, 1024> buffer;
    const auto n = sys::read_some(process_.control.get(), buffer);
    if (!n && n.error().errnum() == EAGAIN) return;
    if (!n || *n == 0) return loop_->remove(process_.control.get());
    answers_.append(reinterpret_cast<const char*>(buffer.data()), *n);
    for (std::size_t end = 0; (end = answers_.find('\n')) != std::string::npos;) {
      const std::string line = answers_.substr(0, end);
      answers_.erase(0, end + 1);
      if (asked_.empty()) continue;
      const Done done = std::move(asked_.front());
      asked_.pop_front();
      done(line == "ok" ? Result<>() : Error(Errc::kIo, line.substr(line.find(' ') + 1)));
    }
  }

  void stop_watching() {
    if (agents_) loop_->remove(agents_.get());
    loop_->remove(process_.control.get());
    loop_->remove(process_.errors.get());
    loop_->cancel(timer_);
  }

  void ended() {
    stop_watching();
    loop_->remove(process_.child.pidfd());
    errors_.drain(process_.errors.get());
    MachineEnd end;
    end.engine_output = errors_.text();
    if (const std::size_t at = end.engine_output.rfind(kHint); at != std::string::npos) {
      end.hint = end.engine_output.substr(at + kHint.size());
      while (end.hint.ends_with('\n')) end.hint.pop_back();
      end.engine_output.resize(at + 1);
    }
    if (auto status = process_.child.wait()) end.status = *status;
    events_.on_end(end);
  }

  const std::string place_;
  EngineProcess process_;
  sys::UniqueFd agents_;
  sys::EventLoop* loop_ = nullptr;
  Events events_;
  ErrorTail errors_;
  std::string answers_;
  std::deque<Done> asked_;
  sys::EventLoop::TimerId timer_ = 0;
};

}  // namespace

Capabilities DockerBackend::capabilities() const {
  Capabilities out;
  out.user_network = out.port_forward = out.console = out.pause = true;
  out.limits = out.x86_64 = true;
  return out;
}

Result<LaunchPlan> DockerBackend::plan(const spec::VmSpec& vm) const { return docker::plan(vm); }

Result<std::string> DockerBackend::saved_by(const SnapshotFiles& /*files*/) const {
  return no_snapshots("docker");
}

Result<std::unique_ptr<Machine>> DockerBackend::launch(const LaunchPlan& plan) const {
  MVM_TRY(sys::remove_tree(plan.working_dir));
  MVM_TRY(prepare_files(plan));
  for (const auto& [name, content] : plan.files)
    MVM_TRY(sys::write_file(plan.working_dir + "/" + name, content));
  sys::UniqueFd agents = MVM_TRY(sys::listen_unix(plan.working_dir + "/" + plan.agent_socket));
  MVM_TRY(sys::set_nonblocking(agents.get(), true));
  EngineProcess process = MVM_TRY(start_engine(plan));
  return std::unique_ptr<Machine>(
      std::make_unique<ContainerMachine>(plan.working_dir, std::move(process), std::move(agents)));
}

}  // namespace mvm::backend::docker
