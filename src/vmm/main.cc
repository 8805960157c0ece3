// SPDX-License-Identifier: Apache-2.0
// mvm-vmm: one microVM on KVM, controlled by Firecracker's API on a unix socket, or described by a
// configuration file. docs/design/vmm.md explains the whole.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

#include "core/log.h"
#include "sys/io.h"
#include "sys/signals.h"
#include "sys/socket.h"
#include "vmm/api/api_server.h"
#include "vmm/api/config_file.h"
#include "vmm/controller.h"
#include "vmm/filters/builtin_filters.h"
#include "vmm/jail/filter_file.h"
#include "vmm/jail/jail_options.h"
#include "vmm/jail/jailer.h"
#include "vmm/jail/seccomp.h"
#include "vmm/logging.h"
#include "vmm/options.h"

namespace mvm::vmm {
namespace {

// Source: Firecracker's exit codes.
constexpr int kFailed = 1;
constexpr int kBadConfiguration = 152;
// As shells have it.
constexpr int kSignalled = 128;

// What the process consists of, in the order in which it is made.
struct Process {
  explicit Process(Options given) : options(std::move(given)) {}
  Options options;
  std::optional<sys::EventLoop> loop;
  std::unique_ptr<IoThread> io;
  std::optional<FilterFile> filters;  // the user's own
  std::optional<SeccompFilter> vcpu_filter;
  std::unique_ptr<VmController> controller;
  std::optional<ApiServer> api;
  sys::UniqueFd termination;
  int exit_code = 0;
};

Result<SeccompFilter> make_filter(const Process& process, ThreadRole role) {
  if (process.filters) return process.filters->compile(role, SeccompMode::kKill);
  return process.options.no_seccomp ? SeccompFilter::from_program({}) : builtin_filter(role);
}

void log_start_time(const Options& options) {
  if (!options.start_time_us) return;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto now_us = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
                      static_cast<std::uint64_t>(now.tv_nsec) / 1000;
  log::info("started in " + std::to_string(now_us - *options.start_time_us) + " us");
}

// The last metrics, then the end.
void finish(Process& process) {
  if (auto flushed = process.controller->flush_metrics(); !flushed)
    log::warn("metrics: " + flushed.error().text());
  process.loop->stop();
}

void on_end(Process& process, MachineEnd how, const std::optional<Error>& why) {
  switch (how) {
    case MachineEnd::kPoweredOff:
      log::info("the guest has powered off");
      break;
    case MachineEnd::kReset:
      log::info("the guest has reset");
      break;
    case MachineEnd::kFailed:
      log::error(why ? why->text() : "the machine has failed");
      process.exit_code = kFailed;
      break;
  }
  finish(process);
}

// SIGTERM ends us with the guest as it is. In a jail the code is how the guard knows that we
// obeyed. Threads: the signal stays blocked in those that are made later.
Result<> watch_termination(Process& process) {
  process.termination = MVM_TRY(sys::signal_fd({SIGTERM}));
  return process.loop->add(process.termination.get(), EPOLLIN, [&process](std::uint32_t) {
    if (!sys::read_signal(process.termination.get())) return;
    log::info("ended by SIGTERM");
    process.exit_code = kSignalled + SIGTERM;
    finish(process);
  });
}

Result<> create_controller(Process& process) {
  process.loop.emplace(MVM_TRY(sys::EventLoop::create()));
  MVM_TRY(watch_termination(process));
  process.io = MVM_TRY(IoThread::create(*process.loop));
  VmController::Hooks hooks;
  hooks.before_machine = [&process]() -> Result<> {
    process.vcpu_filter = MVM_TRY(make_filter(process, ThreadRole::kVcpu));
    return {};
  };
  hooks.confine_main = [&process]() -> Result<> {
    return MVM_TRY(make_filter(process, ThreadRole::kMain)).install();
  };
  hooks.confine_vcpu = [&process] { return process.vcpu_filter->install(); };
  hooks.on_end = [&process](MachineEnd how, const std::optional<Error>& why) {
    on_end(process, how, why);
  };
  if (process.options.boot_timer)
    hooks.on_boot_done = [start = Clock::now()] {
      const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
      timespec cpu{};
      ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
      log::info("Guest-boot-time = " + std::to_string(took.count()) + " us, " +
                std::to_string(cpu.tv_sec * 1'000'000 + cpu.tv_nsec / 1000) + " CPU us");
    };
  const Bytes limit{process.options.mmds_size_limit.value_or(process.options.max_payload)};
  process.controller =
      std::make_unique<VmController>(*process.io, process.options.id, limit, std::move(hooks));
  return {};
}

// The socket may be made by nobody else before us, so an existing one is an error.
Result<> open_api(Process& process) {
  if (process.options.no_api) return {};
  sys::UniqueFd listener = MVM_TRY_CTX(sys::listen_unix(process.options.api_sock), "API socket");
  process.api.emplace(MVM_TRY(ApiServer::create(
      *process.loop, std::move(listener),
      [&process](ApiRequest request, const AnswerCallback& answer) {
        answer(process.controller->handle(std::move(request)));
      },
      process.options.max_payload)));
  return {};
}

Result<> apply_options(Process& process) {
  const Options& options = process.options;
  if (options.metrics_path)
    MVM_TRY(process.controller->handle(PutMetrics{{*options.metrics_path, false, {}}}));
  if (options.metadata)
    MVM_TRY_CTX(process.controller->handle(PutMmds{MVM_TRY(sys::read_file(*options.metadata))}),
                "--metadata");
  return {};
}

Result<> apply_config(Process& process) {
  if (!process.options.config_file) return {};
  const std::string& path = *process.options.config_file;
  const std::string text = MVM_TRY(sys::read_file(path, mebibytes(1)));
  std::vector<ApiRequest> requests = MVM_TRY_CTX(parse_config_file(text), path);
  // A loaded machine has started before, and goes on if the file says so.
  const bool loads = std::holds_alternative<PutSnapshotLoad>(requests.back());
  for (ApiRequest& request : requests)
    MVM_TRY_CTX(process.controller->handle(std::move(request)), path);
  if (!loads) MVM_TRY(process.controller->handle(StartInstance{}));
  return {};
}

Result<> set_up(Process& process) {
  // A guest's peer that goes away is an error of one write, not the end of us.
  ::signal(SIGPIPE, SIG_IGN);
  // Each stream of the vsock is a descriptor.
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
  const Options& options = process.options;
  // Before anything else is opened; returns in the jailed process only.
  if (options.jail) {
    JailOptions jail = options.jail_options;
    if (jail.parent_cgroup.empty()) jail.parent_cgroup = "mvm-vmm";
    MVM_TRY(enter_jail(MVM_TRY(make_jail(jail, options.id))));
  }
  MVM_TRY(configure_log({options.log_path, options.log_level, {}, {}, {}}, options.id));
  log_start_time(options);
  MVM_TRY(create_controller(process));
  if (options.seccomp_filter)
    process.filters = MVM_TRY_CTX(
        FilterFile::parse(MVM_TRY(sys::read_file(*options.seccomp_filter, mebibytes(1)))),
        *options.seccomp_filter);
  return MVM_TRY(make_filter(process, ThreadRole::kSetup)).install();
}

int run(Options options) {
  Process process(std::move(options));
  if (auto done = set_up(process); !done) {
    log::error(done.error().text());
    return kFailed;
  }
  auto ready = open_api(process);
  if (ready) ready = apply_options(process);
  if (ready) ready = apply_config(process);
  if (!ready) {
    log::error(ready.error().text());
    if (!ready.error().hint().empty()) log::error(ready.error().hint());
    return kBadConfiguration;
  }
  auto ended = process.loop->run();
  if (!process.options.no_api) ::unlink(process.options.api_sock.c_str());
  if (!ended) {
    log::error(ended.error().text());
    return kFailed;
  }
  return process.exit_code;
}

}  // namespace
}  // namespace mvm::vmm

namespace {

// The default of 8 MiB is aligned such that a host with transparent huge pages gives each thread of
// a processor 2 MiB of memory for the few KiB that it uses.
void make_thread_stacks_small() {
  constexpr std::size_t kStack = 512UL << 10;
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return;
  if (::pthread_attr_setstacksize(&attributes, kStack) == 0)
    (void)::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

}  // namespace

int main(int argc, char** argv) {
  make_thread_stacks_small();
  mvm::vmm::ParsedOptions parsed = mvm::vmm::parse_options(argc, argv);
  if (!parsed.options) {
    std::fputs(parsed.text.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  return mvm::vmm::run(std::move(*parsed.options));
}
