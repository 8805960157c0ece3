// SPDX-License-Identifier: Apache-2.0
// Machines for bench_vmm: mvm-vmm and QEMU over the same kernel and disks, each driven over the
// agent channel by the least code.
//
// Errors: whatever goes wrong that is not measured ends the benchmark.
// Threads: each guest has a loop of its own and is driven by one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent_client/stream_table.h"
#include "backend/backend.h"
#include "http/client.h"
#include "spec/vm_spec.h"
#include "supervisor/guest_link.h"

namespace mvm::bench {

// What all machines are made of.
struct Parts {
  std::string programs;  // the directory of mvm-vmm, mvm-netd, mvm-agent
  std::string load;      // the static program that runs in the guests
  std::string work_dir;  // on the disk that is measured
  std::string kernel;
  std::string image;
  std::string serial_initramfs;
  std::string vsock_initramfs;
};

// Kernel and image come from the caches of MVM_HOME.
Parts make_parts(const std::string& programs, const std::string& load, const std::string& work_dir);

enum class EngineName { kOurs, kQemu };

struct Wanted {
  EngineName engine = EngineName::kOurs;
  std::uint32_t vcpus = 1;
  std::uint64_t memory_mib = 256;
  bool user_network = false;
  std::string tap;           // name of a device; the guest is 10.77.0.2 of 10.77.0.1/24
  bool vhost_net = false;    // with `tap`, QEMU only
  std::string disk;          // a second disk with the serial "load"
  bool vhost_vsock = false;  // QEMU's agent channel, as a vsock stream through the host's kernel
};

class Guest {
 public:
  // Starts a machine that boots.
  Guest(const Parts& parts, const Wanted& wanted);
  // Starts a monitor of ours that loads a snapshot and resumes it.
  static std::unique_ptr<Guest> restored(const Parts& parts, const std::string& state,
                                         const std::string& memory);
  ~Guest();
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  void wait_ready();
  // Runs a program to its end; returns what it has written. It must end with 0.
  std::string run(const std::vector<std::string>& argv);
  // Starts a program and waits until it has written a line; it goes on.
  std::string run_to_line(const std::vector<std::string>& argv);
  // The load program, as /tmp/load.
  void put_load(const Parts& parts);
  // A request to our monitor; its answer must be 2xx.
  void api(const std::string& method, const std::string& target, const std::string& body);
  pid_t pid() const;
  // Where the monitor's sockets are.
  const std::string& place() const { return place_; }

 private:
  Guest(const Parts& parts, std::string run_dir);
  void attach(sys::UniqueFd fd);
  void watch_listener(sys::UniqueFd listener);
  void open_stream(const wire::Open& open);
  template <class Condition>
  void until(Condition condition);
  [[noreturn]] void die_of_trouble();

  sys::EventLoop loop_;
  std::string run_dir_;
  std::string place_;
  std::string name_ = "mvm-vmm, restored";  // for messages
  wire::Configure configure_;
  agent_client::StreamTable streams_;
  std::shared_ptr<agent_client::Stream> stream_;
  std::unique_ptr<backend::Machine> machine_;
  sys::Child monitor_;  // of a restored machine
  sys::UniqueFd console_;
  sys::UniqueFd listener_;
  sys::UniqueFd unused_;  // QEMU's serial agent port where the agent comes by vsock
  std::unique_ptr<supervisor::GuestLink> link_;
  std::unique_ptr<http::Client> client_;
  bool ready_ = false;
  std::string trouble_;
  std::string output_;
  std::optional<wire::Closed> closed_;
};

// Starts a monitor of ours without a machine, in this directory; it listens on `api_socket`.
sys::Child start_monitor(const Parts& parts, const std::string& run_dir);
constexpr const char* kApiSocket = "vmm-api.sock";
// Connects as soon as the monitor listens.
sys::UniqueFd connect_when_listening(const std::string& path);

}  // namespace mvm::bench
