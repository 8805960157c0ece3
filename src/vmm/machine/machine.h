// SPDX-License-Identifier: Apache-2.0
// A virtual machine that exists: memory, vcpus, devices.
//
//   boot() ─┐                    resume()
//           ├──▶ paused ◀──────────────────────▶ running ──▶ ended (on_end; the process exits)
//   restore()┘        pause(), save()
//
// Threads: everything on the I/O thread; the vcpus have threads of their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/config/vm_config.h"
#include "vmm/kvm/kvm.h"
#include "vmm/loader/loader.h"
#include "vmm/machine/device_set.h"
#include "vmm/machine/guest_bus.h"
#include "vmm/machine/legacy_devices.h"
#include "vmm/machine/vcpu_thread.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/mmds/mmds.h"
#include "vmm/virtio/io_thread.h"

namespace mvm::vmm {

enum class MachineEnd { kPoweredOff, kReset, kFailed };

// What the machine needs of the process.
struct MachineContext {
  IoThread& io;
  // Installs the system call filter of a vcpu's thread.
  std::function<Result<>()> confine_vcpu;
  // Comes once, on the I/O thread; the error belongs to kFailed.
  std::function<void(MachineEnd, std::optional<Error>)> on_end;
  // For --boot-timer; may be empty. Called on a vcpu's thread.
  std::function<void()> on_boot_done;
  // Answers on the interfaces that the configuration names.
  std::shared_ptr<Mmds> metadata;
};

// A part of the state under its name: "vm", "vcpu0", "serial", "drive/rootfs" …
struct SavedPart {
  std::string name;
  std::vector<std::byte> bytes;
};

class Machine {
 public:
  // Builds a machine whose first vcpu stands at the kernel's entry.
  // Errors: kInvalidArgument for a configuration without a boot source; those of files and KVM.
  static Result<std::unique_ptr<Machine>> boot(const MachineContext& context,
                                               const VmConfig& config);
  // Builds the machine that `parts` were saved of, on this memory.
  // Errors: kCorrupt names the part; those of files and KVM.
  static Result<std::unique_ptr<Machine>> restore(const MachineContext& context,
                                                  const VmConfig& config, GuestMemory memory,
                                                  const std::vector<SavedPart>& parts);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void resume();
  // Returns when no vcpu and no device changes the guest's memory any more.
  void pause();

  // Of a paused machine.
  Result<std::vector<SavedPart>> save();
  const GuestMemory& memory() const { return *memory_; }
  // Pages written since dirty tracking was turned on or this was last called, by vcpus and devices.
  // Shape: one bit a page over the memory file's offsets.
  Result<std::vector<std::uint64_t>> take_dirty();

  DeviceSet& devices() { return devices_; }
  LegacyDevices& legacy() { return *legacy_; }

 private:
  explicit Machine(const MachineContext& context, const VmConfig& config);
  Result<> create_vm(GuestMemory memory);
  Result<> create_devices();
  Result<> create_vcpus();
  Result<> load_guest();
  Result<> set_boot_state(const LoadedKernel& kernel);
  Result<> restore_parts(const std::vector<SavedPart>& parts);
  Result<> renew_generation();
  void start_vcpus();
  void end(MachineEnd how, std::optional<Error> why);

  MachineContext context_;
  const VmConfig config_;
  std::unique_ptr<GuestMemory> memory_;
  std::optional<Kvm> kvm_;
  std::optional<KvmVm> vm_;
  std::vector<MemorySlot> slots_;
  GuestBus bus_;
  std::unique_ptr<LegacyDevices> legacy_;
  DeviceSet devices_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
  bool running_ = false;
  bool ended_ = false;
};

}  // namespace mvm::vmm
