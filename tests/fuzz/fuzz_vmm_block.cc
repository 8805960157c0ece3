// SPDX-License-Identifier: Apache-2.0
// A hostile driver of a disk: rings, descriptors and requests as the input says. The file may
// change its content, never its size.
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdlib>

#include "virtio_script.h"
#include "vmm/block/block_device.h"

namespace {

using namespace mvm;
using namespace mvm::vmm;

constexpr off_t kSize = 64 << 10;

// A request that is well-formed as far as the queue can tell.
void request(fuzz::Script& script, testing_driver::Guest& guest) {
  const auto type = script.take<std::uint8_t>();
  const auto sector = script.take<std::uint16_t>();
  const auto length = script.take<std::uint16_t>();
  const bool to_device = (script.take<std::uint8_t>() & 1) != 0;
  constexpr Gpa kHeader = 0x18'0000;
  guest.memory().write_object<std::uint32_t>(kHeader, type);
  guest.memory().write_object<std::uint64_t>(kHeader + 8, sector);
  std::vector<testing_driver::Buffer> buffers = {{kHeader, kBlockHeaderSize, false}};
  if (length > 0) buffers.push_back({kHeader + 0x1000, length, !to_device});
  buffers.push_back({kHeader + 0x800, 1, true});
  if (!guest.failure) guest.driver(0).add(buffers);
  guest.notify(0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script(data, size);
  const auto flags = script.take<std::uint8_t>();
  sys::UniqueFd file(::memfd_create("disk", MFD_CLOEXEC));
  if (::ftruncate(file.get(), kSize) != 0) std::abort();
  const int fd = file.get();
  BlockOptions options;
  options.id = "fuzz";
  options.path = "memory";
  options.file = std::move(file);
  options.read_only = (flags & 1) != 0;
  options.cache = (flags & 2) != 0 ? BlockCache::kWriteback : BlockCache::kUnsafe;
  if ((flags & 4) != 0) options.limits.ops = BucketLimits{4, 1, 1};
  if ((flags & 8) != 0) options.limits.bandwidth = BucketLimits{4096, 0, 1};
  const auto device = BlockDevice::create(std::move(options)).value();
  testing_driver::Guest guest(*device, mebibytes(2), (flags & 16) != 0);
  if (!guest.activate()) std::abort();
  for (int steps = 0; steps < 200 && !script.empty(); ++steps) {
    const auto operation = static_cast<std::uint8_t>(script.take<std::uint8_t>() % 10);
    if (fuzz::step(script, operation, *device, guest)) continue;
    if (operation == 8)
      request(script, guest);
    else
      device->update_limits({{}, BucketLimits{script.take<std::uint8_t>(), 0, 1}});
  }
  struct stat st{};
  if (::fstat(fd, &st) != 0 || st.st_size != kSize) std::abort();
  return 0;
}
