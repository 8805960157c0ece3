// SPDX-License-Identifier: Apache-2.0
// A kernel file of anybody, loaded into a small guest, then an initrd above it. What is loaded must
// lie in RAM above the boot data, and the boot data itself stays untouched.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sys/io.h"
#include "vmm/loader/loader.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const mvm::vmm::GuestMemory& memory, const mvm::vmm::LoadedKernel& kernel) {
  require(kernel.entry >= mvm::vmm::kKernelMinimum && kernel.entry < kernel.end);
  require(memory.slice(kernel.entry, 1).has_value());
  require(kernel.setup_header.size() <= mvm::vmm::kSetupHeaderRoom);
  if (!kernel.initrd) return;
  require(kernel.initrd->gpa >= kernel.end);
  require(kernel.initrd->gpa + kernel.initrd->size - 1 <= kernel.initrd_max);
  require(memory.slice(kernel.initrd->gpa, kernel.initrd->size).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto memory = mvm::vmm::GuestMemory::create(mvm::mebibytes(32));
  const auto file =
      mvm::sys::memory_file("kernel", std::string_view(reinterpret_cast<const char*>(data), size));
  if (!memory || !file) std::abort();
  auto kernel = mvm::vmm::load_kernel(*memory, file->get(), "kernel");
  if (!kernel) return 0;
  check(*memory, *kernel);
  (void)mvm::vmm::load_initrd(*memory, file->get(), "initrd", *kernel).has_value();
  check(*memory, *kernel);
  require(memory->read_object<std::uint64_t>(0x7000) == std::uint64_t{0});
  return 0;
}
