// SPDX-License-Identifier: Apache-2.0
#include "backend/firecracker/firecracker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "backend/engine_process.h"
#include "backend/firecracker/firecracker_api.h"
#include "backend/firecracker/firecracker_plan.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::backend::firecracker {
namespace {

// What mvm-vmm says last, on stderr, when the guest has ended itself.
constexpr std::string_view kPoweredOff = "the guest has powered off";
constexpr std::string_view kReset = "the guest has reset";
// What it says when this host cannot give it the jail.
constexpr std::string_view kNoJail = "jail layer '";

// The monitor's own directory; it goes when nobody is left to use it.
struct Place {
  explicit Place(std::string where) : path(std::move(where)) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { (void)sys::remove_tree(path); }
  const std::string path;
};

// The end of a file that the monitor may have made into something else: only a file is read.
Result<std::string> read_end(const std::string& path) {
  constexpr off_t kMost = 64 << 10;
  const sys::UniqueFd fd =
      MVM_TRY(sys::open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno("stat " + path);
  if (!S_ISREG(st.st_mode)) return Error(Errc::kCorrupt, path + " is no file");
  std::string out(static_cast<std::size_t>(std::min(st.st_size, kMost)), '\0');
  const ssize_t n =
      ::pread(fd.get(), out.data(), out.size(), st.st_size - std::min(st.st_size, kMost));
  if (n < 0) return Error::from_errno("read " + path);
  out.resize(static_cast<std::size_t>(n));
  return out;
}

class MonitorMachine final : public backend::Machine {
 public:
  MonitorMachine(const std::string& place, EngineProcess process, sys::UniqueFd agents)
      : place_(place), process_(std::move(process)), agents_(std::move(agents)) {}

  ~MonitorMachine() override {
    if (loop_ == nullptr) return;
    stop_watching();
    loop_->remove(process_.child.pidfd());
  }

  pid_t pid() const override { return process_.child.pid(); }
  sys::UniqueFd take_console() override { return std::move(process_.console); }
  sys::UniqueFd take_exchange() override { return {}; }

  Result<> watch(sys::EventLoop& loop, Events events) override {
    loop_ = &loop;
    events_ = std::move(events);
    errors_ = ErrorTail(events_.on_output);
    api_.emplace(loop, place_.path + "/" + kApiSocket);
    MVM_TRY(loop.add(agents_.get(), EPOLLIN, [this](std::uint32_t) { accept_agent(); }));
    MVM_TRY(loop.add(process_.errors.get(), EPOLLIN, [this](std::uint32_t) {
      if (!errors_.drain(process_.errors.get())) loop_->remove(process_.errors.get());
    }));
    if (process_.network.running())
      MVM_TRY(
          loop.add(process_.network.pidfd(), EPOLLIN, [this](std::uint32_t) { network_ended(); }));
    return loop.add(process_.child.pidfd(), EPOLLIN, [this](std::uint32_t) { ended(); });
  }

  void kill() override { (void)process_.child.kill(); }
  void end() override { (void)process_.child.signal(SIGTERM); }

  void pause(Done done) override { api_->pause(std::move(done)); }
  void resume(Done done) override { api_->resume(std::move(done)); }
  void save(const SnapshotFiles& files, Done done) override { api_->save(files, std::move(done)); }

 private:
  // The guest connects once; whoever comes later is not the agent.
  void accept_agent() {
    auto agent = sys::accept_connection(agents_.get());
    if (!agent) return;
    loop_->remove(agents_.get());
    agents_.reset();
    events_.on_agent(std::move(*agent));
  }

  // A network that fails (a port that is taken) takes the machine with it; one whose engine is gone
  // just ends.
  void network_ended() {
    loop_->remove(process_.network.pidfd());
    const auto status = process_.network.wait();
    if (status && status->ok()) return;
    network_failed_ = true;
    kill();
  }

  void stop_watching() {
    if (agents_) loop_->remove(agents_.get());
    loop_->remove(process_.errors.get());
    if (process_.network.running()) loop_->remove(process_.network.pidfd());
  }

  // The last line of the monitor's file is its last word.
  void tell_metrics() {
    if (!events_.on_output) return;
    const auto text = read_end(place_.path + "/" + kMetricsFile);
    if (!text || text->empty()) return;
    const std::size_t before = text->find_last_of('\n', text->size() - 2);
    const std::string line =
        "metrics: " + text->substr(before == std::string::npos ? 0 : before + 1);
    events_.on_output(std::as_bytes(std::span(line)));
  }

  void ended() {
    stop_watching();
    loop_->remove(process_.child.pidfd());
    errors_.drain(process_.errors.get());
    tell_metrics();
    MachineEnd end;
    end.engine_output = errors_.text();
    if (auto status = process_.child.wait()) end.status = *status;
    if (end.status.ok() && !network_failed_) {
      const bool off = end.engine_output.find(kPoweredOff) != std::string::npos;
      const bool reset = end.engine_output.find(kReset) != std::string::npos;
      // Firecracker itself ends in this way only when the guest resets.
      end.reason = off ? EndReason::kGuestPoweroff
                       : (reset || !off ? EndReason::kGuestReset : EndReason::kEngineExit);
    }
    if (end.engine_output.find(kNoJail) != std::string::npos)
      end.hint =
          "see docs/howto/jail.md for what it takes; to go without: mvmctl config set jail off";
    events_.on_end(end);
  }

  const Place place_;
  EngineProcess process_;
  sys::UniqueFd agents_;
  std::optional<MonitorApi> api_;
  sys::EventLoop* loop_ = nullptr;
  Events events_;
  ErrorTail errors_;
  bool network_failed_ = false;
};

}  // namespace

Capabilities FirecrackerBackend::capabilities() const {
  const bool ours = monitor_ == Monitor::kMvmVmm;
  Capabilities out;
  out.user_network = out.port_forward = true;
  out.console = out.scratch_disk = out.pause = true;
  // A restored machine has another disk than the saved one; Firecracker's API cannot say so.
  out.snapshot = ours;
  out.volumes = ours;
  out.kernel = out.seal = out.limits = out.x86_64 = true;
  out.most_vcpus = 32;
  return out;
}

Result<LaunchPlan> FirecrackerBackend::plan(const spec::VmSpec& vm) const {
  return firecracker::plan(vm, monitor_);
}

// Source: docs/formats/snapshot.md, head of the state file.
Result<std::string> FirecrackerBackend::saved_by(const SnapshotFiles& files) const {
  constexpr std::string_view kMagic = "mvmstate";
  constexpr std::size_t kProgram = 56;
  constexpr std::size_t kProgramSize = 40;
  if (!capabilities().snapshot) return no_snapshots(name());
  const sys::UniqueFd fd = MVM_TRY(sys::open_file(files.state, O_RDONLY));
  std::array<std::byte, kProgram + kProgramSize> head{};
  const std::size_t got = MVM_TRY(sys::read_some(fd.get(), head));
  const std::string_view text(reinterpret_cast<const char*>(head.data()), got);
  if (got < head.size() || !text.starts_with(kMagic))
    return Error(Errc::kCorrupt, files.state + " is not a state file of mvm-vmm");
  const std::string_view program = text.substr(kProgram);
  return std::string(program.substr(0, program.find('\0')));
}

Result<std::unique_ptr<backend::Machine>> FirecrackerBackend::launch(const LaunchPlan& plan) const {
  const std::string base = plan.working_dir + "/";
  // What an earlier boot, or one that was killed, has left.
  MVM_TRY(sys::remove_tree(plan.working_dir));
  MVM_TRY(prepare_files(plan));
  for (const auto& [name, content] : plan.files) {
    MVM_TRY(sys::write_file(base + name, content));
    MVM_TRY(give(base + name, plan.user));
  }
  sys::UniqueFd agents = MVM_TRY(sys::listen_unix(base + plan.agent_socket));
  MVM_TRY(give(base + plan.agent_socket, plan.user));
  MVM_TRY(sys::set_nonblocking(agents.get(), true));
  EngineProcess process = MVM_TRY(start_engine(plan));
  return std::unique_ptr<backend::Machine>(
      std::make_unique<MonitorMachine>(plan.working_dir, std::move(process), std::move(agents)));
}

}  // namespace mvm::backend::firecracker
