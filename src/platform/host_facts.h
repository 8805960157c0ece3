// SPDX-License-Identifier: Apache-2.0
// What is known about the machine mvm runs on, as plain data. Gathering is in collect.h, judging in
// matrix.h, select.h and doctor.h, which are pure, so that every kind of host is tested on any
// host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"
#include "spec/vm_spec.h"

namespace mvm::platform {

enum class Os { kLinux, kMacos, kWindows, kOther };

// What became of trying to run guest code (kvm_probe.h).
enum class KvmState {
  kWorks,         // guest instructions ran, at the speed of hardware
  kSoftware,      // /dev/kvm is there, but interprets guest code and cannot boot a stock kernel
  kNoPermission,  // the device exists, this user may not open it
  kAbsent,        // no device
  kBroken,        // the device opens, but no virtual machine can be made
};
std::string_view kvm_state_name(
    KvmState state);  // "works", "software_kvm", "no_permission", "absent", "broken"

struct KvmFacts {
  KvmState state = KvmState::kAbsent;
  bool device_present = false;
  bool accessible = false;
  int api_version = 0;
  bool cpu_flag = false;  // vmx or svm in cpuinfo: explains the outcome, does not decide it
  std::string detail;     // one sentence for people
};

// A program that mvm may use.
struct Program {
  std::string name;
  std::string path;         // empty: not installed
  std::string version;      // empty: not asked (collect_minimal) or not told
  std::string needed_for;   // "pulling images from registries"
  std::string package;      // Debian package that has it; empty: none
  std::string sha256 = {};  // of a monitor's file, hex; empty: not asked, or it cannot be read
  bool found() const { return !path.empty(); }
};

// Why something is not there, and what to do.
struct Problem {
  std::string text;
  std::string hint;
};

enum class CgroupMode { kNone, kV1, kHybrid, kV2 };
std::string_view cgroup_mode_name(CgroupMode mode);

struct HostFacts {
  Os os = Os::kOther;
  std::string os_name;         // "Debian GNU/Linux 12 (bookworm)"
  std::string kernel_release;  // "6.1.0-56-amd64"
  std::string machine;         // as uname -m says: "x86_64", "aarch64", "arm64", "riscv64"
  bool is_wsl2 = false;
  KvmFacts kvm;
  std::vector<Program> engines;
  std::vector<Program> tools;
  std::string data_dir;
  bool data_writable = true;  // or, when it is not there yet, the directory it would be made in
  Bytes disk_free, disk_total;
  Bytes memory;
  std::uint32_t cpus = 0;
  std::uint32_t uid = 0;
  CgroupMode cgroup = CgroupMode::kNone;
  bool in_container = false;
  Problem docker;         // why there is no socket of a Docker daemon; empty when there is
  bool jail_off = false;  // the user's wish: mvm-vmm is started without its jail
};

// The architecture of guests that run at full speed here; nothing on other processors.
std::optional<spec::Arch> host_arch(const HostFacts& facts);
// "x86_64-linux": what an image for this host is built for. It names the guest, not the host's
// system.
std::string guest_target(spec::Arch arch);
std::string_view os_id(Os os);  // "linux"
// The engine of that name, if it is installed.
const Program* find_engine(const HostFacts& facts, std::string_view name);

}  // namespace mvm::platform
