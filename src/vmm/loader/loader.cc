// SPDX-License-Identifier: Apache-2.0
#include "vmm/loader/loader.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/units.h"
#include "vmm/loader/file.h"
#include "vmm/loader/formats.h"

namespace mvm::vmm {
namespace {

constexpr Bytes kMaxKernelFile = gibibytes(1);
constexpr Bytes kMaxInitrdFile = gibibytes(2);
constexpr std::size_t kBzImageMagic = 0x202;

bool has_magic(const LoaderFile& file, std::uint64_t offset, const char (&magic)[5]) {
  const auto bytes = file.read_object<std::array<char, 4>>(offset);
  return bytes.has_value() && std::memcmp(bytes->data(), magic, bytes->size()) == 0;
}

Gpa page_down(Gpa gpa) { return gpa & ~(GuestMemory::kPageSize - 1); }

// The end of the RAM region that the kernel is in.
Gpa region_end(const GuestMemory& memory, Gpa inside) {
  for (const MemoryRegion& region : memory.regions())
    if (inside >= region.start && inside - region.start < region.size)
      return region.start + region.size;
  return 0;
}

}  // namespace

Result<LoadedKernel> load_kernel(const GuestMemory& memory, int fd, const std::string& name) {
  const LoaderFile file = MVM_TRY(LoaderFile::open(fd, name, kMaxKernelFile));
  if (has_magic(file, 0,
                "\x7f"
                "ELF"))
    return load_elf(memory, file);
  if (has_magic(file, kBzImageMagic, "HdrS")) return load_bzimage(memory, file);
  return Error(Errc::kUnsupported, name + ": is neither an ELF vmlinux nor a bzImage");
}

Result<> load_initrd(const GuestMemory& memory, int fd, const std::string& name,
                     LoadedKernel& kernel) {
  const LoaderFile file = MVM_TRY(LoaderFile::open(fd, name, kMaxInitrdFile));
  kernel.initrd.reset();
  if (file.size() == 0) return {};
  const Gpa limit = std::min(region_end(memory, kernel.entry), kernel.initrd_max + 1);
  const std::uint64_t room = limit > kernel.end ? limit - kernel.end : 0;
  const Gpa gpa = file.size() <= room ? page_down(limit - file.size()) : 0;
  if (gpa < kernel.end)
    return Error(Errc::kLimit, name + ": has " + format_size(Bytes{file.size()}) + ", but " +
                                   format_size(Bytes{room}) +
                                   " of memory are free above the kernel")
        .with_hint("give the guest more memory");
  MVM_TRY(file.load(memory, gpa, 0, file.size()));
  kernel.initrd = LoadedInitrd{gpa, file.size()};
  return {};
}

}  // namespace mvm::vmm
