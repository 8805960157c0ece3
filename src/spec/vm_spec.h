// SPDX-License-Identifier: Apache-2.0
// A virtual machine as data: everything that has to be known to start it, with nothing looked up
// later.
//
// The CLI fills it from flags, image and configuration; the supervisor and the backends read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/units.h"
#include "spec/service_spec.h"

namespace mvm::spec {

enum class Arch { kX86_64, kAarch64 };

// How strong the boundary around a guest is; ordered, weakest first.
enum class Isolation {
  kContainer,  // shares the host kernel
  kEmulated,   // a machine boundary that its project does not support as a security boundary (QEMU
               // TCG)
  kMicrovm,    // hardware virtualisation
};

enum class Protocol { kTcp, kUdp };

struct PortForward {
  std::string host_ip = "127.0.0.1";
  std::uint16_t host_port = 0;
  std::uint16_t guest_port = 0;
  Protocol protocol = Protocol::kTcp;
};

enum class NetworkMode { kUser, kNone };

struct NetworkSpec {
  NetworkMode mode = NetworkMode::kUser;
  std::vector<PortForward> forwards;
};

// The command that is the machine's purpose; when it ends, the machine ends.
struct ProcessSpec {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // "NAME=VALUE"
  std::string working_dir;
  std::string user;
  std::string stop_signal = "TERM";
};

struct RestartPolicy {
  bool on_failure = false;
  std::uint32_t max_restarts = 0;  // 0: no bound
};

struct LimitSpec {
  std::uint32_t vcpus = 1;
  Bytes memory = mebibytes(512);
  std::uint32_t pids = 0;          // 0: the guest kernel's own limit
  Bytes log_size = mebibytes(16);  // per log file, before it is rotated once
  std::optional<Millis> ttl;       // life time, after which the machine is stopped
  Millis boot_deadline = Millis(60'000);
  std::optional<Millis> idle;  // without a connected command, after which the machine is stopped
};

// A disk that outlives the machine, as it is asked for.
struct VolumeSpec {
  std::string name;
  std::string path;  // absolute, in the guest
  Bytes size = gibibytes(1);
};
constexpr std::size_t kMaxVolumes = 8;

// The same, found: ext4, written to by one machine at a time.
struct VolumeDisk {
  std::string name;
  std::string guest_path;
  std::string disk_path;
};

// What the guest finds the disk of a volume by. Units: 20 bytes at most, the serial of virtio-blk.
inline std::string volume_serial(std::size_t index) {
  return "mvm_volume_" + std::to_string(index);
}

struct VmSpec {
  std::string id;  // 16 hex characters
  std::string name;
  Arch arch = Arch::kX86_64;
  std::string backend;      // "qemu", "fake": already selected
  std::string accelerator;  // "kvm" or "tcg" where the backend has a choice
  Isolation isolation = Isolation::kEmulated;
  std::uint32_t tsc_khz =
      0;  // of the host's counter, which an emulated x86 guest reads; 0: unknown
  std::string kernel_path;
  std::string initramfs_path;
  std::string cmdline_extra;
  std::string image_path;  // read-only EROFS
  std::string image_ref;
  std::string image_digest;
  std::string scratch_path;  // ext4 of this machine alone; empty: writes go to guest memory
  std::string sealed_by;  // the public key, hex, that the guest checks its seal against; or empty
  std::vector<VolumeDisk> volumes;
  std::string hostname;
  NetworkSpec network;
  LimitSpec limits;
  RestartPolicy restart;
  ProcessSpec exec_defaults;  // environment, user and directory of every process; argv unused
  std::optional<ProcessSpec> process;  // run by the supervisor when the guest is ready
  std::vector<ServiceSpec> services;   // run by the agent; their own words over exec_defaults
  std::optional<HealthSpec> health;    // of `process`
  std::string run_dir;                 // lock and control socket; gone after a reboot of the host
  std::string data_dir;                // scratch disk, status, logs
  std::string engine_program;          // the engine's executable
  std::string network_program;  // mvm-netd, for engines without a user-mode network of their own
  std::string jailer_program;   // for engines that do not enter a jail themselves
  std::string restore_dir;  // a snapshot's files, which its first boot starts from; empty: it boots
  bool jail = true;         // of engines that have one: the engine sees its own files only
  std::uint32_t jail_user = 0;  // whom a jailed engine becomes, uid and gid; 0: it stays ourselves
  bool remove_when_done = false;  // the machine ends with the command that made it
};

}  // namespace mvm::spec
