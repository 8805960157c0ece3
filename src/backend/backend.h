// SPDX-License-Identifier: Apache-2.0
// What every engine offers: a pure plan, and a launched machine that yields two byte streams.
//
// plan() decides everything (argv, descriptors) without touching the system and is golden-tested;
// launch() acts. Exec, copy, logs and forwards live above, once, over the agent stream.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
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
  bool pause = false;     // the guest can be held and let go on
  bool volumes = false;   // disks beside image and scratch disk
  bool snapshot = false;  // its state and memory can be written to files, and started from them
  bool kernel = false;    // a kernel of the guest's own, of one's choice
  bool seal = false;      // a guest that keeps the seal of an image
  bool limits = false;    // of processors and memory
  std::uint32_t most_vcpus = 64;
  bool x86_64 = false;  // guests
  bool aarch64 = false;
};
using Capability = bool Capabilities::*;

// What users call them, in the order in which they are listed.
struct Feature {
  std::string_view name;   // "volumes": in JSON and tables
  std::string_view words;  // "volumes": what a backend "has no …" of
  Capability has;
};
std::span<const Feature> features();

// Descriptor numbers in the engine process.
constexpr int kControlFd = 3;
constexpr int kAgentFd = 4;
constexpr int kConsoleFd = 5;
constexpr int kExchangeFd = 6;
constexpr int kNetworkFd = 7;
// The vsock port of the host that the agent connects to, where the engine has no serial port.
constexpr std::uint32_t kAgentVsockPort = 5252;

// What ends an engine in a jail, whose process is the guard outside: the guard then ends only when
// nothing of the engine is left. Source: docs/howto/jail.md.
constexpr int kKillByGuard = 10;  // SIGUSR1

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
  // Where the engine runs, for those that name their sockets and files relative to it.
  std::string working_dir;
  // Files that the engine reads at start, written into working_dir: name and content.
  std::vector<std::pair<std::string, std::string>> files;
  // The agent comes by vsock: a socket of this name in working_dir is listened on before the start.
  std::string agent_socket;
  // A process that is the guest's network, connected to the engine's kNetworkFd by its
  // descriptor 3.
  std::vector<std::string> network_argv;
  // It makes a tap device in a network namespace instead, in which the engine is started; by its
  // descriptor 3 it hands that over and sees the machine's end.
  bool network_namespace = false;
  bool has_control = false;  // the engine speaks its control protocol on kControlFd
  bool has_console = false;
  int console_fd = kConsoleFd;
  // The guest has a disk, backed by the memory at kExchangeFd, that both sides use while it runs.
  bool has_exchange = false;
  std::optional<GuestNetwork> network;

  // The engine is a guard and its child in a jail, see kKillByGuard.
  bool jailed = false;
  // The engine changes its user, by which the kernel forgets whom it is to die with: it is started
  // behind a guard of ours.
  bool contained = false;
  // Whom it becomes, being root, uid and gid; 0: it stays ourselves. What follows is made
  // accessible to that one.
  std::uint32_t user = 0;
  std::vector<std::string> directories;  // made where missing, mode 0700; the engine writes in them
  std::vector<std::string> written;      // files of this machine alone that the engine writes
  std::vector<std::string> read;         // files that it reads
  // Files of `written` and `read` that it sees under another name: in working_dir, as a link.
  std::vector<std::pair<std::string, std::string>> links;  // file, name
};

// The files of an engine that make up a machine's snapshot, apart from its disks.
struct SnapshotFiles {
  std::string state;
  std::string memory;
};
// Their names in a snapshot's directory.
SnapshotFiles snapshot_files(const std::string& directory);

// Where save() may write: an engine in a jail sees no other directory of the host. It is made with
// the machine's start, mode 0700; what was saved is moved away from there by rename, as it is on
// the file system of the machine's other data.
std::string saving_dir(const spec::VmSpec& vm);

// Why the guest or the engine ended.
enum class EndReason { kGuestPoweroff, kGuestReset, kGuestPanic, kEngineExit };
struct MachineEnd {
  EndReason reason = EndReason::kEngineExit;
  sys::ExitStatus status;     // of the engine process
  std::string engine_output;  // the end of what it wrote on stderr
  std::string hint;           // what to do, where the engine's own words do not say it
};

// A running engine process. Destroying a Machine kills and reaps the engine.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual pid_t pid() const = 0;
  // Kernel console output; taken once; invalid when the engine has none.
  virtual sys::UniqueFd take_console() = 0;
  // The memory behind the guest's exchange disk; taken once; invalid when it has none.
  virtual sys::UniqueFd take_exchange() = 0;
  struct Events {
    // The connected byte stream to the agent, once: before watch() returns where the channel exists
    // from the start, else when the agent connects.
    std::function<void(sys::UniqueFd)> on_agent;
    // What the engine says on stdout and stderr, as it comes; and, before its end, what it has
    // counted, where it counts. May be empty.
    std::function<void(std::span<const std::byte>)> on_output;
    // The end of the engine, once.
    std::function<void(MachineEnd)> on_end;
  };
  // Errors: epoll's.
  virtual Result<> watch(sys::EventLoop& loop, Events events) = 0;
  // Ends the engine at once. The guest has been asked before, or is beyond asking. on_end still
  // comes.
  virtual void kill() = 0;
  // The same for an engine that is well: it may first tell what it has counted. What it does with
  // the guest does not matter any more. When it takes too long, kill() it.
  virtual void end() { kill(); }

  // What became of it; called once, from the loop or at once. When the machine ends first, on_end
  // may be all that comes. It may not destroy the machine.
  using Done = std::function<void(Result<>)>;
  // Holds the guest where it is, or lets it go on; after watch(). One of these three at a time, but
  // resume() may always be called: it comes after what is under way.
  // Errors: the engine's; kUnsupported without the capability.
  virtual void pause(Done done) = 0;
  virtual void resume(Done done) = 0;
  // Writes the state and the memory of a guest that is held; the files are whole and synced, or not
  // there. They must lie directly in the machine's saving_dir().
  virtual void save(const SnapshotFiles& files, Done done) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  virtual Capabilities capabilities() const = 0;
  // Pure. Errors: kUnsupported naming what the engine lacks.
  virtual Result<LaunchPlan> plan(const spec::VmSpec& vm) const = 0;
  // The program that has written these files, with its version: "mvm-vmm 0.1.0".
  // Errors: kUnsupported without the capability `snapshot`; kCorrupt.
  virtual Result<std::string> saved_by(const SnapshotFiles& files) const = 0;
  // Errors: kNotFound when the program is missing, else those of fork and exec.
  virtual Result<std::unique_ptr<Machine>> launch(const LaunchPlan& plan) const = 0;
};

}  // namespace mvm::backend
