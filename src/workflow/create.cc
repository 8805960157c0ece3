// SPDX-License-Identifier: Apache-2.0
#include "workflow/create.h"

#include <array>
#include <cstdlib>

#include "backend/registry/registry.h"
#include "kernel/initramfs.h"
#include "kernel/obtain.h"
#include "platform/tsc.h"
#include "spec/words.h"
#include "store/catalog.h"
#include "store/gc.h"
#include "sys/files.h"
#include "sys/io.h"
#include "workflow/containers.h"
#include "workflow/guest_process.h"
#include "workflow/machines.h"
#include "workflow/scratch.h"
#include "workflow/sealing.h"
#include "workflow/start.h"
#include "workflow/volumes.h"

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

std::optional<std::string> host_env(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

// The pieces that are looked up before anything is made.
struct Parts {
  Programs programs;
  EngineChoice choice;
  store::ImageRecord image;
  std::optional<CheckedSeal> seal;  // of a sealed image
  kernel::Kernel kernel;
  std::string initramfs;
};

// A kernel by its name, or a file; what has a slash is a file.
Result<kernel::Kernel> given_kernel(const std::string& cache, const CreateRequest& request) {
  const std::string& given = request.kernel_file;
  if (given.find('/') == std::string::npos && !sys::path_exists(given)) {
    auto named = kernel::find(cache, given);
    if (named && named->arch == request.image.arch) return std::move(*named);
    if (!named && named.error().code() == Errc::kInvalidArgument) return std::move(named).error();
  }
  return kernel::use_file(cache, given, request.image.arch);
}

Result<kernel::Kernel> choose_kernel(const store::Layout& layout, const CreateRequest& request,
                                     const std::optional<CheckedSeal>& seal,
                                     const CreateEvents& events) {
  kernel::ObtainOptions options;
  options.progress = [&](const kernel::Progress& p) { events.on_step(p.step); };
  const std::string cache = layout.kernel_cache_dir();
  if (!request.kernel_file.empty()) {
    auto given = MVM_TRY(given_kernel(cache, request));
    if (seal) MVM_TRY(check_sealed_kernel(given, seal->manifest));
    return given;
  }
  if (seal) return sealed_kernel(layout, seal->manifest);
  return kernel::obtain(cache, request.image.arch, options);
}

// QEMU has a serial port for the agent; the monitors that speak Firecracker's API have vsock.
kernel::AgentChannel agent_channel(const std::string& backend) {
  return backend == "qemu" ? kernel::AgentChannel::kVirtioSerial : kernel::AgentChannel::kVsock;
}

// The others are processes of this host's kernel.
bool boots_kernel(const std::string& backend) { return backend != "fake" && backend != "docker"; }

std::vector<backend::Capability> needs_of(const CreateRequest& request) {
  std::vector<backend::Capability> out;
  if (!request.volumes.empty()) out.push_back(&backend::Capabilities::volumes);
  if (!request.network.forwards.empty()) out.push_back(&backend::Capabilities::port_forward);
  if (!request.kernel_file.empty() || !request.cmdline_extra.empty())
    out.push_back(&backend::Capabilities::kernel);
  if (request.sealed) out.push_back(&backend::Capabilities::seal);
  return out;
}

Result<Parts> gather(const store::Layout& layout, store::Catalog& catalog,
                     const CreateRequest& request, const CreateEvents& events) {
  Parts parts;
  parts.programs = MVM_TRY(find_programs());
  parts.choice =
      MVM_TRY(choose_engine(layout, parts.programs,
                            {request.backend, request.least_isolation, request.image.arch,
                             request.allow_container, request.experimental},
                            needs_of(request)));
  events.on_posture(posture_line(parts.choice, request.jail));
  parts.image = MVM_TRY(image::resolve(request.image, layout, catalog, events.progress));
  parts.seal = MVM_TRY(check_seal(layout, parts.image));
  if (request.sealed && !parts.seal)
    return Error(Errc::kPermission, "image " + parts.image.ref + " is not sealed")
        .with_hint("build it with seal = \"sealed\"");
  const backend::Backend& engine = *MVM_TRY(backend::find_backend(parts.choice.selection.backend));
  if (request.limits.vcpus > engine.capabilities().most_vcpus)
    return Error(Errc::kUnsupported, "the " + std::string(engine.name()) + " backend has at most " +
                                         std::to_string(engine.capabilities().most_vcpus) +
                                         " cpus");
  if (parts.seal) {
    const std::array needs = {&backend::Capabilities::seal};
    MVM_TRY(backend::require(engine, needs));
    MVM_TRY(check_sealed_request(request, parts.image.ref, parts.seal->manifest));
    events.on_posture("mvm: image " + parts.image.ref + " is sealed, signed by " +
                      parts.seal->signer.name + " (" +
                      seal::short_id(parts.seal->signer.public_key) + ")");
  }
  const std::string& backend = parts.choice.selection.backend;
  if (!boots_kernel(backend)) {
    if (backend == "docker") MVM_TRY(import_image(layout, parts.image.digest, events.on_step));
    return parts;
  }
  parts.kernel = MVM_TRY_CTX(choose_kernel(layout, request, parts.seal, events), "kernel");
  kernel::InitramfsPlan plan;
  if (parts.seal) plan = sealed_initramfs(parts.image.signature);
  plan.channel = agent_channel(backend);
  parts.initramfs = MVM_TRY_CTX(
      kernel::initramfs_for(parts.kernel, parts.programs.agent, layout.initramfs_cache_dir(), plan),
      "initramfs");
  return parts;
}

Result<Created> describe(const store::Layout& layout, const CreateRequest& request,
                         const Parts& parts) {
  Created out;
  spec::VmSpec& vm = out.vm;
  set_identity(layout, vm, request.name, request.hostname);
  set_engine(vm, parts.choice, parts.programs);
  vm.arch = request.image.arch;
  if (vm.accelerator == "tcg") vm.tsc_khz = platform::tsc_khz_cached(layout.cache_dir);
  vm.kernel_path = parts.kernel.vmlinux_path;
  vm.initramfs_path = parts.initramfs;
  vm.cmdline_extra = request.cmdline_extra;
  vm.image_path = layout.blob_path(parts.image.digest);
  vm.image_ref = parts.image.ref;
  vm.image_digest = parts.image.digest;
  vm.network = request.network;
  vm.limits = request.limits;
  vm.restart = request.restart;
  if (!request.ephemeral && !parts.seal && boots_kernel(vm.backend))
    vm.scratch_path = vm.data_dir + "/" + kScratchFile;
  vm.volumes = MVM_TRY(place_volumes(layout, request.volumes));
  vm.remove_when_done = request.remove_when_done;
  set_jail(vm, request.jail);
  out.process = MVM_TRY(set_guest(vm, request, parts.image.config, host_env));
  if (parts.seal) {
    vm.sealed_by = parts.image.signature.signer;
    vm.cmdline_extra = "mvm.seal=" + vm.sealed_by;
    if (!request.main_process && out.process.argv.empty())
      return Error(Errc::kUnsupported, "image " + vm.image_ref + " is sealed and names no command")
          .with_hint("start it with: mvmctl up");
  }
  return out;
}

}  // namespace

Result<Created> create(const store::Layout& layout, const CreateRequest& request,
                       const CreateEvents& events) {
  if (!request.name.empty()) MVM_TRY(spec::check_name(request.name));
  MVM_TRY(check_limits(request.limits));
  MVM_TRY(check_ports(request.network));
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  // Until the record names it, nobody may take the image's file away.
  const sys::FileLock images = MVM_TRY(store::lock_images_shared(layout));
  const Parts parts = MVM_TRY(gather(layout, catalog, request, events));
  Created out = MVM_TRY(describe(layout, request, parts));
  const spec::VmSpec& vm = out.vm;

  const auto volumes = MVM_TRY(take_volumes(layout, request.volumes));
  const auto make_disks = [&]() -> Result<> {
    if (vm.scratch_path.empty()) return {};
    return make_scratch(
        {vm.scratch_path, layout.scratch_template_dir(), request.disk_size, !vm.remove_when_done});
  };
  out.connection = MVM_TRY(start_machine(layout, catalog, parts.programs, vm, volumes, make_disks));
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
