// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/machine.h"

#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>

#include "core/log.h"
#include "sys/io.h"
#include "vmm/arch/arch.h"
#include "vmm/arch/cpuid.h"
#include "vmm/arch/layout.h"
#include "vmm/arch/registers.h"
#include "vmm/loader/loader.h"

namespace mvm::vmm {
namespace {

// What is booted without arguments of its own: a console, no reboot loop, no hardware to look for.
constexpr const char* kDefaultBootArgs =
    "reboot=k panic=1 pci=off nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd";

std::string command_line(const VmConfig& config, std::span<const MmioSlot> slots) {
  const BootSourceConfig& source = *config.boot_source;
  std::string line = source.boot_args.value_or(kDefaultBootArgs);
  if (!config.drives.empty() && config.drives.front().is_root_device) {
    const DriveConfig& root = config.drives.front();
    line += root.partuuid ? " root=PARTUUID=" + *root.partuuid : " root=/dev/vda";
    line += root.is_read_only ? " ro" : " rw";
  }
  // Without ACPI the command line is the only way to tell; with it, devices would be found twice.
  if (line.find("acpi=off") != std::string::npos) {
    for (const MmioSlot& slot : slots) line += " " + mmio_parameter(slot);
  }
  return line;
}

}  // namespace

Machine::Machine(const MachineContext& context, const VmConfig& config)
    : context_(context), config_(config) {}

Machine::~Machine() {
  ended_ = true;  // a guest that ends now tells nobody
  // The vcpus use everything else.
  for (auto& vcpu : vcpus_) vcpu->pause();
  vcpus_.clear();
}

Result<std::unique_ptr<Machine>> Machine::boot(const MachineContext& context,
                                               const VmConfig& config) {
  if (!config.boot_source)
    return Error(Errc::kInvalidArgument, "the machine has no kernel to boot")
        .with_hint("PUT /boot-source first");
  std::unique_ptr<Machine> out(new Machine(context, config));
  MVM_TRY(out->create_vm(MVM_TRY(GuestMemory::create(config.machine.memory()))));
  MVM_TRY(out->create_devices());
  MVM_TRY(out->create_vcpus());
  MVM_TRY(out->load_guest());
  out->start_vcpus();
  return out;
}

Result<std::unique_ptr<Machine>> Machine::restore(const MachineContext& context,
                                                  const VmConfig& config, GuestMemory memory,
                                                  const std::vector<SavedPart>& parts) {
  std::unique_ptr<Machine> out(new Machine(context, config));
  MVM_TRY(out->create_vm(std::move(memory)));
  MVM_TRY(out->create_devices());
  MVM_TRY(out->create_vcpus());
  MVM_TRY(out->restore_parts(parts));
  MVM_TRY(out->renew_generation());
  out->start_vcpus();
  return out;
}

Result<> Machine::create_vm(GuestMemory memory) {
  memory_ = std::make_unique<GuestMemory>(std::move(memory));
  kvm_ = MVM_TRY(Kvm::open());
  vm_.emplace(MVM_TRY(kvm_->create_vm()));
  MVM_TRY(vm_->create_interrupt_controllers());
  const bool track = config_.machine.track_dirty_pages;
  for (const MemoryRegion& region : memory_->regions()) {
    const MemorySlot slot{static_cast<std::uint32_t>(slots_.size()), region.start, region.size,
                          region.host, track};
    MVM_TRY(vm_->set_memory(slot));
    slots_.push_back(slot);
  }
  if (track) memory_->track_dirty(true);
  return VcpuThread::prepare_signal();
}

Result<> Machine::create_devices() {
  bus_.set_boot_timer(context_.on_boot_done);
  LegacyDevices::Wires wires;
  wires.power_off = [this] {
    context_.io.post([this] { end(MachineEnd::kPoweredOff, std::nullopt); });
  };
  wires.reset = [this] { context_.io.post([this] { end(MachineEnd::kReset, std::nullopt); }); };
  legacy_ = MVM_TRY(LegacyDevices::create(*vm_, bus_, context_.io.loop(), config_.serial, wires));
  return devices_.create(config_, *vm_, *memory_, context_.io, bus_, context_.metadata);
}

Result<> Machine::create_vcpus() {
  for (std::uint32_t i = 0; i < config_.machine.vcpu_count; ++i) {
    KvmVcpu vcpu = MVM_TRY(vm_->create_vcpu(i));
    if (i == 0) bus_.set_noted(MVM_TRY(vcpu.noted_writes()));
    VcpuThread::Handlers handlers;
    handlers.confine = context_.confine_vcpu;
    handlers.on_end = [this](std::optional<Error> why) {
      context_.io.post([this, why = std::move(why)] {
        end(why ? MachineEnd::kFailed : MachineEnd::kReset, why);
      });
    };
    vcpus_.push_back(
        std::make_unique<VcpuThread>(i, std::move(vcpu), bus_, context_.io, std::move(handlers)));
  }
  return {};
}

Result<> Machine::load_guest() {
  const BootSourceConfig& source = *config_.boot_source;
  const sys::UniqueFd kernel_file =
      MVM_TRY_CTX(sys::open_file(source.kernel_image_path, O_RDONLY), "kernel");
  LoadedKernel kernel = MVM_TRY(load_kernel(*memory_, kernel_file.get(), source.kernel_image_path));
  if (source.initrd_path) {
    const sys::UniqueFd initrd =
        MVM_TRY_CTX(sys::open_file(*source.initrd_path, O_RDONLY), "initrd");
    MVM_TRY(load_initrd(*memory_, initrd.get(), *source.initrd_path, kernel));
  }
  const std::string line = command_line(config_, devices_.slots());
  BootPlan plan;
  plan.command_line = line;
  plan.vcpus = config_.machine.vcpu_count;
  plan.devices = devices_.slots();
  MVM_TRY(write_boot_data(*memory_, kernel, plan));
  MVM_TRY(write_boot_structures(*memory_, kernel.protocol));
  MVM_TRY(renew_generation());
  return set_boot_state(kernel);
}

Result<> Machine::set_boot_state(const LoadedKernel& kernel) {
  const std::vector<kvm_cpuid_entry2> supported = MVM_TRY(kvm_->supported_cpuid());
  CpuidConfig cpuid;
  cpuid.vcpus = config_.machine.vcpu_count;
  cpuid.smt = config_.machine.smt;
  const std::vector<kvm_cpuid_entry2> caches = host_cache_leaves();
  cpuid.host_caches = caches;
  cpuid.tsc_deadline = kvm_->extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
  for (std::uint32_t i = 0; i < vcpus_.size(); ++i) {
    const KvmVcpu& vcpu = vcpus_[i]->vcpu();
    cpuid.vcpu = i;
    cpuid.tsc_khz = vcpu.tsc_khz();
    MVM_TRY(vcpu.set_cpuid(MVM_TRY(guest_cpuid(supported, cpuid))));
    MVM_TRY(vcpu.set_msrs(boot_msrs()));
    MVM_TRY(vcpu.set_fpu(boot_fpu()));
    kvm_lapic_state lapic = MVM_TRY(vcpu.lapic());
    set_boot_lapic(lapic);
    MVM_TRY(vcpu.set_lapic(lapic));
    if (i != 0) continue;  // the others wait for the first one to start them
    kvm_sregs sregs = MVM_TRY(vcpu.sregs());
    set_boot_sregs(sregs, kernel.protocol);
    MVM_TRY(vcpu.set_sregs(sregs));
    MVM_TRY(vcpu.set_regs(boot_regs(kernel)));
  }
  return {};
}

// Another identifier tells a restored guest that its random numbers are not its own any more.
Result<> Machine::renew_generation() {
  std::array<std::byte, kVmGenIdSize> id;
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size()))
    return Error::from_errno("random bytes of the VM generation");
  if (!memory_->write(kVmGenIdGpa, id))
    return Error(Errc::kInvalidArgument, "the machine has less than 1 MiB of memory");
  return {};
}

void Machine::start_vcpus() {
  for (auto& vcpu : vcpus_) vcpu->start();
}

void Machine::resume() {
  if (running_ || ended_) return;
  running_ = true;
  devices_.resume();
  for (auto& vcpu : vcpus_) vcpu->resume();
}

void Machine::pause() {
  if (!running_) return;
  running_ = false;
  for (auto& vcpu : vcpus_) vcpu->pause();
  context_.io.wait_until([this] {
    return std::ranges::all_of(vcpus_, [](const auto& vcpu) { return vcpu->stopped(); });
  });
  for (auto& vcpu : vcpus_) vcpu->vcpu().note_pause();
  bus_.catch_up();
  devices_.pause();
}

void Machine::end(MachineEnd how, std::optional<Error> why) {
  if (ended_) return;
  ended_ = true;
  context_.on_end(how, std::move(why));
}

Result<std::vector<std::uint64_t>> Machine::take_dirty() {
  std::vector<std::uint64_t> out = memory_->take_dirty();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const std::vector<std::uint64_t> pages = MVM_TRY(vm_->dirty_log(slots_[i]));
    // Regions begin at multiples of 64 pages of the file.
    const std::size_t first = memory_->regions()[i].file_offset / GuestMemory::kPageSize / 64;
    for (std::size_t word = 0; word < pages.size(); ++word) out[first + word] |= pages[word];
  }
  return out;
}

}  // namespace mvm::vmm
