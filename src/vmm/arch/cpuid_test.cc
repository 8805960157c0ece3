// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/cpuid.h"

#include <gtest/gtest.h>

#include "vmm/arch/testing_cpuid.h"

namespace mvm::vmm {
namespace {

using testing_cpuid::kAmd;
using testing_cpuid::kIntel;
using Table = std::vector<kvm_cpuid_entry2>;

Table guest(const Table& supported, const CpuidConfig& config) {
  auto out = guest_cpuid(supported, config);
  EXPECT_TRUE(out.has_value()) << out.error().text();
  return *out;
}

// A leaf that is not there reads as zero, as on the processor.
kvm_cpuid_entry2 leaf(const Table& table, std::uint32_t function, std::uint32_t index = 0) {
  for (const kvm_cpuid_entry2& entry : table)
    if (entry.function == function && entry.index == index) return entry;
  return {};
}

Table with(Table table, std::uint32_t function, std::uint32_t index, std::uint32_t eax,
           std::uint32_t ebx, std::uint32_t ecx, std::uint32_t edx) {
  std::erase_if(table, [&](const auto& e) { return e.function == function && e.index == index; });
  table.push_back({function, index, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, eax, ebx, ecx, edx, {}});
  return table;
}

CpuidConfig vcpu(unsigned index, unsigned count, bool smt = false) {
  CpuidConfig out;
  out.vcpu = index;
  out.vcpus = count;
  out.smt = smt;
  return out;
}

TEST(Cpuid, EveryLeafTellsTheSameApicId) {
  for (const Table& host : {kIntel, kAmd}) {
    const Table table = guest(host, vcpu(5, 8));

    EXPECT_EQ(leaf(table, 1).ebx >> 24, 5U);
    EXPECT_EQ(leaf(table, 0xb, 0).edx, 5U);
    EXPECT_EQ(leaf(table, 0xb, 1).edx, 5U);
  }
  EXPECT_EQ(leaf(guest(kAmd, vcpu(5, 8)), 0x8000'001e).eax, 5U);
}

TEST(Cpuid, ASingleVcpuIsNoMultiprocessor) {
  const Table table = guest(kIntel, vcpu(0, 1));

  EXPECT_EQ(leaf(table, 1).edx >> 28 & 1, 0U);
  EXPECT_EQ(leaf(table, 1).ebx >> 16 & 0xff, 1U);
  EXPECT_EQ(leaf(table, 0xb, 0).ebx, 1U);
  EXPECT_EQ(leaf(table, 0xb, 1).eax, 0U);
  EXPECT_EQ(leaf(table, 4, 3).eax >> 26, 0U);
}

TEST(Cpuid, WithoutSmtEveryVcpuIsACore) {
  const Table table = guest(kIntel, vcpu(2, 4));

  EXPECT_EQ(leaf(table, 1).edx >> 28 & 1, 1U);
  EXPECT_EQ(leaf(table, 0xb, 0).eax, 0U);
  EXPECT_EQ(leaf(table, 0xb, 0).ebx, 1U);
  EXPECT_EQ(leaf(table, 0xb, 1).eax, 2U);
  EXPECT_EQ(leaf(table, 0xb, 1).ebx, 4U);
  EXPECT_EQ(leaf(table, 4, 0).eax >> 14 & 0xfff, 0U);
  EXPECT_EQ(leaf(table, 4, 0).eax >> 26, 3U);
}

TEST(Cpuid, WithSmtTwoVcpusShareACoreAndItsCaches) {
  const Table table = guest(kIntel, vcpu(3, 4, true));

  EXPECT_EQ(leaf(table, 0xb, 0).eax, 1U);
  EXPECT_EQ(leaf(table, 0xb, 0).ebx, 2U);
  EXPECT_EQ(leaf(table, 4, 0).eax >> 14 & 0xfff, 1U);
  EXPECT_EQ(leaf(table, 4, 0).eax >> 26, 1U);
  const Table amd = guest(kAmd, vcpu(3, 4, true));
  EXPECT_EQ(leaf(amd, 0x8000'001e).ebx, 0x101U);
}

TEST(Cpuid, TheLastCacheLevelIsSharedByAll) {
  EXPECT_EQ(leaf(guest(kIntel, vcpu(0, 6)), 4, 3).eax >> 14 & 0xfff, 7U);
}

TEST(Cpuid, AnOddNumberOfVcpusFitsItsIdSpace) {
  const Table table = guest(kIntel, vcpu(4, 5));

  EXPECT_EQ(leaf(table, 0xb, 1).ebx, 5U);
  EXPECT_EQ(leaf(table, 0xb, 1).eax, 3U);
  EXPECT_EQ(leaf(table, 1).ebx >> 16 & 0xff, 8U);
}

TEST(Cpuid, TopologyLeavesEndAfterTheCore) {
  const Table table = guest(kIntel, vcpu(0, 2));

  EXPECT_EQ(leaf(table, 0xb, 2).ebx, 0U);
  EXPECT_EQ(leaf(table, 0x1f, 1).ebx, 2U);
  EXPECT_EQ(leaf(guest(kAmd, vcpu(0, 2)), 0x1f, 1).ebx, 0U);
}

TEST(Cpuid, AmdCountsItsThreadsInTheExtendedLeaf) {
  const Table table = guest(kAmd, vcpu(0, 6));

  EXPECT_EQ(leaf(table, 0x8000'0008).ecx, 5U | 3U << 12);
  EXPECT_EQ(leaf(table, 0x8000'0001).ecx >> 1 & 1, 1U);
  EXPECT_EQ(leaf(guest(kIntel, vcpu(0, 6)), 0x8000'0008).ecx, 0U);
}

TEST(Cpuid, AmdTakesItsCachesFromTheHost) {
  const Table caches = {{0x8000'001d, 0, 1, 0x4121, 0x1c0'003f, 0x3f, 0, {}},
                        {0x8000'001d, 1, 1, 0x3c163, 0x3c0'003f, 0x7fff, 1, {}}};
  CpuidConfig config = vcpu(0, 4);
  config.host_caches = caches;

  const Table table = guest(kAmd, config);

  EXPECT_EQ(leaf(table, 0x8000'001d, 0).eax, 0x121U);
  EXPECT_EQ(leaf(table, 0x8000'001d, 1).eax, 0x163U | 3U << 14);
  EXPECT_EQ(leaf(table, 0x8000'001d, 1).ecx, 0x7fffU);
}

TEST(Cpuid, IntelDoesNotGetAmdsLeaves) {
  CpuidConfig config = vcpu(0, 2);
  const Table caches = host_cache_leaves();
  config.host_caches = caches;

  EXPECT_EQ(leaf(guest(kIntel, config), 0x8000'001d).eax, 0U);
  EXPECT_EQ(leaf(guest(kIntel, config), 0x8000'001e).eax, 0U);
}

TEST(Cpuid, TheGuestSeesAHypervisorAndItsDeadlineTimer) {
  CpuidConfig config = vcpu(0, 1);
  EXPECT_EQ(leaf(guest(kIntel, config), 1).ecx >> 31, 1U);
  EXPECT_EQ(leaf(guest(kIntel, config), 1).ecx >> 24 & 1, 1U);

  config.tsc_deadline = false;
  EXPECT_EQ(leaf(guest(kIntel, config), 1).ecx >> 24 & 1, 0U);
}

TEST(Cpuid, HidesNestedVirtualisationAndMonitor) {
  Table host = with(kIntel, 1, 0, 0xa0671, 0x102'0800, ~0U, ~0U);
  EXPECT_EQ(leaf(guest(host, vcpu(0, 1)), 1).ecx & (1U << 5 | 1U << 3), 0U);

  host = with(kAmd, 0x8000'0001, 0, 0, 0, ~0U, ~0U);
  host = with(host, 0x8000'000a, 0, 1, 0x8000, 0, ~0U);
  EXPECT_EQ(leaf(guest(host, vcpu(0, 1)), 0x8000'0001).ecx & (1U << 2 | 1U << 29), 0U);
  EXPECT_EQ(leaf(guest(host, vcpu(0, 1)), 0x8000'000a).edx, 0U);
}

TEST(Cpuid, HidesWhatASnapshotCouldNotCarry) {
  const Table host = with(kIntel, 7, 0, 1, ~0U, ~0U, ~0U);
  const kvm_cpuid_entry2 features = leaf(guest(host, vcpu(0, 1)), 7);

  EXPECT_EQ(features.ebx & (1U << 2 | 1U << 4 | 1U << 11 | 1U << 25), 0U) << "SGX, TSX, PT";
  EXPECT_EQ(features.ecx & (1U << 5), 0U) << "WAITPKG";
  EXPECT_EQ(features.edx & (1U << 22 | 1U << 24 | 1U << 25), 0U) << "AMX";
  EXPECT_EQ(features.ebx >> 16 & 1, 1U) << "AVX-512 stays";
  EXPECT_EQ(features.edx >> 29 & 1, 1U) << "Intel's ARCH_CAPABILITIES stays";
}

TEST(Cpuid, AmdHasNoArchCapabilities) {
  const Table host = with(kAmd, 7, 0, 0, 0, 0, ~0U);
  EXPECT_EQ(leaf(guest(host, vcpu(0, 1)), 7).edx >> 29 & 1, 0U);
}

TEST(Cpuid, RemovesTheSavedStatesOfAmx) {
  Table host = with(kIntel, 0xd, 0, 0x6'00e7, 0x2b00, 0x2b00, 0);
  host = with(host, 0xd, 1, 0x1f, 0, 0x1800, 0);
  host = with(host, 0xd, 11, 0x10, 0, 1, 0);
  host = with(host, 0xd, 17, 0x40, 0xac0, 2, 0);
  host = with(host, 0xd, 18, 0x2000, 0xb00, 6, 0);

  const Table table = guest(host, vcpu(0, 1));

  EXPECT_EQ(leaf(table, 0xd, 0).eax, 0xe7U);
  EXPECT_EQ(leaf(table, 0xd, 0).ecx, 0xa80U);
  EXPECT_EQ(leaf(table, 0xd, 18).eax, 0U);
  EXPECT_EQ(leaf(table, 0xd, 11).eax, 0x10U) << "shadow stacks stay";
}

TEST(Cpuid, PerformanceCountersAndTheCrystalReadAsZero) {
  Table host = with(kIntel, 0xa, 0, 0x0730'0805, 0, 0, 0x603);
  host = with(host, 0x15, 0, 2, 0xd8, 25'000'000, 0);
  const Table table = guest(host, vcpu(0, 1));

  EXPECT_EQ(leaf(table, 0xa).eax, 0U);
  EXPECT_EQ(leaf(table, 0x15).ebx, 0U);
}

TEST(Cpuid, TellsTheFrequencyBehindKvmsSignature) {
  CpuidConfig config = vcpu(0, 1);
  config.tsc_khz = 2'600'000;
  const Table table = guest(kIntel, config);

  EXPECT_EQ(leaf(table, 0x4000'0000).eax, 0x4000'0010U);
  EXPECT_EQ(leaf(table, 0x4000'0000).ebx, 0x4b4d'564bU);
  EXPECT_EQ(leaf(table, 0x4000'0010).eax, 2'600'000U);
  EXPECT_EQ(leaf(table, 0x4000'0010).ebx, 1'000'000U);
}

TEST(Cpuid, KeepsKvmclockAndDropsWhatOneVcpuCannotUse) {
  EXPECT_EQ(leaf(guest(kIntel, vcpu(0, 1)), 0x4000'0001).eax, 0x100'547bU);
  EXPECT_EQ(leaf(guest(kIntel, vcpu(0, 2)), 0x4000'0001).eax, 0x100'7efbU);
}

TEST(Cpuid, RefusesAVcpuThatIsNotThere) {
  const auto table = guest_cpuid(kIntel, vcpu(2, 2));
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().code(), Errc::kInvalidArgument);
}

TEST(Cpuid, RefusesATableWithoutItsFirstLeaves) {
  const auto table = guest_cpuid({}, vcpu(0, 1));
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().code(), Errc::kUnsupported);
}

TEST(Cpuid, RefusesMoreEntriesThanKvmTakes) {
  Table host = kIntel;
  for (std::uint32_t i = 0; i < 300; ++i) host.push_back({0x2000'0000 + i, 0, 0, 0, 0, 0, 0, {}});
  const auto table = guest_cpuid(host, vcpu(0, 1));
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().code(), Errc::kLimit);
}

}  // namespace
}  // namespace mvm::vmm
