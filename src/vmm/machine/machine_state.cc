// SPDX-License-Identifier: Apache-2.0
// Saving a machine into parts, and restoring one from them.
#include <algorithm>

#include "vmm/machine/machine.h"

namespace mvm::vmm {
namespace {

SavedPart part(std::string name, ByteWriter& writer) { return {std::move(name), writer.take()}; }

Result<ByteReader> find_part(const std::vector<SavedPart>& parts, const std::string& name) {
  const auto it = std::ranges::find(parts, name, &SavedPart::name);
  if (it == parts.end()) return Error(Errc::kCorrupt, "the snapshot has no part '" + name + "'");
  return ByteReader(it->bytes);
}

// What a part holds beyond what was read is of another version.
Result<> finish(const ByteReader& in, const std::string& name) {
  if (in.done()) return {};
  return Error(Errc::kCorrupt, "part '" + name + "' of the snapshot is not of this version");
}

std::string vcpu_name(std::size_t index) { return "vcpu" + std::to_string(index); }
std::string device_name(const MmioTransport& transport) { return "device/" + transport.name(); }

}  // namespace

Result<std::vector<SavedPart>> Machine::save() {
  std::vector<SavedPart> out;
  const std::vector<std::uint32_t> msrs = MVM_TRY(kvm_->saved_msrs());
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    ByteWriter writer;
    MVM_TRY_CTX(vcpus_[i]->vcpu().save(msrs), vcpu_name(i)).save(writer);
    out.push_back(part(vcpu_name(i), writer));
  }
  ByteWriter vm;
  MVM_TRY(vm_->save()).save(vm);
  out.push_back(part("vm", vm));
  ByteWriter legacy;
  legacy_->save(legacy);
  out.push_back(part("legacy", legacy));
  for (const auto& transport : devices_.transports()) {
    ByteWriter writer;
    transport->save(writer);
    out.push_back(part(device_name(*transport), writer));
  }
  return out;
}

Result<> Machine::restore_parts(const std::vector<SavedPart>& parts) {
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    ByteReader in = MVM_TRY(find_part(parts, vcpu_name(i)));
    const KvmVcpuState state = MVM_TRY_CTX(KvmVcpuState::load(in), vcpu_name(i));
    MVM_TRY(finish(in, vcpu_name(i)));
    MVM_TRY_CTX(vcpus_[i]->vcpu().restore(state), vcpu_name(i));
  }
  ByteReader vm = MVM_TRY(find_part(parts, "vm"));
  MVM_TRY(vm_->restore(MVM_TRY(KvmVmState::load(vm))));
  MVM_TRY(finish(vm, "vm"));
  ByteReader legacy = MVM_TRY(find_part(parts, "legacy"));
  MVM_TRY(legacy_->restore(legacy));
  MVM_TRY(finish(legacy, "legacy"));
  for (const auto& transport : devices_.transports()) {
    const std::string name = device_name(*transport);
    ByteReader in = MVM_TRY(find_part(parts, name));
    MVM_TRY(transport->restore(in));
    MVM_TRY(finish(in, name));
  }
  legacy_->announce_generation();
  return {};
}

}  // namespace mvm::vmm
