// SPDX-License-Identifier: Apache-2.0
#include "platform/kvm_guest.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>

#include "core/units.h"
#include "sys/unique_fd.h"

namespace mvm::platform {
namespace {

ProbeReport& set_text(ProbeReport& report, std::string_view text) {
  const std::size_t n = std::min(text.size(), report.text.size() - 1);
  std::copy_n(text.begin(), n, report.text.begin());
  report.text[n] = '\0';
  return report;
}

ProbeReport setup_failed(ProbeReport report, std::string_view what) {
  report.errnum = errno;
  report.outcome = ProbeOutcome::kSetupFailed;
  return set_text(report, what);
}

#if defined(__x86_64__)

constexpr std::size_t kMemory = std::size_t{2} << 20;
constexpr std::uint64_t kCodeAt = 0x10000;
constexpr suseconds_t kGuestLimitUs = 250'000;  // a KVM nested in an emulator needs up to 80 ms
constexpr long kLoopCount = 5000;               // 10,000 instructions
constexpr long kSlowNanoseconds =
    250;  // an instruction on hardware takes about 1; interpreted 600 to 1,200

// One step of the guest: machine code, then an exit to us that tells it passed.
struct Stage {
  std::string_view name;
  std::span<const std::uint8_t> code;
  bool needs_xsave = false;
  bool timed = false;
};

constexpr std::uint8_t kEnter[] = {0x31, 0xc0, 0x0f, 0xa2};            // xor eax,eax; cpuid
constexpr std::uint8_t kCmpxchg16b[] = {0xbf, 0x00, 0x80, 0x00, 0x00,  // mov edi,0x8000
                                        0x31, 0xc0, 0x31, 0xd2, 0x31,
                                        0xc9,  // xor eax,eax; xor edx,edx; xor ecx,ecx
                                        0xbb, 0x07, 0x00, 0x00, 0x00,   // mov ebx,7
                                        0xf0, 0x48, 0x0f, 0xc7, 0x0f};  // lock cmpxchg16b [rdi]
constexpr std::uint8_t kXsave[] = {
    0x31, 0xc9, 0x0f, 0x01, 0xd0,                     // xor ecx,ecx; xgetbv
    0xb8, 0x03, 0x00, 0x00, 0x00, 0x31, 0xd2,         // mov eax,3; xor edx,edx
    0x0f, 0x01, 0xd1,                                 // xsetbv
    0x0f, 0xae, 0x24, 0x25, 0x00, 0xa0, 0x00, 0x00,   // xsave [0xa000]
    0x0f, 0xae, 0x2c, 0x25, 0x00, 0xa0, 0x00, 0x00};  // xrstor [0xa000]
constexpr std::uint8_t kLoop[] = {0xb9, 0x88, 0x13, 0x00, 0x00,
                                  0xff, 0xc9, 0x75, 0xfc};  // mov ecx,5000; dec; jnz
constexpr std::uint8_t kReport[] = {0xe6, 0x10};            // out 0x10,al

constexpr Stage kStages[] = {{"entering 64-bit code", kEnter},
                             {"cmpxchg16b", kCmpxchg16b},
                             {"xsave and xrstor", kXsave, true},
                             {"loop", kLoop, false, true},
                             {"loop", kLoop, false, true}};

struct Vm {
  sys::UniqueFd vm, vcpu;
  char* memory = nullptr;
  kvm_run* run = nullptr;
  bool xsave = false;
};

void put(char* memory, std::uint64_t at, std::uint64_t value) {
  std::memcpy(memory + at, &value, sizeof value);
}

const char* make_vm(int device, Vm& vm) {
  vm.vm.reset(::ioctl(device, KVM_CREATE_VM, 0));
  if (!vm.vm) return "KVM_CREATE_VM";
  void* memory =
      ::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return "mmap";
  vm.memory = static_cast<char*>(memory);
  kvm_userspace_memory_region region{0, 0, 0, kMemory, reinterpret_cast<std::uintptr_t>(memory)};
  if (::ioctl(vm.vm.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0)
    return "KVM_SET_USER_MEMORY_REGION";
  vm.vcpu.reset(::ioctl(vm.vm.get(), KVM_CREATE_VCPU, 0));
  if (!vm.vcpu) return "KVM_CREATE_VCPU";
  const int size = ::ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (size < static_cast<int>(sizeof(kvm_run))) return "KVM_GET_VCPU_MMAP_SIZE";
  void* run = ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED,
                     vm.vcpu.get(), 0);
  if (run == MAP_FAILED) return "mmap vcpu";
  vm.run = static_cast<kvm_run*>(run);
  return nullptr;
}

// struct kvm_cpuid2 with room for its entries. The header's own type is wrong in C++: the empty
// structure inside its flexible array takes room there, which shifts the entries and changes the
// ioctl numbers made from its size.
struct CpuidTable {
  std::uint32_t count;
  std::uint32_t padding;
  kvm_cpuid_entry2 entries[256];
};
constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, 8);
constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, 8);

// Gives the guest what the host's KVM offers, and learns whether xsave is part of it.
const char* set_cpuid(int device, Vm& vm) {
  CpuidTable cpuid{};
  cpuid.count = std::size(cpuid.entries);
  if (::ioctl(device, kGetSupportedCpuid, &cpuid) != 0) return "KVM_GET_SUPPORTED_CPUID";
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(cpuid.count, std::size(cpuid.entries));
       ++i) {
    if (cpuid.entries[i].function == 1) vm.xsave = (cpuid.entries[i].ecx & (1u << 26)) != 0;
  }
  if (::ioctl(vm.vcpu.get(), kSetCpuid2, &cpuid) != 0) return "KVM_SET_CPUID2";
  return nullptr;
}

// 64-bit mode from the first instruction on; 2 MiB mapped one to one.
const char* set_registers(const Vm& vm) {
  put(vm.memory, 0x1000, 0x2003);
  put(vm.memory, 0x2000, 0x3003);
  put(vm.memory, 0x3000, 0x83);
  kvm_sregs sregs;
  if (::ioctl(vm.vcpu.get(), KVM_GET_SREGS, &sregs) != 0) return "KVM_GET_SREGS";
  constexpr std::uint64_t kPae = 1 << 5, kOsfxsr = 1 << 9, kOsxmmexcpt = 1 << 10,
                          kOsxsave = 1 << 18;
  sregs.cr3 = 0x1000;
  sregs.cr4 = kPae | kOsfxsr | kOsxmmexcpt | (vm.xsave ? kOsxsave : 0);
  sregs.cr0 = 0x80050033;  // PG AM WP NE ET MP PE
  sregs.efer = 0x500;      // LME LMA
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = 8;
  segment.type = 11;
  segment.present = segment.s = segment.l = segment.g = 1;
  sregs.cs = segment;
  segment.selector = 16;
  segment.type = 3;
  segment.l = 0;
  segment.db = 1;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment;
  if (::ioctl(vm.vcpu.get(), KVM_SET_SREGS, &sregs) != 0) return "KVM_SET_SREGS";
  kvm_regs regs{};
  regs.rip = kCodeAt;
  regs.rflags = 2;
  if (::ioctl(vm.vcpu.get(), KVM_SET_REGS, &regs) != 0) return "KVM_SET_REGS";
  return nullptr;
}

bool wanted(const Stage& stage, const Vm& vm) { return vm.xsave || !stage.needs_xsave; }

void write_code(const Vm& vm) {
  char* at = vm.memory + kCodeAt;
  for (const Stage& stage : kStages) {
    if (!wanted(stage, vm)) continue;
    at = std::copy(stage.code.begin(), stage.code.end(), at);
    at = std::copy(std::begin(kReport), std::end(kReport), at);
  }
}

void ignore_signal(int) {}

// SIGALRM makes KVM_RUN return; the timer repeats in case it fires just before the call.
void start_timer() {
  struct sigaction action{};
  action.sa_handler = ignore_signal;
  ::sigaction(SIGALRM, &action, nullptr);
  sigset_t unblock;
  sigemptyset(&unblock);
  sigaddset(&unblock, SIGALRM);
  ::sigprocmask(SIG_UNBLOCK, &unblock, nullptr);
  const itimerval timer{{0, 10'000}, {0, kGuestLimitUs}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

ProbeReport run_stages(const Vm& vm, ProbeReport report) {
  start_timer();
  long best = -1;
  for (const Stage& stage : kStages) {
    if (!wanted(stage, vm)) continue;
    set_text(report, stage.name);
    const auto begin = Clock::now();
    if (::ioctl(vm.vcpu.get(), KVM_RUN, 0) != 0) {
      report.outcome = errno == EINTR ? ProbeOutcome::kHung : ProbeOutcome::kInstructionFailed;
      report.errnum = errno;
      return report;
    }
    const auto took =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
    report.exit_reason = static_cast<int>(vm.run->exit_reason);
    report.outcome = ProbeOutcome::kInstructionFailed;
    if (vm.run->exit_reason != KVM_EXIT_IO) return report;
    if (stage.timed) best = best < 0 ? took : std::min<long>(best, took);
  }
  // The better of two runs, so that a busy host is not taken for a slow KVM.
  report.nanoseconds = best / (2 * kLoopCount);
  report.outcome =
      report.nanoseconds > kSlowNanoseconds ? ProbeOutcome::kSlow : ProbeOutcome::kPassed;
  return report;
}

const char* prepare(int device, Vm& vm) {
  if (const char* failed = make_vm(device, vm)) return failed;
  if (const char* failed = set_cpuid(device, vm)) return failed;
  if (const char* failed = set_registers(vm)) return failed;
  write_code(vm);
  return nullptr;
}

#endif  // __x86_64__

}  // namespace

ProbeReport run_probe_guest(int device) {
  ProbeReport report;
  report.api_version = ::ioctl(device, KVM_GET_API_VERSION, 0);
  if (report.api_version != KVM_API_VERSION) return setup_failed(report, "KVM_GET_API_VERSION");
#if defined(__x86_64__)
  Vm vm;
  if (const char* failed = prepare(device, vm)) return setup_failed(report, failed);
  return run_stages(vm, report);
#else
  // No software KVM is known on other processors: a virtual machine that can be made is taken to
  // run.
  const sys::UniqueFd vm(::ioctl(device, KVM_CREATE_VM, 0));
  if (!vm) return setup_failed(report, "KVM_CREATE_VM");
  report.outcome = ProbeOutcome::kPassed;
  return report;
#endif
}

}  // namespace mvm::platform
