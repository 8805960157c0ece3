// SPDX-License-Identifier: Apache-2.0
// QEMU with Debian's kernel and the busybox image, all prepared by the library code in a cache of
// the build.
#include <cstdlib>

#include "engine.h"
#include "image/pull.h"
#include "kernel/initramfs.h"
#include "kernel/obtain.h"
#include "platform/tsc.h"
#include "sys/process.h"

namespace mvm::contract {
namespace {

store::Layout layout() {
  const char* given = std::getenv("MVM_TEST_CACHE");
  const std::string base = given != nullptr ? given : MVM_BUILD_DIR "/test-cache";
  store::Layout out;
  out.data_dir = base + "/data";
  out.cache_dir = base + "/cache";
  out.config_dir = base + "/config";
  out.run_dir = base + "/run";
  return out;
}

}  // namespace

Engine engine() { return {"qemu", Millis(90'000)}; }

Result<spec::VmSpec> bootable() {
  const store::Layout places = layout();
  spec::VmSpec vm;
  vm.name = vm.hostname = "contract";
  vm.backend = "qemu";
  vm.accelerator = "tcg";
  const auto program = sys::find_program("qemu-system-x86_64");
  if (!program) return Error(Errc::kUnavailable, "qemu-system-x86_64 is not installed");
  vm.engine_program = *program;
  const kernel::Kernel kernel =
      MVM_TRY_CTX(kernel::obtain(places.kernel_cache_dir(), spec::Arch::kX86_64), "kernel");
  vm.kernel_path = kernel.vmlinux_path;
  vm.initramfs_path = MVM_TRY_CTX(
      kernel::initramfs_for(kernel, MVM_AGENT, places.initramfs_cache_dir()), "initramfs");
  store::Catalog catalog = MVM_TRY(store::Catalog::open(places));
  image::NoProgress quiet;
  image::PullRequest request;
  request.source = "busybox";
  vm.image_path = places.blob_path(
      MVM_TRY_CTX(image::resolve(request, places, catalog, quiet), "image").digest);
  vm.tsc_khz = platform::tsc_khz_cached(places.cache_dir);
  return vm;
}

}  // namespace mvm::contract
