// SPDX-License-Identifier: Apache-2.0
#include "workflow/start.h"

#include <linux/capability.h>

#include <charconv>
#include <set>

#include "backend/registry/registry.h"
#include "platform/collect.h"
#include "spec/vm_spec_json.h"
#include "supervisor/launch.h"
#include "sys/capabilities.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/random.h"
#include "sys/socket.h"
#include "workflow/config.h"
#include "workflow/machines.h"

namespace mvm::workflow {
namespace {

store::VmRecord record_of(const spec::VmSpec& vm) {
  store::VmRecord record;
  record.id = vm.id;
  record.name = vm.name;
  record.image_ref = vm.image_ref;
  record.image_digest = vm.image_digest;
  record.backend = vm.backend;
  record.isolation = std::string(spec::to_string(vm.isolation));
  record.created_ms = unix_time_ms();
  record.spec_json = spec::to_json(vm);
  record.removed_when_done = vm.remove_when_done;
  return record;
}

Result<> insert(const store::Layout& layout, store::Catalog& catalog, const spec::VmSpec& vm) {
  auto inserted = catalog.insert_vm(record_of(vm));
  if (!inserted && inserted.error().code() == Errc::kAlreadyExists) {
    // The name may be that of a `run` that was killed; looking at the machines removes those.
    MVM_TRY(list_machines(layout));
    inserted = catalog.insert_vm(record_of(vm));
  }
  if (!inserted && inserted.error().code() == Errc::kAlreadyExists)
    return Error(Errc::kAlreadyExists, "machine '" + vm.name + "' exists already")
        .with_hint("choose another --name, or remove it with mvmctl rm " + vm.name);
  return inserted;
}

// Whether a machine's monitor can be made a user of its own.
bool may_choose_user() { return sys::has_capability(CAP_SYS_ADMIN); }

// Firecracker's own lies beside it; ours takes the same arguments.
std::string jailer_for(const std::string& firecracker, const Programs& programs) {
  const std::string beside = firecracker.substr(0, firecracker.find_last_of('/') + 1) + "jailer";
  return sys::find_program(beside).value_or(programs.jailer);
}

}  // namespace

Result<EngineChoice> choose_engine(const store::Layout& layout, const Programs& programs,
                                   const platform::SelectionRequest& request,
                                   std::span<const backend::Capability> needs) {
  platform::CollectOptions collect;
  collect.cache_dir = layout.cache_dir;
  collect.data_dir = layout.data_dir;
  collect.program_dir = programs.directory;
  const platform::HostFacts facts = platform::collect_minimal(collect);
  std::set<std::string> compiled_in;
  for (const std::string_view name : backend::backend_names()) {
    if (request.backend != "auto" || backend::require(*MVM_TRY(backend::find_backend(name)), needs))
      compiled_in.emplace(name);
  }
  EngineChoice out;
  platform::SelectionRequest complete = request;
  // Asked for once, it holds for everything that starts a machine.
  if (facts.is_wsl2 && !request.experimental)
    complete.experimental = MVM_TRY(Config::load(layout)).get("experimental") == "true";
  out.selection = MVM_TRY(platform::select_backend(facts, compiled_in, complete));
  MVM_TRY(backend::require(*MVM_TRY(backend::find_backend(out.selection.backend)), needs));
  const spec::Arch arch = request.guest_arch.value_or(spec::Arch::kX86_64);
  const platform::Program* engine = platform::find_engine(
      facts, out.selection.backend == "qemu" ? "qemu-system-" + std::string(spec::to_string(arch))
                                             : out.selection.backend);
  if (engine != nullptr) out.engine = engine->path;
  return out;
}

std::string posture_line(const EngineChoice& choice, bool jail) {
  std::string line = choice.selection.posture;
  const std::string& backend = choice.selection.backend;
  const bool unjailed =
      (backend == "mvm-vmm" && !jail) || (backend == "firecracker" && !(jail && may_choose_user()));
  if (unjailed) line += "; the monitor is not in a jail";
  return line;
}

std::uint32_t jail_user(const std::string& id) {
  constexpr std::uint32_t kFirst = 0x7000'0000;
  constexpr std::uint32_t kCount = 0x0800'0000;
  std::uint32_t number = 0;
  const std::string_view digits = std::string_view(id).substr(0, 8);
  std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return kFirst + number % kCount;
}

void set_jail(spec::VmSpec& vm, bool jail) {
  vm.jail = jail;
  vm.jail_user = jail && may_choose_user() ? jail_user(vm.id) : 0;
}

Result<> check_ports(const spec::NetworkSpec& network) {
  for (const spec::PortForward& f : network.forwards) {
    const sys::TcpAddress address{f.host_ip, f.host_port};
    auto fd =
        f.protocol == spec::Protocol::kUdp ? sys::bind_udp(address) : sys::listen_tcp(address);
    if (fd) continue;
    const std::string where = f.host_ip + ":" + std::to_string(f.host_port);
    if (fd.error().code() == Errc::kBusy)
      return Error(Errc::kBusy, "port " + where + " is taken")
          .with_hint("choose another host port for -p");
    return std::move(fd).error().with_context("forwarding " + where);
  }
  return {};
}

void set_identity(const store::Layout& layout, spec::VmSpec& vm, const std::string& name,
                  const std::string& hostname) {
  vm.id = sys::random_hex(8);
  vm.name = name.empty() ? "vm-" + vm.id.substr(0, 8) : name;
  vm.hostname = hostname.empty() ? vm.name : hostname;
  vm.run_dir = layout.vm_run_dir(vm.id);
  vm.data_dir = layout.vm_dir(vm.id);
}

void set_engine(spec::VmSpec& vm, const EngineChoice& choice, const Programs& programs) {
  vm.backend = choice.selection.backend;
  vm.accelerator = choice.selection.accelerator;
  vm.isolation = choice.selection.isolation;
  vm.engine_program = vm.backend == "fake"     ? programs.agent
                      : vm.backend == "docker" ? programs.docker
                                               : choice.engine;
  if (vm.backend == "mvm-vmm" || vm.backend == "firecracker") vm.network_program = programs.netd;
  if (vm.backend == "firecracker") vm.jailer_program = jailer_for(choice.engine, programs);
}

Result<sys::UniqueFd> start_machine(const store::Layout& layout, store::Catalog& catalog,
                                    const Programs& programs, const spec::VmSpec& vm,
                                    const std::vector<sys::FileLock>& volumes,
                                    const std::function<Result<>()>& make_disks) {
  // Lock and socket come before the record: whoever sees it finds the machine held, and waits for
  // the supervisor to answer.
  MVM_TRY(sys::make_dirs(vm.run_dir));
  sys::ScopeGuard no_run_dir([&] { (void)sys::remove_tree(vm.run_dir); });
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(vm.run_dir + "/lock"));
  const sys::UniqueFd control = MVM_TRY(sys::listen_unix(supervisor::control_socket(vm.run_dir)));
  MVM_TRY(insert(layout, catalog, vm));
  sys::ScopeGuard no_record([&] { (void)catalog.remove_vm(vm.id); });
  MVM_TRY(sys::make_dirs(vm.data_dir));
  sys::ScopeGuard no_data_dir([&] { (void)sys::remove_tree(vm.data_dir); });
  MVM_TRY(make_disks());
  sys::UniqueFd connection =
      MVM_TRY(supervisor::launch(programs.supervisor, vm, lock, control.get(), volumes));
  no_run_dir.dismiss();
  no_record.dismiss();
  no_data_dir.dismiss();
  return connection;
}

}  // namespace mvm::workflow
