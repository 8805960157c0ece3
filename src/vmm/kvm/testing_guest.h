// SPDX-License-Identifier: Apache-2.0
// For tests that run instructions: a virtual machine with 64 KiB of RAM and one vcpu in real mode.
//
// KVM may be missing, or be there and not be able to run guests: create() says why.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/kvm/kvm.h"

namespace mvm::vmm::testing_guest {

constexpr std::uint64_t kRam = 0x1'0000;
constexpr std::uint16_t kCode = 0x1000;
constexpr std::uint16_t kData = 0x2000;
constexpr std::uint16_t kStack = 0x8000;

using Code = std::vector<std::uint8_t>;

class Guest {
 public:
  // Stands at the first byte of `code`, DS at `data_base`, so that offsets from there are addresses
  // of devices where it lies outside of RAM. Errors: those of KVM.
  static Result<std::unique_ptr<Guest>> create(const Code& code, std::uint64_t data_base = 0,
                                               bool log_dirty = false) {
    std::unique_ptr<Guest> out(new Guest);
    out->kvm_ = MVM_TRY(Kvm::open());
    out->vm_.emplace(MVM_TRY(out->kvm_->create_vm()));
    MVM_TRY(out->vm_->create_interrupt_controllers());
    out->slot_ = {0, 0, kRam, out->ram_, log_dirty};
    MVM_TRY(out->vm_->set_memory(out->slot_));
    out->vcpu_.emplace(MVM_TRY(out->vm_->create_vcpu(0)));
    std::ranges::copy(std::as_bytes(std::span(code)), out->ram_ + kCode);
    MVM_TRY(out->enter(data_base));
    return out;
  }
  ~Guest() {
    vcpu_.reset();
    ::munmap(ram_, kRam);
  }

  const Kvm& kvm() const { return *kvm_; }
  const KvmVm& vm() const { return *vm_; }
  const KvmVcpu& vcpu() const { return *vcpu_; }
  // For a thread that owns it; the guest has none any more.
  KvmVcpu take_vcpu() { return std::move(*vcpu_); }
  const MemorySlot& slot() const { return slot_; }
  std::byte* ram() { return ram_; }
  // Changes while the guest runs.
  std::uint32_t word(std::uint16_t at) const {
    return __atomic_load_n(reinterpret_cast<const std::uint32_t*>(ram_ + at), __ATOMIC_SEQ_CST);
  }

 private:
  Guest()
      : ram_(static_cast<std::byte*>(
            ::mmap(nullptr, kRam, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  Result<> enter(std::uint64_t data_base) const {
    kvm_sregs sregs = MVM_TRY(vcpu_->sregs());
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    sregs.ds.base = data_base;
    MVM_TRY(vcpu_->set_sregs(sregs));
    kvm_regs regs{};
    regs.rip = kCode;
    regs.rsp = kStack;
    regs.rflags = 2;
    return vcpu_->set_regs(regs);
  }

  std::byte* ram_;
  std::optional<Kvm> kvm_;
  std::optional<KvmVm> vm_;
  std::optional<KvmVcpu> vcpu_;
  MemorySlot slot_;
};

inline std::optional<std::string> try_a_guest() {
  auto guest = Guest::create({0xe6, 0x80, 0xf4});  // out 0x80, al; hlt
  if (!guest) return "KVM cannot be used: " + guest.error().text();
  const auto ran = (*guest)->vcpu().run();
  if (!ran) return "KVM cannot run a guest: " + ran.error().text();
  const std::uint32_t exit = (*guest)->vcpu().shared().exit_reason;
  if (exit != KVM_EXIT_IO) return "KVM cannot run a guest: it exits by " + std::to_string(exit);
  return std::nullopt;
}

// Why this machine cannot run guests, or nothing.
inline std::optional<std::string> why_not() {
  static const std::optional<std::string> reason = try_a_guest();
  return reason;
}

}  // namespace mvm::vmm::testing_guest
