// SPDX-License-Identifier: Apache-2.0
// KVM's system, vm and vcpu descriptors as owned objects, one function per ioctl that is used.
//
// Source: Linux Documentation/virt/kvm/api.rst.
// Errors: those of the ioctl, named by it, unless said otherwise.
// Threads: a KvmVcpu is used by its own thread, or by another while that one is stopped.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/codec.h"
#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::vmm {

class KvmVm;

class Kvm {
 public:
  // Opens the device and checks that it has everything that mvm-vmm needs.
  // Errors: those of open, with a hint; kUnsupported names what is missing.
  static Result<Kvm> open(const std::string& device = "/dev/kvm");

  Result<KvmVm> create_vm() const;
  Result<std::vector<kvm_cpuid_entry2>> supported_cpuid() const;
  // The MSRs that make up a vcpu's state on this host.
  Result<std::vector<std::uint32_t>> saved_msrs() const;
  // KVM_CHECK_EXTENSION: 0 when it is missing.
  int extension(int capability) const;

 private:
  explicit Kvm(sys::UniqueFd fd) : fd_(std::move(fd)) {}
  sys::UniqueFd fd_;
};

struct MemorySlot {
  std::uint32_t index = 0;
  std::uint64_t gpa = 0;
  std::uint64_t size = 0;
  void* host = nullptr;
  bool log_dirty = false;
};

// In-kernel interrupt controllers, timer and clock of a vm.
struct KvmVmState {
  kvm_irqchip pic_primary{};
  kvm_irqchip pic_secondary{};
  kvm_irqchip ioapic{};
  kvm_pit_state2 pit{};
  kvm_clock_data clock{};

  void save(ByteWriter& out) const;
  // Errors: kCorrupt.
  static Result<KvmVmState> load(ByteReader& in);
};

// Writes of a guest that KVM only noted (KvmVm::note_writes), oldest first; one list a vm.
// Threads: taking is for one thread at a time.
class KvmNotedWrites {
 public:
  KvmNotedWrites(KvmNotedWrites&& other) noexcept;
  ~KvmNotedWrites();

  struct Write {
    std::uint64_t gpa = 0;
    std::array<std::byte, 8> data{};
    std::size_t size = 0;
  };
  // The oldest; nothing when there is none. It stays until it is forgotten: until then it counts
  // as not yet made.
  std::optional<Write> oldest() const;
  void forget_oldest();

 private:
  friend class KvmVcpu;
  explicit KvmNotedWrites(kvm_coalesced_mmio_ring* ring) : ring_(ring) {}
  kvm_coalesced_mmio_ring* ring_;
};

class KvmVcpu;

class KvmVm {
 public:
  // PIC, IOAPIC, LAPICs and PIT in the kernel; before any vcpu.
  Result<> create_interrupt_controllers() const;
  Result<> set_memory(const MemorySlot& slot) const;
  // Pages that vcpus have written since the last call. Shape: one bit a page of the slot.
  Result<std::vector<std::uint64_t>> dirty_log(const MemorySlot& slot) const;
  // A write to the event descriptor becomes an edge on the interrupt line.
  Result<> bind_interrupt(int event_fd, std::uint32_t gsi) const;
  // A guest's 32-bit write of `value` to `gpa` becomes an event, without leaving the kernel.
  Result<> bind_notify(int event_fd, std::uint64_t gpa, std::uint32_t value) const;
  // A guest's write to these addresses is noted, without leaving the kernel; when the list is full
  // it leaves like any other.
  Result<> note_writes(std::uint64_t gpa, std::uint32_t size) const;
  Result<KvmVcpu> create_vcpu(std::uint32_t index) const;

  Result<KvmVmState> save() const;
  Result<> restore(const KvmVmState& state) const;

 private:
  friend class Kvm;
  KvmVm(sys::UniqueFd fd, std::size_t run_size, std::size_t xsave_size)
      : fd_(std::move(fd)), run_size_(run_size), xsave_size_(xsave_size) {}
  sys::UniqueFd fd_;
  std::size_t run_size_;
  std::size_t xsave_size_;
};

// Everything of a vcpu that KVM can tell and take.
struct KvmVcpuState {
  std::vector<kvm_cpuid_entry2> cpuid;
  std::vector<kvm_msr_entry> msrs;
  std::vector<std::byte> xsave;
  kvm_regs regs{};
  kvm_sregs sregs{};
  kvm_xcrs xcrs{};
  kvm_debugregs debugregs{};
  kvm_lapic_state lapic{};
  kvm_mp_state mp_state{};
  kvm_vcpu_events events{};
  std::uint32_t tsc_khz = 0;

  void save(ByteWriter& out) const;
  // Errors: kCorrupt.
  static Result<KvmVcpuState> load(ByteReader& in);
};

class KvmVcpu {
 public:
  KvmVcpu(KvmVcpu&& other) noexcept;
  ~KvmVcpu();

  // The page shared with KVM: exit reason, its data, immediate_exit.
  kvm_run& shared() const { return *run_; }
  // KVM_RUN. False when a signal or immediate_exit ended it. Errors: KVM's.
  Result<bool> run() const;

  Result<> set_cpuid(const std::vector<kvm_cpuid_entry2>& entries) const;
  Result<kvm_regs> regs() const;
  Result<> set_regs(const kvm_regs& regs) const;
  Result<kvm_sregs> sregs() const;
  Result<> set_sregs(const kvm_sregs& sregs) const;
  Result<> set_fpu(const kvm_fpu& fpu) const;
  Result<kvm_lapic_state> lapic() const;
  Result<> set_lapic(const kvm_lapic_state& lapic) const;
  // Errors: kUnsupported names the first MSR that KVM does not take.
  Result<> set_msrs(const std::vector<kvm_msr_entry>& msrs) const;
  // Units: kHz; 0 when KVM cannot tell.
  std::uint32_t tsc_khz() const;

  // The list of its vm's noted writes; at most once a vm.
  Result<KvmNotedWrites> noted_writes() const;
  // Tells the guest that it was stopped, so that it does not take the gap for a lock-up.
  void note_pause() const;
  Result<KvmVcpuState> save(const std::vector<std::uint32_t>& msr_indices) const;
  Result<> restore(const KvmVcpuState& state) const;

 private:
  friend class KvmVm;
  KvmVcpu(sys::UniqueFd fd, kvm_run* run, std::size_t run_size, std::size_t xsave_size)
      : fd_(std::move(fd)), run_(run), run_size_(run_size), xsave_size_(xsave_size) {}
  sys::UniqueFd fd_;
  kvm_run* run_;
  std::size_t run_size_;
  std::size_t xsave_size_;
};

}  // namespace mvm::vmm
