// SPDX-License-Identifier: Apache-2.0
// One boot of a machine: engine, agent channel, console and router together, from launch to the end
// of the engine. A restart makes a new one.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "backend/backend.h"
#include "spec/vm_spec.h"
#include "supervisor/console_log.h"
#include "supervisor/exchange.h"
#include "supervisor/guest_link.h"
#include "supervisor/main_process.h"
#include "supervisor/router.h"
#include "supervisor/services.h"

namespace mvm::supervisor {

// How a boot ended: an error when it should not have.
struct GuestEnd {
  std::optional<Error> failure;
  std::optional<std::int32_t> exit_code;  // of the main process, when that is why
};

class GuestRun {
 public:
  struct Handlers {
    std::function<void(const wire::Ready&)> on_ready;
    std::function<void(const std::vector<wire::ServiceState>&)> on_services;
    // The engine has ended and been reaped. Called once; the owner may destroy the run later, not
    // inside.
    std::function<void(const GuestEnd&)> on_end;
  };
  struct Logs {
    RotatingLog& console;
    RotatingLog& output;
    RotatingLog& engine;
  };

  // Launches the engine. Errors: those of plan and launch.
  static Result<std::unique_ptr<GuestRun>> boot(sys::EventLoop& loop, const spec::VmSpec& vm,
                                                Logs logs, Handlers handlers);
  ~GuestRun();
  GuestRun(const GuestRun&) = delete;
  GuestRun& operator=(const GuestRun&) = delete;

  Router& router() { return router_; }
  pid_t engine_pid() const { return machine_->pid(); }
  // As the machine's, for a guest that is ready. A guest that is held has streams that stand still;
  // they go on where they stood.
  void pause(backend::Machine::Done done);
  void resume(backend::Machine::Done done);
  void save(backend::Machine::Done done);  // into the saving directory
  // Asks the guest to end its processes and sync, then ends the engine; after `grace` without
  // asking further.
  void shut_down(Millis grace, int signum);
  // The guest is done: ends the engine, which may say its last.
  void end_well();
  // Ends the engine at once; `why` is the failure to report, nothing when it was wanted.
  void end_now(std::optional<Error> why);

 private:
  void stop_services(Millis grace, int signum);
  void ask_to_stop(Millis grace, int signum);
  Result<> start_services();
  GuestRun(sys::EventLoop& loop, const spec::VmSpec& vm, Logs logs, Handlers handlers);
  Result<> launch();
  void attach_agent(sys::UniqueFd fd, const wire::Configure& configure);
  Result<> watch_console(sys::UniqueFd fd);
  void to_guest(const wire::Frame& frame);
  Result<> from_guest(const wire::Frame& frame);
  void read_console();
  void on_guest_ready(const wire::Ready& ready);
  void on_main_end(const wire::Closed& closed);
  void on_engine_end(const backend::MachineEnd& end);
  Error engine_error(const backend::MachineEnd& end) const;
  Error with_console(Error error) const;

  sys::EventLoop& loop_;
  const spec::VmSpec& vm_;
  Logs logs_;
  Handlers handlers_;
  Router router_;
  ConsoleScanner scanner_;
  sys::UniqueFd console_;
  std::unique_ptr<backend::Machine> machine_;
  std::unique_ptr<GuestLink> link_;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<MainProcess> main_;
  std::unique_ptr<Services> services_;
  std::function<void()> on_services_stopped_;  // while they are stopped
  GuestEnd end_;
  sys::EventLoop::TimerId boot_timer_ = 0;
  sys::EventLoop::TimerId stop_timer_ = 0;
  bool ready_ = false;
  bool held_ = false;  // from the call of pause() to the end of resume()
  bool stopping_ = false;
  bool ended_ = false;
};

}  // namespace mvm::supervisor
