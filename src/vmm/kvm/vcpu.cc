// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "vmm/kvm/kvm.h"
#include "vmm/kvm/kvm_ioctl.h"

namespace mvm::vmm {
namespace {

// KVM takes lists of at most 256 MSRs or CPUID entries.
constexpr std::size_t kMaxEntries = 256;
constexpr std::uint32_t kMsrTscDeadline = 0x6e0;

constexpr std::size_t kPageSize = 4096;
// The header's array without a size lies elsewhere in C++ than in the kernel's C: there it begins
// behind first and last. As many as the page has room for: KVM_COALESCED_MMIO_MAX, <linux/kvm.h>.
constexpr std::size_t kNotedPlace = 2 * sizeof(std::uint32_t);
constexpr std::uint32_t kMostNoted = (kPageSize - kNotedPlace) / sizeof(kvm_coalesced_mmio);

using MsrList = WithEntries<kvm_msr_entry>;
using CpuidList = WithEntries<kvm_cpuid_entry2>;

// What KVM lists but does not give (depends on the guest's CPUID) is no part of the state.
std::vector<kvm_msr_entry> read_msrs(int fd, std::vector<std::uint32_t> indices) {
  // The deadline counts only once the time-stamp counter is right: it comes last.
  std::stable_partition(indices.begin(), indices.end(),
                        [](std::uint32_t i) { return i != kMsrTscDeadline; });
  std::vector<kvm_msr_entry> out;
  MsrList list(kMaxEntries);
  std::size_t at = 0;
  while (at < indices.size()) {
    const std::size_t count = std::min(indices.size() - at, kMaxEntries);
    list.header()->count = static_cast<std::uint32_t>(count);
    for (std::size_t i = 0; i < count; ++i) {
      list.room()[i] = {};
      list.room()[i].index = indices[at + i];
    }
    const int got = ::ioctl(fd, kKvmGetMsrs, list.header());
    const std::size_t read = got < 0 ? 0 : static_cast<std::size_t>(got);
    const auto got_entries = list.room().first(read);
    out.insert(out.end(), got_entries.begin(), got_entries.end());
    at += read < count ? read + 1 : count;
  }
  return out;
}

template <class T>
void put(ByteWriter& out, const T& value) {
  out.bytes(std::as_bytes(std::span(&value, 1)));
}

template <class T>
void put_list(ByteWriter& out, const std::vector<T>& values) {
  out.bytes(std::as_bytes(std::span(values)));
}

// Fields of structures are KVM's ABI; their sizes must match exactly.
template <class T>
bool take(ByteReader& in, T& value) {
  const auto bytes = in.bytes(sizeof(T));
  if (bytes.size() != sizeof(T)) return false;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return true;
}

template <class T>
bool take_list(ByteReader& in, std::vector<T>& values, std::size_t limit) {
  const auto bytes = in.bytes(limit * sizeof(T));
  if (!in.ok() || bytes.size() % sizeof(T) != 0) return false;
  values.resize(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return true;
}

}  // namespace

KvmVcpu::KvmVcpu(KvmVcpu&& other) noexcept
    : fd_(std::move(other.fd_)),
      run_(std::exchange(other.run_, nullptr)),
      run_size_(other.run_size_),
      xsave_size_(other.xsave_size_) {}

KvmVcpu::~KvmVcpu() {
  if (run_ != nullptr) ::munmap(run_, run_size_);
}

// Source: Linux Documentation/virt/kvm/api.rst, KVM_REGISTER_COALESCED_MMIO; the page's place on
// x86 is KVM_COALESCED_MMIO_PAGE_OFFSET.
Result<KvmNotedWrites> KvmVcpu::noted_writes() const {
  constexpr off_t kPlace = off_t{KVM_COALESCED_MMIO_PAGE_OFFSET} * kPageSize;
  void* ring = ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), kPlace);
  if (ring == MAP_FAILED) return Error::from_errno("mapping of the list of noted writes");
  return KvmNotedWrites(static_cast<kvm_coalesced_mmio_ring*>(ring));
}

KvmNotedWrites::KvmNotedWrites(KvmNotedWrites&& other) noexcept
    : ring_(std::exchange(other.ring_, nullptr)) {}

KvmNotedWrites::~KvmNotedWrites() {
  if (ring_ != nullptr) ::munmap(ring_, kPageSize);
}

std::optional<KvmNotedWrites::Write> KvmNotedWrites::oldest() const {
  const std::uint32_t first = std::atomic_ref(ring_->first).load(std::memory_order_relaxed);
  if (first == std::atomic_ref(ring_->last).load(std::memory_order_acquire)) return std::nullopt;
  const std::byte* at = reinterpret_cast<const std::byte*>(ring_) + kNotedPlace;
  kvm_coalesced_mmio entry;
  std::memcpy(&entry, at + (first % kMostNoted) * sizeof entry, sizeof entry);
  Write out;
  out.gpa = entry.phys_addr;
  out.size = std::min<std::size_t>(entry.len, out.data.size());
  std::memcpy(out.data.data(), entry.data, out.size);
  return out;
}

void KvmNotedWrites::forget_oldest() {
  const std::atomic_ref first(ring_->first);
  first.store((first.load(std::memory_order_relaxed) + 1) % kMostNoted, std::memory_order_release);
}

Result<bool> KvmVcpu::run() const {
  if (::ioctl(fd_.get(), KVM_RUN, 0UL) == 0) return true;
  if (errno == EINTR || errno == EAGAIN) return false;
  return Error::from_errno("KVM_RUN");
}

Result<> KvmVcpu::set_cpuid(const std::vector<kvm_cpuid_entry2>& entries) const {
  if (entries.size() > kMaxEntries)
    return Error(Errc::kLimit, std::to_string(entries.size()) + " CPUID entries");
  CpuidList list(kMaxEntries);
  list.header()->count = static_cast<std::uint32_t>(entries.size());
  std::ranges::copy(entries, list.room().begin());
  MVM_TRY(kvm_ioctl(fd_.get(), kKvmSetCpuid2, list.header(), "KVM_SET_CPUID2"));
  return {};
}

Result<kvm_regs> KvmVcpu::regs() const {
  return kvm_get<kvm_regs>(fd_.get(), KVM_GET_REGS, "KVM_GET_REGS");
}
Result<> KvmVcpu::set_regs(const kvm_regs& regs) const {
  return kvm_set(fd_.get(), KVM_SET_REGS, regs, "KVM_SET_REGS");
}
Result<kvm_sregs> KvmVcpu::sregs() const {
  return kvm_get<kvm_sregs>(fd_.get(), KVM_GET_SREGS, "KVM_GET_SREGS");
}
Result<> KvmVcpu::set_sregs(const kvm_sregs& sregs) const {
  return kvm_set(fd_.get(), KVM_SET_SREGS, sregs, "KVM_SET_SREGS");
}
Result<> KvmVcpu::set_fpu(const kvm_fpu& fpu) const {
  return kvm_set(fd_.get(), KVM_SET_FPU, fpu, "KVM_SET_FPU");
}
Result<kvm_lapic_state> KvmVcpu::lapic() const {
  return kvm_get<kvm_lapic_state>(fd_.get(), KVM_GET_LAPIC, "KVM_GET_LAPIC");
}
Result<> KvmVcpu::set_lapic(const kvm_lapic_state& lapic) const {
  return kvm_set(fd_.get(), KVM_SET_LAPIC, lapic, "KVM_SET_LAPIC");
}

Result<> KvmVcpu::set_msrs(const std::vector<kvm_msr_entry>& msrs) const {
  MsrList list(kMaxEntries);
  for (std::size_t at = 0; at < msrs.size();) {
    const std::size_t count = std::min(msrs.size() - at, kMaxEntries);
    list.header()->count = static_cast<std::uint32_t>(count);
    std::copy_n(msrs.begin() + static_cast<long>(at), count, list.room().begin());
    const int set = MVM_TRY(kvm_ioctl(fd_.get(), kKvmSetMsrs, list.header(), "KVM_SET_MSRS"));
    if (static_cast<std::size_t>(set) != count)
      return Error(Errc::kUnsupported,
                   "KVM does not take the model-specific register " +
                       std::to_string(list.room()[static_cast<std::size_t>(set)].index));
    at += count;
  }
  return {};
}

std::uint32_t KvmVcpu::tsc_khz() const {
  const int khz = ::ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0UL);
  return khz > 0 ? static_cast<std::uint32_t>(khz) : 0;
}

void KvmVcpu::note_pause() const { (void)::ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0UL); }

Result<KvmVcpuState> KvmVcpu::save(const std::vector<std::uint32_t>& msr_indices) const {
  const int fd = fd_.get();
  KvmVcpuState s;
  // First: asking for it makes KVM deliver what is pending.
  s.mp_state = MVM_TRY(kvm_get<kvm_mp_state>(fd, KVM_GET_MP_STATE, "KVM_GET_MP_STATE"));
  s.regs = MVM_TRY(regs());
  s.sregs = MVM_TRY(sregs());
  s.xsave.resize(xsave_size_);
  const bool large = xsave_size_ > sizeof(KvmXsaveArea);
  MVM_TRY(kvm_ioctl(fd, large ? kKvmGetXsave2 : kKvmGetXsave, s.xsave.data(), "KVM_GET_XSAVE"));
  s.xcrs = MVM_TRY(kvm_get<kvm_xcrs>(fd, KVM_GET_XCRS, "KVM_GET_XCRS"));
  s.debugregs = MVM_TRY(kvm_get<kvm_debugregs>(fd, KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS"));
  s.lapic = MVM_TRY(lapic());
  s.tsc_khz = tsc_khz();
  s.msrs = read_msrs(fd, msr_indices);
  CpuidList list(kMaxEntries);
  list.header()->count = kMaxEntries;
  MVM_TRY(kvm_ioctl(fd, kKvmGetCpuid2, list.header(), "KVM_GET_CPUID2"));
  s.cpuid.assign(list.entries().begin(), list.entries().end());
  s.events = MVM_TRY(kvm_get<kvm_vcpu_events>(fd, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS"));
  return s;
}

Result<> KvmVcpu::restore(const KvmVcpuState& s) const {
  const int fd = fd_.get();
  MVM_TRY(set_cpuid(s.cpuid));
  // Only where the counter would run at another speed: KVM then scales it, if the host can.
  if (s.tsc_khz != 0 && s.tsc_khz != tsc_khz())
    MVM_TRY(
        kvm_ioctl(fd, KVM_SET_TSC_KHZ, static_cast<unsigned long>(s.tsc_khz), "KVM_SET_TSC_KHZ"));
  MVM_TRY(kvm_set(fd, KVM_SET_MP_STATE, s.mp_state, "KVM_SET_MP_STATE"));
  MVM_TRY(set_regs(s.regs));
  MVM_TRY(set_sregs(s.sregs));
  if (s.xsave.size() != xsave_size_)
    return Error(Errc::kUnsupported, "the saved processor state has " +
                                         std::to_string(s.xsave.size()) + " bytes, this host's " +
                                         std::to_string(xsave_size_));
  MVM_TRY(kvm_ioctl(fd, kKvmSetXsave, s.xsave.data(), "KVM_SET_XSAVE"));
  MVM_TRY(kvm_set(fd, KVM_SET_XCRS, s.xcrs, "KVM_SET_XCRS"));
  MVM_TRY(kvm_set(fd, KVM_SET_DEBUGREGS, s.debugregs, "KVM_SET_DEBUGREGS"));
  MVM_TRY(set_lapic(s.lapic));
  MVM_TRY(set_msrs(s.msrs));
  return kvm_set(fd, KVM_SET_VCPU_EVENTS, s.events, "KVM_SET_VCPU_EVENTS");
}

void KvmVcpuState::save(ByteWriter& out) const {
  put_list(out, cpuid);
  put_list(out, msrs);
  out.bytes(xsave);
  put(out, regs);
  put(out, sregs);
  put(out, xcrs);
  put(out, debugregs);
  put(out, lapic);
  put(out, mp_state);
  put(out, events);
  out.number(tsc_khz);
}

Result<KvmVcpuState> KvmVcpuState::load(ByteReader& in) {
  KvmVcpuState s;
  const bool ok = take_list(in, s.cpuid, kMaxEntries) && take_list(in, s.msrs, 4 * kMaxEntries) &&
                  take_list(in, s.xsave, 64 * 1024) && take(in, s.regs) && take(in, s.sregs) &&
                  take(in, s.xcrs) && take(in, s.debugregs) && take(in, s.lapic) &&
                  take(in, s.mp_state) && take(in, s.events);
  s.tsc_khz = in.number<std::uint32_t>();
  if (!ok || !in.ok()) return Error(Errc::kCorrupt, "the saved vcpu is not of this kind");
  return s;
}

void KvmVmState::save(ByteWriter& out) const {
  put(out, pic_primary);
  put(out, pic_secondary);
  put(out, ioapic);
  put(out, pit);
  put(out, clock);
}

Result<KvmVmState> KvmVmState::load(ByteReader& in) {
  KvmVmState s;
  const bool ok = take(in, s.pic_primary) && take(in, s.pic_secondary) && take(in, s.ioapic) &&
                  take(in, s.pit) && take(in, s.clock);
  if (!ok) return Error(Errc::kCorrupt, "the saved interrupt controllers are not of this kind");
  return s;
}

}  // namespace mvm::vmm
