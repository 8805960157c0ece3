// SPDX-License-Identifier: Apache-2.0
#include "spec/vm_spec_json.h"

#include <nlohmann/json.hpp>

#include "spec/manifest.h"

namespace mvm::spec {
namespace {

using nlohmann::json;

// Reads fields of one object; the first that is missing or of another type is remembered.
class Fields {
 public:
  Fields(const json& object, std::string* bad) : object_(object), bad_(bad) {}

  template <class T>
  void read(const char* key, T& into) {
    const auto it = object_.find(key);
    if (it == object_.end()) return fail(key);
    if constexpr (std::is_same_v<T, std::string>) {
      if (!it->is_string()) return fail(key);
      into = it->template get<std::string>();
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!it->is_boolean()) return fail(key);
      into = it->template get<bool>();
    } else if constexpr (std::is_integral_v<T>) {
      if (!it->is_number_unsigned() ||
          it->template get<std::uint64_t>() > std::numeric_limits<T>::max())
        return fail(key);
      into = it->template get<T>();
    } else {
      if (!it->is_array()) return fail(key);
      for (const json& item : *it) {
        if (!item.is_string()) return fail(key);
        into.push_back(item.get<std::string>());
      }
    }
  }
  const json* object(const char* key) {
    const auto it = object_.find(key);
    if (it == object_.end() || !it->is_object()) return fail(key), nullptr;
    return &*it;
  }
  bool has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }
  void fail(const char* key) {
    if (bad_->empty()) *bad_ = key;
  }

 private:
  const json& object_;
  std::string* bad_;
};

json process_json(const ProcessSpec& p) {
  return {{"argv", p.argv},
          {"env", p.env},
          {"working_dir", p.working_dir},
          {"user", p.user},
          {"stop_signal", p.stop_signal}};
}

json network_json(const NetworkSpec& network) {
  json forwards = json::array();
  for (const PortForward& f : network.forwards) {
    forwards.push_back({{"host_ip", f.host_ip},
                        {"host_port", f.host_port},
                        {"guest_port", f.guest_port},
                        {"protocol", to_string(f.protocol)}});
  }
  return {{"mode", network.mode == NetworkMode::kNone ? "none" : "user"}, {"forwards", forwards}};
}

json limits_json(const LimitSpec& l) {
  json out = {{"vcpus", l.vcpus},
              {"memory_bytes", l.memory.count},
              {"pids", l.pids},
              {"log_size_bytes", l.log_size.count},
              {"boot_deadline_ms", l.boot_deadline.count()}};
  if (l.ttl) out["ttl_ms"] = l.ttl->count();
  if (l.idle) out["idle_ms"] = l.idle->count();
  return out;
}

void read_network(const json* object, std::string* bad, NetworkSpec& network) {
  if (object == nullptr) return;
  Fields in(*object, bad);
  std::string mode;
  in.read("mode", mode);
  if (mode != "none" && mode != "user") in.fail("mode");
  network.mode = mode == "none" ? NetworkMode::kNone : NetworkMode::kUser;
  const auto forwards = object->find("forwards");
  if (forwards == object->end() || !forwards->is_array()) return in.fail("forwards");
  for (const json& item : *forwards) {
    if (!item.is_object()) return in.fail("forwards");
    Fields f(item, bad);
    PortForward forward;
    std::string protocol;
    f.read("host_ip", forward.host_ip);
    f.read("host_port", forward.host_port);
    f.read("guest_port", forward.guest_port);
    f.read("protocol", protocol);
    if (protocol != "udp" && protocol != "tcp") f.fail("protocol");
    forward.protocol = protocol == "udp" ? Protocol::kUdp : Protocol::kTcp;
    network.forwards.push_back(forward);
  }
}

void read_limits(const json* object, std::string* bad, LimitSpec& limits) {
  if (object == nullptr) return;
  Fields in(*object, bad);
  in.read("vcpus", limits.vcpus);
  in.read("memory_bytes", limits.memory.count);
  in.read("pids", limits.pids);
  in.read("log_size_bytes", limits.log_size.count);
  std::uint64_t ms = 0;
  in.read("boot_deadline_ms", ms);
  limits.boot_deadline = Millis(static_cast<std::int64_t>(ms));
  const auto read_optional = [&](const char* key, std::optional<Millis>& into) {
    if (!in.has(key)) return;
    in.read(key, ms);
    into = Millis(static_cast<std::int64_t>(ms));
  };
  read_optional("ttl_ms", limits.ttl);
  read_optional("idle_ms", limits.idle);
}

json volumes_json(const std::vector<VolumeDisk>& volumes) {
  json out = json::array();
  for (const VolumeDisk& v : volumes)
    out.push_back({{"name", v.name}, {"guest_path", v.guest_path}, {"disk_path", v.disk_path}});
  return out;
}

void read_volumes(const json& list, std::string* bad, std::vector<VolumeDisk>& volumes) {
  for (const json& item : list) {
    if (!item.is_object()) {
      *bad = "volumes";
      return;
    }
    Fields in(item, bad);
    VolumeDisk& volume = volumes.emplace_back();
    in.read("name", volume.name);
    in.read("guest_path", volume.guest_path);
    in.read("disk_path", volume.disk_path);
  }
}

void read_process(const json* object, std::string* bad, ProcessSpec& process) {
  if (object == nullptr) return;
  Fields in(*object, bad);
  in.read("argv", process.argv);
  in.read("env", process.env);
  in.read("working_dir", process.working_dir);
  in.read("user", process.user);
  in.read("stop_signal", process.stop_signal);
}

// Services and health in the manifest's own words.
json guest_json(const VmSpec& vm) {
  Manifest guest;
  guest.services = vm.services;
  guest.health = vm.health;
  if (vm.health) guest.entrypoint = {"main"};  // whose health it is
  return json::parse(guest_to_json(guest));
}

Result<> read_guest(const json& object, VmSpec& vm) {
  auto guest = guest_from_json(object.dump(), "machine specification");
  if (!guest) return std::move(guest).error().with_code(Errc::kCorrupt);
  vm.services = std::move(guest->services);
  vm.health = std::move(guest->health);
  return {};
}

template <class Field>
void visit_strings(VmSpec& vm, Field&& field) {
  field("id", vm.id);
  field("name", vm.name);
  field("backend", vm.backend);
  field("accelerator", vm.accelerator);
  field("engine_program", vm.engine_program);
  field("network_program", vm.network_program);
  field("kernel_path", vm.kernel_path);
  field("initramfs_path", vm.initramfs_path);
  field("cmdline_extra", vm.cmdline_extra);
  field("image_path", vm.image_path);
  field("image_ref", vm.image_ref);
  field("image_digest", vm.image_digest);
  field("scratch_path", vm.scratch_path);
  field("hostname", vm.hostname);
  field("run_dir", vm.run_dir);
  field("data_dir", vm.data_dir);
}

}  // namespace

std::string_view to_string(Isolation isolation) {
  switch (isolation) {
    case Isolation::kContainer:
      return "container";
    case Isolation::kEmulated:
      return "emulated";
    case Isolation::kMicrovm:
      return "microvm";
  }
  return "container";
}

std::string_view to_string(Arch arch) { return arch == Arch::kX86_64 ? "x86_64" : "aarch64"; }
std::string_view to_string(Protocol protocol) { return protocol == Protocol::kUdp ? "udp" : "tcp"; }

Result<Isolation> parse_isolation(std::string_view text) {
  for (const Isolation tier : {Isolation::kContainer, Isolation::kEmulated, Isolation::kMicrovm}) {
    if (text == to_string(tier)) return tier;
  }
  return Error(Errc::kInvalidArgument, "there is no isolation tier '" + std::string(text) + "'")
      .with_hint("choose one of microvm, emulated, container");
}

Result<Arch> parse_arch(std::string_view text) {
  if (text == "x86_64" || text == "amd64") return Arch::kX86_64;
  if (text == "aarch64" || text == "arm64") return Arch::kAarch64;
  return Error(Errc::kInvalidArgument, "there is no architecture '" + std::string(text) + "'")
      .with_hint("choose x86_64 or aarch64");
}

std::string to_json(const VmSpec& vm) {
  json out = {{"schema", kVmSpecSchema},
              {"arch", to_string(vm.arch)},
              {"isolation", to_string(vm.isolation)},
              {"network", network_json(vm.network)},
              {"limits", limits_json(vm.limits)},
              {"restart",
               {{"on_failure", vm.restart.on_failure}, {"max_restarts", vm.restart.max_restarts}}},
              {"remove_when_done", vm.remove_when_done},
              {"tsc_khz", vm.tsc_khz},
              {"jail", vm.jail},
              {"jail_user", vm.jail_user}};
  VmSpec copy = vm;
  visit_strings(copy, [&](const char* key, std::string& value) { out[key] = value; });
  out["exec_defaults"] = process_json(vm.exec_defaults);
  if (!vm.restore_dir.empty()) out["restore_dir"] = vm.restore_dir;
  if (!vm.sealed_by.empty()) out["sealed_by"] = vm.sealed_by;
  if (!vm.jailer_program.empty()) out["jailer_program"] = vm.jailer_program;
  if (!vm.volumes.empty()) out["volumes"] = volumes_json(vm.volumes);
  if (vm.process) out["process"] = process_json(*vm.process);
  if (!vm.services.empty() || vm.health) out["guest"] = guest_json(vm);
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<VmSpec> vm_spec_from_json(std::string_view text) {
  const json root = json::parse(text, nullptr, false);
  if (!root.is_object()) return Error(Errc::kCorrupt, "machine specification is not a JSON object");
  std::string bad;
  Fields in(root, &bad);
  std::int64_t schema = 0;
  if (root.contains("schema") && root["schema"].is_number_integer())
    schema = root["schema"].get<std::int64_t>();
  if (schema != kVmSpecSchema)
    return Error(Errc::kUnsupported, "machine specification has schema " + std::to_string(schema) +
                                         ", this mvm reads " + std::to_string(kVmSpecSchema));
  VmSpec vm;
  visit_strings(vm, [&](const char* key, std::string& value) { in.read(key, value); });
  std::string arch;
  std::string isolation;
  in.read("arch", arch);
  in.read("isolation", isolation);
  in.read("remove_when_done", vm.remove_when_done);
  in.read("tsc_khz", vm.tsc_khz);
  // A machine that was made by an earlier build may still run; its record says nothing of a jail.
  if (in.has("jail")) in.read("jail", vm.jail);
  if (in.has("jail_user")) in.read("jail_user", vm.jail_user);
  if (in.has("restore_dir")) in.read("restore_dir", vm.restore_dir);
  if (in.has("sealed_by")) in.read("sealed_by", vm.sealed_by);
  if (in.has("jailer_program")) in.read("jailer_program", vm.jailer_program);
  if (in.has("volumes")) read_volumes(root["volumes"], &bad, vm.volumes);
  read_network(in.object("network"), &bad, vm.network);
  read_limits(in.object("limits"), &bad, vm.limits);
  if (const json* restart = in.object("restart")) {
    Fields r(*restart, &bad);
    r.read("on_failure", vm.restart.on_failure);
    r.read("max_restarts", vm.restart.max_restarts);
  }
  read_process(in.object("exec_defaults"), &bad, vm.exec_defaults);
  if (in.has("process")) read_process(in.object("process"), &bad, vm.process.emplace());
  if (!bad.empty())
    return Error(Errc::kCorrupt, "machine specification: field '" + bad + "' is missing or wrong");
  if (in.has("guest")) MVM_TRY(read_guest(root["guest"], vm));
  vm.arch = MVM_TRY(parse_arch(arch));
  vm.isolation = MVM_TRY(parse_isolation(isolation));
  return vm;
}

}  // namespace mvm::spec
