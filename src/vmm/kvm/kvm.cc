// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/kvm.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <array>

#include "sys/io.h"
#include "vmm/kvm/kvm_ioctl.h"

namespace mvm::vmm {
namespace {

// Source: Intel's "VM86 task" needs three pages and an identity map below 4 GiB; they lie in the
// MMIO gap above the devices.
constexpr std::uint64_t kTssAddress = 0xfffb'd000;
constexpr std::uint64_t kIdentityMapAddress = 0xfffb'c000;

constexpr std::size_t kMaxCpuidEntries = 256;
constexpr std::size_t kMaxMsrs = 1024;

struct Need {
  int capability;
  const char* name;
};
constexpr std::array<Need, 13> kNeeded = {{{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
                                           {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
                                           {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
                                           {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
                                           {KVM_CAP_COALESCED_MMIO, "KVM_CAP_COALESCED_MMIO"},
                                           {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
                                           {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
                                           {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
                                           {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
                                           {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
                                           {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
                                           {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
                                           {KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK"}}};

}  // namespace

Result<Kvm> Kvm::open(const std::string& device) {
  auto fd = sys::open_file(device, O_RDWR);
  if (!fd)
    return Error(fd.error()).with_hint("see 'mvmctl doctor' for what KVM needs on this host");
  Kvm kvm(std::move(*fd));
  const int version =
      MVM_TRY(kvm_ioctl(kvm.fd_.get(), KVM_GET_API_VERSION, 0, "KVM_GET_API_VERSION"));
  if (version != KVM_API_VERSION)
    return Error(Errc::kUnsupported, device + " speaks KVM API version " + std::to_string(version) +
                                         ", mvm-vmm version " + std::to_string(KVM_API_VERSION));
  for (const Need& need : kNeeded) {
    if (kvm.extension(need.capability) <= 0)
      return Error(Errc::kUnsupported, device + " has no " + need.name);
  }
  return kvm;
}

int Kvm::extension(int capability) const {
  return ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
}

Result<KvmVm> Kvm::create_vm() const {
  sys::UniqueFd vm(MVM_TRY(kvm_ioctl(fd_.get(), KVM_CREATE_VM, 0UL, "KVM_CREATE_VM")));
  const int run_size =
      MVM_TRY(kvm_ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0UL, "KVM_GET_VCPU_MMAP_SIZE"));
  const int xsave = ::ioctl(vm.get(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
  return KvmVm(std::move(vm), static_cast<std::size_t>(run_size),
               xsave > 0 ? static_cast<std::size_t>(xsave) : sizeof(KvmXsaveArea));
}

Result<std::vector<kvm_cpuid_entry2>> Kvm::supported_cpuid() const {
  WithEntries<kvm_cpuid_entry2> list(kMaxCpuidEntries);
  MVM_TRY(kvm_ioctl(fd_.get(), kKvmGetSupportedCpuid, list.header(), "KVM_GET_SUPPORTED_CPUID"));
  const auto entries = list.entries();
  return std::vector<kvm_cpuid_entry2>(entries.begin(), entries.end());
}

Result<std::vector<std::uint32_t>> Kvm::saved_msrs() const {
  // Its header is one word: the list begins where others have their padding.
  std::vector<std::uint32_t> list(1 + kMaxMsrs);
  list[0] = kMaxMsrs;
  MVM_TRY(kvm_ioctl(fd_.get(), kKvmGetMsrIndexList, list.data(), "KVM_GET_MSR_INDEX_LIST"));
  const std::size_t count = std::min<std::size_t>(list[0], kMaxMsrs);
  return std::vector<std::uint32_t>(list.begin() + 1, list.begin() + 1 + static_cast<long>(count));
}

Result<> KvmVm::create_interrupt_controllers() const {
  MVM_TRY(kvm_ioctl(fd_.get(), KVM_SET_TSS_ADDR, kTssAddress, "KVM_SET_TSS_ADDR"));
  MVM_TRY(kvm_set(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, kIdentityMapAddress,
                  "KVM_SET_IDENTITY_MAP_ADDR"));
  MVM_TRY(kvm_ioctl(fd_.get(), KVM_CREATE_IRQCHIP, 0UL, "KVM_CREATE_IRQCHIP"));
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;
  return kvm_set(fd_.get(), KVM_CREATE_PIT2, pit, "KVM_CREATE_PIT2");
}

Result<> KvmVm::set_memory(const MemorySlot& slot) const {
  kvm_userspace_memory_region region{};
  region.slot = slot.index;
  region.flags = slot.log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0;
  region.guest_phys_addr = slot.gpa;
  region.memory_size = slot.size;
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(slot.host);
  return kvm_set(fd_.get(), KVM_SET_USER_MEMORY_REGION, region, "KVM_SET_USER_MEMORY_REGION");
}

Result<std::vector<std::uint64_t>> KvmVm::dirty_log(const MemorySlot& slot) const {
  std::vector<std::uint64_t> bits((slot.size / 4096 + 63) / 64);
  kvm_dirty_log log{};
  log.slot = slot.index;
  log.dirty_bitmap = bits.data();
  MVM_TRY(kvm_ioctl(fd_.get(), KVM_GET_DIRTY_LOG, &log, "KVM_GET_DIRTY_LOG"));
  return bits;
}

Result<> KvmVm::bind_interrupt(int event_fd, std::uint32_t gsi) const {
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(event_fd);
  irqfd.gsi = gsi;
  return kvm_set(fd_.get(), KVM_IRQFD, irqfd, "KVM_IRQFD");
}

Result<> KvmVm::bind_notify(int event_fd, std::uint64_t gpa, std::uint32_t value) const {
  kvm_ioeventfd event{};
  event.datamatch = value;
  event.addr = gpa;
  event.len = 4;
  event.fd = event_fd;
  event.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  return kvm_set(fd_.get(), KVM_IOEVENTFD, event, "KVM_IOEVENTFD");
}

Result<> KvmVm::note_writes(std::uint64_t gpa, std::uint32_t size) const {
  kvm_coalesced_mmio_zone zone{};
  zone.addr = gpa;
  zone.size = size;
  return kvm_set(fd_.get(), KVM_REGISTER_COALESCED_MMIO, zone, "KVM_REGISTER_COALESCED_MMIO");
}

Result<KvmVcpu> KvmVm::create_vcpu(std::uint32_t index) const {
  sys::UniqueFd fd(MVM_TRY(
      kvm_ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(index), "KVM_CREATE_VCPU")));
  void* run = ::mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) return Error::from_errno("mapping of a vcpu's shared page");
  return KvmVcpu(std::move(fd), static_cast<kvm_run*>(run), run_size_, xsave_size_);
}

Result<KvmVmState> KvmVm::save() const {
  KvmVmState state;
  state.pic_primary.chip_id = KVM_IRQCHIP_PIC_MASTER;
  state.pic_secondary.chip_id = KVM_IRQCHIP_PIC_SLAVE;
  state.ioapic.chip_id = KVM_IRQCHIP_IOAPIC;
  for (kvm_irqchip* chip : {&state.pic_primary, &state.pic_secondary, &state.ioapic})
    MVM_TRY(kvm_ioctl(fd_.get(), KVM_GET_IRQCHIP, chip, "KVM_GET_IRQCHIP"));
  state.pit = MVM_TRY(kvm_get<kvm_pit_state2>(fd_.get(), KVM_GET_PIT2, "KVM_GET_PIT2"));
  state.clock = MVM_TRY(kvm_get<kvm_clock_data>(fd_.get(), KVM_GET_CLOCK, "KVM_GET_CLOCK"));
  // The guest's time stands still while it does not run, so only the value goes on.
  state.clock.flags = 0;
  return state;
}

Result<> KvmVm::restore(const KvmVmState& state) const {
  MVM_TRY(kvm_set(fd_.get(), KVM_SET_PIT2, state.pit, "KVM_SET_PIT2"));
  MVM_TRY(kvm_set(fd_.get(), KVM_SET_CLOCK, state.clock, "KVM_SET_CLOCK"));
  for (const kvm_irqchip* chip : {&state.pic_primary, &state.pic_secondary, &state.ioapic})
    MVM_TRY(kvm_set(fd_.get(), KVM_SET_IRQCHIP, *chip, "KVM_SET_IRQCHIP"));
  return {};
}

}  // namespace mvm::vmm
