// SPDX-License-Identifier: Apache-2.0
#include "prepared.h"

#include <cstdlib>

#include "image/pull.h"
#include "kernel/obtain.h"

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

std::string program(const std::string& name) {
  const char* given = std::getenv("MVM_TEST_PROGRAMS");
  return std::string(given != nullptr ? given : MVM_LIBEXEC) + "/" + name;
}

Result<spec::VmSpec> prepare(const std::string& backend, kernel::AgentChannel channel) {
  const store::Layout places = layout();
  spec::VmSpec vm;
  vm.id = "c0ffee";
  vm.name = vm.hostname = "contract";
  vm.backend = backend;
  const kernel::Kernel kernel =
      MVM_TRY_CTX(kernel::obtain(places.kernel_cache_dir(), spec::Arch::kX86_64), "kernel");
  vm.kernel_path = kernel.vmlinux_path;
  vm.initramfs_path =
      MVM_TRY_CTX(kernel::initramfs_for(kernel, program("mvm-agent"), places.initramfs_cache_dir(),
                                        {.channel = channel}),
                  "initramfs");
  store::Catalog catalog = MVM_TRY(store::Catalog::open(places));
  image::NoProgress quiet;
  image::PullRequest request;
  request.source = "busybox";
  vm.image_digest = MVM_TRY_CTX(image::resolve(request, places, catalog, quiet), "image").digest;
  vm.image_path = places.blob_path(vm.image_digest);
  return vm;
}

}  // namespace mvm::contract
