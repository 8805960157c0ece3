// SPDX-License-Identifier: Apache-2.0
// What every engine offers: a pure plan, and a launched machine that yields two byte streams.
//
// plan() decides everything (argv, descriptors) without touching the system and is golden-tested;
// launch() acts. Exec, copy, logs and forwards live above, once, over the agent stream.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "spec/vm_spec.h"
#include "sys/event_loop.h"
#include "sys/process.h"
#include "sys/unique_fd.h"

namespace mvm::backend {

// What an engine can do, asked before acting: a missing capability is data, not a failing call.
struct Capabilities {
  bool user_network = false;  // rootless network with DNS
  bool port_forward = false;  // forwards set up by the engine at start
  bool console = false;       // a kernel console stream
  bool scratch_disk = false;
};

// Descriptor numbers in the engine process.
constexpr int kControlFd = 3;
constexpr int kAgentFd = 4;
constexpr int kConsoleFd = 5;
constexpr int kExchangeFd = 6;

// Of the guest's exchange disk, where it has one.
constexpr Bytes kExchangeSize = mebibytes(16);

// How the guest reaches the network that the engine provides.
struct GuestNetwork {
  std::string address;
  std::uint8_t prefix = 24;
  std::string gateway;
  std::string dns;
};

struct LaunchPlan {
  std::string backend;
  std::vector<std::string> argv;
  bool has_control = false;  // the engine speaks its control protocol on kControlFd
  bool has_console = false;
  // The guest has a disk, backed by the memory at kExchangeFd, that both sides use while it runs.
  bool has_exchange = false;
  std::optional<GuestNetwork> network;
};

// Why the guest or the engine ended.
enum class EndReason { kGuestPoweroff, kGuestReset, kGuestPanic, kEngineExit };
struct MachineEnd {
  EndReason reason = EndReason::kEngineExit;
  sys::ExitStatus status;     // of the engine process
  std::string engine_output;  // the end of what it wrote on stderr
};

// A running engine process. Destroying a Machine kills and reaps the engine.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual pid_t pid() const = 0;
  // Connected byte stream to the agent; taken once.
  virtual sys::UniqueFd take_agent() = 0;
  // Kernel console output; taken once; invalid when the engine has none.
  virtual sys::UniqueFd take_console() = 0;
  // The memory behind the guest's exchange disk; taken once; invalid when it has none.
  virtual sys::UniqueFd take_exchange() = 0;
  // Reports the end of the engine, once. Errors: epoll's.
  virtual Result<> watch(sys::EventLoop& loop, std::function<void(MachineEnd)> on_end) = 0;
  // Ends the engine at once. The guest has been asked before, or is beyond asking. on_end still
  // comes.
  virtual void kill() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  virtual Capabilities capabilities() const = 0;
  // Pure. Errors: kUnsupported naming what the engine lacks.
  virtual Result<LaunchPlan> plan(const spec::VmSpec& vm) const = 0;
  // Errors: kNotFound when the program is missing, else those of fork and exec.
  virtual Result<std::unique_ptr<Machine>> launch(const LaunchPlan& plan) const = 0;
};

}  // namespace mvm::backend
