// SPDX-License-Identifier: Apache-2.0
#include "workflow/create.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <set>

#include "backend/registry/registry.h"
#include "kernel/initramfs.h"
#include "kernel/obtain.h"
#include "platform/collect.h"
#include "platform/select.h"
#include "platform/tsc.h"
#include "spec/vm_spec_json.h"
#include "store/catalog.h"
#include "store/gc.h"
#include "supervisor/launch.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/random.h"
#include "sys/socket.h"
#include "workflow/machines.h"
#include "workflow/programs.h"
#include "workflow/scratch.h"

namespace mvm::workflow {
namespace {

// Debian's kernel with its modules and our agent needs this much to reach a shell
// (docs/design/boot.md).
constexpr Bytes kLeastMemory = mebibytes(96);
constexpr Bytes kMostMemory = gibibytes(1024);
constexpr std::uint32_t kMostVcpus = 64;

Result<> check_limits(const spec::LimitSpec& limits) {
  if (limits.memory < kLeastMemory || limits.memory > kMostMemory)
    return Error(Errc::kInvalidArgument,
                 "a machine with " + format_size(limits.memory) + " of memory cannot boot")
        .with_hint("give --memory between " + format_size(kLeastMemory) + " and " +
                   format_size(kMostMemory));
  if (limits.vcpus < 1 || limits.vcpus > kMostVcpus)
    return Error(Errc::kInvalidArgument,
                 "a machine with " + std::to_string(limits.vcpus) + " cpus is not possible")
        .with_hint("give --cpus between 1 and " + std::to_string(kMostVcpus));
  return {};
}

// Binds and lets go: the engine will bind again. Somebody may come in between; then its own error
// is told.
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

std::int64_t now_ms() {
  return std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::optional<std::string> host_env(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

struct Choice {
  platform::Selection selection;
  std::string engine;  // path of its program
};

// The pieces that are looked up before anything is made.
struct Parts {
  Programs programs;
  Choice choice;
  store::ImageRecord image;
  kernel::Kernel kernel;
  std::string initramfs;
};

Result<Choice> choose_backend(const store::Layout& layout, const CreateRequest& request) {
  platform::CollectOptions collect;
  collect.cache_dir = layout.cache_dir;
  collect.data_dir = layout.data_dir;
  const platform::HostFacts facts = platform::collect_minimal(collect);
  std::set<std::string> compiled_in;
  for (const std::string_view name : backend::backend_names()) compiled_in.emplace(name);
  Choice out;
  out.selection = MVM_TRY(platform::select_backend(
      facts, compiled_in, {request.backend, request.least_isolation, request.image.arch, false}));
  const platform::Program* engine = platform::find_engine(
      facts, out.selection.backend == "qemu"
                 ? "qemu-system-" + std::string(spec::to_string(request.image.arch))
                 : out.selection.backend);
  if (engine != nullptr) out.engine = engine->path;
  return out;
}

Result<kernel::Kernel> choose_kernel(const store::Layout& layout, const CreateRequest& request,
                                     const CreateEvents& events) {
  kernel::ObtainOptions options;
  options.progress = [&](const kernel::Progress& p) { events.on_step(p.step); };
  const std::string cache = layout.kernel_cache_dir();
  if (!request.kernel_file.empty())
    return kernel::use_file(cache, request.kernel_file, request.image.arch);
  return kernel::obtain(cache, request.image.arch, options);
}

Result<Parts> gather(const store::Layout& layout, store::Catalog& catalog,
                     const CreateRequest& request, const CreateEvents& events) {
  Parts parts;
  parts.programs = MVM_TRY(find_programs());
  parts.choice = MVM_TRY(choose_backend(layout, request));
  events.on_posture(parts.choice.selection.posture);
  parts.image = MVM_TRY(image::resolve(request.image, layout, catalog, events.progress));
  if (parts.choice.selection.backend == "fake") return parts;  // it boots no kernel
  parts.kernel = MVM_TRY_CTX(choose_kernel(layout, request, events), "kernel");
  parts.initramfs = MVM_TRY_CTX(
      kernel::initramfs_for(parts.kernel, parts.programs.agent, layout.initramfs_cache_dir()),
      "initramfs");
  return parts;
}

Created describe(const store::Layout& layout, const CreateRequest& request, const Parts& parts) {
  Created out;
  spec::VmSpec& vm = out.vm;
  vm.id = sys::random_hex(8);
  vm.name = request.name.empty() ? "vm-" + vm.id.substr(0, 8) : request.name;
  vm.arch = request.image.arch;
  vm.backend = parts.choice.selection.backend;
  vm.accelerator = parts.choice.selection.accelerator;
  vm.isolation = parts.choice.selection.isolation;
  if (vm.accelerator == "tcg") vm.tsc_khz = platform::tsc_khz_cached(layout.cache_dir);
  vm.engine_program = vm.backend == "fake" ? parts.programs.agent : parts.choice.engine;
  vm.kernel_path = parts.kernel.vmlinux_path;
  vm.initramfs_path = parts.initramfs;
  vm.cmdline_extra = request.cmdline_extra;
  vm.image_path = layout.blob_path(parts.image.digest);
  vm.image_ref = parts.image.ref;
  vm.image_digest = parts.image.digest;
  vm.hostname = request.hostname.empty() ? vm.name : request.hostname;
  vm.network = request.network;
  vm.limits = request.limits;
  vm.restart = request.restart;
  vm.run_dir = layout.vm_run_dir(vm.id);
  vm.data_dir = layout.vm_dir(vm.id);
  if (!request.ephemeral && vm.backend != "fake") vm.scratch_path = vm.data_dir + "/scratch.img";
  vm.remove_when_done = request.remove_when_done;
  out.process = process_for(request, parts.image.config, host_env);
  vm.exec_defaults = out.process;
  vm.exec_defaults.argv.clear();
  if (request.main_process && !request.idle && !out.process.argv.empty()) vm.process = out.process;
  return out;
}

store::VmRecord record_of(const spec::VmSpec& vm) {
  store::VmRecord record;
  record.id = vm.id;
  record.name = vm.name;
  record.image_ref = vm.image_ref;
  record.image_digest = vm.image_digest;
  record.backend = vm.backend;
  record.isolation = std::string(spec::to_string(vm.isolation));
  record.created_ms = now_ms();
  record.spec_json = spec::to_json(vm);
  record.removed_when_done = vm.remove_when_done;
  return record;
}

}  // namespace

Result<> check_name(const std::string& name) {
  const auto alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  bool good = !name.empty() && name.size() <= 63 && alnum(name.front());
  for (const char c : name) good = good && (alnum(c) || c == '.' || c == '_' || c == '-');
  if (good) return {};
  return Error(Errc::kInvalidArgument, "'" + name + "' is not a machine name")
      .with_hint(
          "use up to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit");
}

spec::ProcessSpec process_for(
    const CreateRequest& request, const spec::ImageConfig& image,
    const std::function<std::optional<std::string>(const std::string&)>& env_of_host) {
  spec::ProcessSpec out;
  if (!request.entrypoint) {
    out.argv = image.entrypoint;
  } else if (!request.entrypoint->empty()) {
    out.argv = {*request.entrypoint};
  }
  // As container engines do: a given command replaces CMD; a given entrypoint drops it.
  const bool use_cmd = request.command.empty() && !request.entrypoint;
  const auto& rest = use_cmd ? image.cmd : request.command;
  out.argv.insert(out.argv.end(), rest.begin(), rest.end());
  out.env = image.env;
  for (const std::string& entry : request.env) {
    if (entry.find('=') != std::string::npos) {
      out.env.push_back(entry);
    } else if (const auto value = env_of_host(entry)) {
      out.env.push_back(entry + "=" + *value);
    }
  }
  out.working_dir = request.working_dir.empty() ? image.working_dir : request.working_dir;
  out.user = request.user.empty() ? image.user : request.user;
  if (!image.stop_signal.empty()) out.stop_signal = image.stop_signal;
  return out;
}

Result<Created> create(const store::Layout& layout, const CreateRequest& request,
                       const CreateEvents& events) {
  if (!request.name.empty()) MVM_TRY(check_name(request.name));
  MVM_TRY(check_limits(request.limits));
  MVM_TRY(check_ports(request.network));
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  // Until the record names it, nobody may take the image's file away.
  const sys::FileLock images = MVM_TRY(store::lock_images_shared(layout));
  const Parts parts = MVM_TRY(gather(layout, catalog, request, events));
  Created out = describe(layout, request, parts);
  const spec::VmSpec& vm = out.vm;

  // The lock comes before the record: whoever sees the record finds the machine held.
  MVM_TRY(sys::make_dirs(vm.run_dir));
  sys::ScopeGuard no_run_dir([&] { (void)sys::remove_tree(vm.run_dir); });
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(vm.run_dir + "/lock"));
  auto inserted = catalog.insert_vm(record_of(vm));
  if (!inserted && inserted.error().code() == Errc::kAlreadyExists) {
    // The name may be that of a `run` that was killed; looking at the machines removes those.
    MVM_TRY(list_machines(layout));
    inserted = catalog.insert_vm(record_of(vm));
  }
  if (!inserted && inserted.error().code() == Errc::kAlreadyExists)
    return Error(Errc::kAlreadyExists, "machine '" + vm.name + "' exists already")
        .with_hint("choose another --name, or remove it with mvmctl rm " + vm.name);
  MVM_TRY(std::move(inserted));
  sys::ScopeGuard no_record([&] { (void)catalog.remove_vm(vm.id); });
  MVM_TRY(sys::make_dirs(vm.data_dir));
  sys::ScopeGuard no_data_dir([&] { (void)sys::remove_tree(vm.data_dir); });
  if (!vm.scratch_path.empty())
    MVM_TRY(make_scratch(
        {vm.scratch_path, layout.scratch_template_dir(), request.disk_size, !vm.remove_when_done}));
  out.connection = MVM_TRY(supervisor::launch(parts.programs.supervisor, vm, lock));
  no_run_dir.dismiss();
  no_record.dismiss();
  no_data_dir.dismiss();
  return out;
}

Result<> forget(const store::Layout& layout, const std::string& id) {
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  // The supervisor removes both directories, unless it was killed.
  MVM_TRY(sys::remove_tree(layout.vm_dir(id)));
  auto gone = catalog.remove_vm(id);
  if (!gone && gone.error().code() != Errc::kNotFound) return gone.error();
  return sys::remove_tree(layout.vm_run_dir(id));
}

}  // namespace mvm::workflow
