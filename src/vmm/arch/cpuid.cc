// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/cpuid.h"

#include <cpuid.h>

#include <algorithm>
#include <bit>
#include <string>

#include "vmm/arch/cpuid_policy.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kMaxEntries = 256;  // KVM_MAX_CPUID_ENTRIES
constexpr std::uint32_t kIndexMatters = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
constexpr unsigned kMaxCacheLeaves = 8;

// Which manual the table follows.
enum class Vendor { kIntel, kAmd };
constexpr std::uint32_t kAuth = 0x6874'7541;  // "AuthenticAMD"
constexpr std::uint32_t kHygo = 0x6f67'7948;  // "HygonGenuine"

// The guest's numbers of processors. Ids are powers of two apart, so counts round up to them.
struct Topology {
  explicit Topology(const CpuidConfig& config)
      : id(config.vcpu),
        vcpus(config.vcpus),
        per_core(config.smt && config.vcpus > 1 ? 2 : 1),
        package_ids(std::bit_ceil(config.vcpus)) {}
  std::uint32_t id;
  std::uint32_t vcpus;
  std::uint32_t per_core;
  std::uint32_t package_ids;
  std::uint32_t core_ids() const { return package_ids / per_core; }
  // How many logical ids share a cache of this level.
  std::uint32_t sharing(std::uint32_t level) const { return level >= 3 ? package_ids : per_core; }
};

std::uint32_t log2_of(std::uint32_t power) {
  return static_cast<std::uint32_t>(std::countr_zero(power));
}

void set_bits(std::uint32_t& word, unsigned low, unsigned count, std::uint32_t value) {
  const std::uint32_t mask = ((std::uint32_t{1} << count) - 1) << low;
  word = (word & ~mask) | (value << low & mask);
}

class Table {
 public:
  explicit Table(std::span<const kvm_cpuid_entry2> entries)
      : entries_(entries.begin(), entries.end()) {}

  std::vector<kvm_cpuid_entry2>& entries() { return entries_; }

  kvm_cpuid_entry2* find(std::uint32_t leaf, std::uint32_t index = 0) {
    const auto at = std::find_if(entries_.begin(), entries_.end(), [=](const auto& entry) {
      return entry.function == leaf && entry.index == index;
    });
    return at == entries_.end() ? nullptr : &*at;
  }
  void erase(std::uint32_t leaf) {
    std::erase_if(entries_, [leaf](const auto& entry) { return entry.function == leaf; });
  }
  void put(const kvm_cpuid_entry2& entry) {
    kvm_cpuid_entry2* const old = find(entry.function, entry.index);
    if (old != nullptr) {
      *old = entry;
    } else {
      entries_.push_back(entry);
    }
  }
  // The highest leaf of the class (basic 0, KVM's 0x40000000, extended 0x80000000).
  std::uint32_t highest(std::uint32_t base) {
    const kvm_cpuid_entry2* const entry = find(base);
    return entry == nullptr ? 0 : entry->eax;
  }
  Vendor vendor() {
    const kvm_cpuid_entry2* const entry = find(0);
    return entry->ebx == kAuth || entry->ebx == kHygo ? Vendor::kAmd : Vendor::kIntel;
  }

 private:
  std::vector<kvm_cpuid_entry2> entries_;
};

kvm_cpuid_entry2 make_entry(std::uint32_t leaf, std::uint32_t index, std::uint32_t flags) {
  kvm_cpuid_entry2 out{};
  out.function = leaf;
  out.index = index;
  out.flags = flags;
  return out;
}

std::uint32_t& word(kvm_cpuid_entry2& entry, CpuidRegister which) {
  switch (which) {
    case CpuidRegister::kEax:
      return entry.eax;
    case CpuidRegister::kEbx:
      return entry.ebx;
    case CpuidRegister::kEcx:
      return entry.ecx;
    case CpuidRegister::kEdx:
      break;
  }
  return entry.edx;
}

void apply_policy(Table& table) {
  for (const CpuidMask& mask : kCpuidMasks)
    if (kvm_cpuid_entry2* const entry = table.find(mask.leaf, mask.index))
      word(*entry, mask.which) &= mask.keep;
  for (kvm_cpuid_entry2& entry : table.entries())
    if (std::find(kEmptyLeaves.begin(), kEmptyLeaves.end(), entry.function) != kEmptyLeaves.end())
      entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
}

void set_features(Table& table, const CpuidConfig& config, const Topology& topology) {
  constexpr std::uint32_t kTscDeadline = 1U << 24;
  constexpr std::uint32_t kHypervisor = 1U << 31;
  constexpr std::uint32_t kMultiThreading = 1U << 28;
  kvm_cpuid_entry2& leaf = *table.find(1);
  set_bits(leaf.ebx, 8, 8, 8);  // CLFLUSH lines of 64 bytes
  set_bits(leaf.ebx, 16, 8, topology.package_ids);
  set_bits(leaf.ebx, 24, 8, topology.id);
  leaf.ecx = (leaf.ecx & ~kTscDeadline) | kHypervisor | (config.tsc_deadline ? kTscDeadline : 0);
  leaf.edx = (leaf.edx & ~kMultiThreading) | (topology.vcpus > 1 ? kMultiThreading : 0);
}

// Cache leaves of both vendors have level and sharing at the same place; leaf 4 counts cores too.
void set_caches(Table& table, const Topology& topology) {
  for (kvm_cpuid_entry2& entry : table.entries()) {
    if (entry.function != 4 && entry.function != 0x8000'001d) continue;
    if ((entry.eax & 0x1f) == 0) continue;
    set_bits(entry.eax, 14, 12, topology.sharing(entry.eax >> 5 & 7) - 1);
    if (entry.function == 4) set_bits(entry.eax, 26, 6, topology.core_ids() - 1);
  }
}

// Leaf 0xb and its successor 0x1f: threads of a core, cores of the package, nothing more.
void set_extended_topology(Table& table, const Topology& topology) {
  constexpr std::uint32_t kThreadLevel = 1 << 8;
  constexpr std::uint32_t kCoreLevel = 2 << 8;
  for (const std::uint32_t leaf : {0xbU, 0x1fU}) {
    table.erase(leaf);
    if (table.highest(0) < leaf) continue;
    kvm_cpuid_entry2 entry = make_entry(leaf, 0, kIndexMatters);
    entry.edx = topology.id;
    entry.eax = log2_of(topology.per_core);
    entry.ebx = topology.per_core;
    entry.ecx = kThreadLevel;
    table.put(entry);
    entry.index = 1;
    entry.eax = log2_of(topology.package_ids);
    entry.ebx = topology.vcpus;
    entry.ecx = kCoreLevel | 1;
    table.put(entry);
    entry.index = 2;
    entry.eax = entry.ebx = 0;
    entry.ecx = 2;
    table.put(entry);
  }
}

// Leaf 0xd without the states of features that are off; the size of the area follows.
void set_xsave(Table& table) {
  kvm_cpuid_entry2* const main = table.find(0xd, 0);
  if (main == nullptr) return;
  const kvm_cpuid_entry2* const extended = table.find(0xd, 1);
  const std::uint64_t user = main->eax | std::uint64_t{main->edx} << 32;
  const std::uint64_t all =
      user | (extended == nullptr ? 0 : extended->ecx | std::uint64_t{extended->edx} << 32);
  std::erase_if(table.entries(), [all](const kvm_cpuid_entry2& entry) {
    return entry.function == 0xd && entry.index >= 2 &&
           (entry.index >= 64 || (all >> entry.index & 1) == 0);
  });
  constexpr std::uint32_t kLegacyArea = 512 + 64;
  std::uint32_t size = kLegacyArea;
  for (const kvm_cpuid_entry2& entry : table.entries())
    if (entry.function == 0xd && entry.index >= 2 && (user >> entry.index & 1) != 0)
      size = std::max(size, entry.ebx + entry.eax);
  table.find(0xd, 0)->ecx = size;
}

void set_amd_topology(Table& table, const CpuidConfig& config, const Topology& topology) {
  constexpr unsigned kCmpLegacyBit = 1;
  constexpr unsigned kTopologyExtensionsBit = 22;
  constexpr std::uint32_t kTopologyLeaf = 0x8000'001e;
  const bool extended = table.highest(0x8000'0000) >= kTopologyLeaf;
  for (const kvm_cpuid_entry2& cache : config.host_caches)
    if (table.highest(0x8000'0000) >= cache.function) table.put(cache);
  if (kvm_cpuid_entry2* const leaf = table.find(0x8000'0001)) {
    set_bits(leaf->ecx, kCmpLegacyBit, 1, topology.vcpus > 1 ? 1 : 0);
    set_bits(leaf->ecx, kTopologyExtensionsBit, 1, extended ? 1 : 0);
  }
  if (kvm_cpuid_entry2* const leaf = table.find(0x8000'0008)) {
    leaf->ecx = topology.vcpus - 1;
    set_bits(leaf->ecx, 12, 4, log2_of(topology.package_ids));
  }
  if (!extended) return;
  kvm_cpuid_entry2 entry = make_entry(kTopologyLeaf, 0, 0);
  entry.eax = topology.id;
  entry.ebx = topology.id / topology.per_core | (topology.per_core - 1) << 8;
  table.put(entry);
}

void set_vendor_leaves(Table& table, const CpuidConfig& config, const Topology& topology) {
  constexpr std::uint32_t kArchCapabilities = 1U << 29;
  if (table.vendor() != Vendor::kAmd) {
    // Reserved on Intel.
    if (kvm_cpuid_entry2* const leaf = table.find(0x8000'0008)) leaf->ecx = 0;
    return;
  }
  // KVM offers Intel's MSR on every host.
  if (kvm_cpuid_entry2* const leaf = table.find(7)) leaf->edx &= ~kArchCapabilities;
  set_amd_topology(table, config, topology);
}

void set_kvm_leaves(Table& table, const CpuidConfig& config) {
  constexpr std::uint32_t kSignature = 0x4000'0000;
  constexpr std::uint32_t kFrequencies = 0x4000'0010;
  constexpr std::uint32_t kApicBusKhz = 1'000'000;
  if (kvm_cpuid_entry2* const leaf = table.find(kSignature + 1)) {
    leaf->eax &= kKvmFeatures & (config.vcpus > 1 ? ~0U : ~kKvmSmpFeatures);
    leaf->edx = 0;  // no promise that vcpus are never preempted
  }
  kvm_cpuid_entry2* const signature = table.find(kSignature);
  if (signature == nullptr || config.tsc_khz == 0) return;
  signature->eax = kFrequencies;
  kvm_cpuid_entry2 entry = make_entry(kFrequencies, 0, 0);
  entry.eax = config.tsc_khz;
  entry.ebx = kApicBusKhz;
  table.put(entry);
}

}  // namespace

std::vector<kvm_cpuid_entry2> host_cache_leaves() {
  std::vector<kvm_cpuid_entry2> out;
  const auto add = [&out](std::uint32_t leaf, std::uint32_t index, std::uint32_t flags) {
    kvm_cpuid_entry2 entry = make_entry(leaf, index, flags);
    __cpuid_count(leaf, index, entry.eax, entry.ebx, entry.ecx, entry.edx);
    out.push_back(entry);
    return (entry.eax & 0x1f) != 0;
  };
  constexpr std::uint32_t kCaches = 0x8000'001d;
  const auto highest = static_cast<std::uint32_t>(__get_cpuid_max(0x8000'0000, nullptr));
  for (const std::uint32_t leaf : {0x8000'0005U, 0x8000'0006U})
    if (highest >= leaf) add(leaf, 0, 0);
  for (unsigned i = 0; highest >= kCaches && i < kMaxCacheLeaves; ++i)
    if (!add(kCaches, i, kIndexMatters)) break;
  return out;
}

Result<std::vector<kvm_cpuid_entry2>> guest_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                                  const CpuidConfig& config) {
  constexpr unsigned kMaxIds = 128;  // what leaf 1 can count in eight bits, as a power of two
  if (config.vcpus == 0 || config.vcpus > kMaxIds || config.vcpu >= config.vcpus)
    return Error(Errc::kInvalidArgument,
                 "vcpu " + std::to_string(config.vcpu) + " of " + std::to_string(config.vcpus));
  Table table(supported);
  if (table.find(0) == nullptr || table.find(1) == nullptr)
    return Error(Errc::kUnsupported, "KVM reports no CPUID leaf 0 or 1");
  const Topology topology(config);
  apply_policy(table);
  set_features(table, config, topology);
  set_xsave(table);
  set_extended_topology(table, topology);
  set_vendor_leaves(table, config, topology);
  set_caches(table, topology);
  set_kvm_leaves(table, config);
  if (table.entries().size() > kMaxEntries)
    return Error(Errc::kLimit, std::to_string(table.entries().size()) +
                                   " CPUID entries, KVM takes " + std::to_string(kMaxEntries));
  return std::move(table.entries());
}

}  // namespace mvm::vmm
