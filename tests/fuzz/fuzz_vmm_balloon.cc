// SPDX-License-Identifier: Apache-2.0
// A hostile driver of a balloon: queues, page frames, reported ranges and statistics as the input
// says.
#include <cstdlib>

#include "virtio_script.h"
#include "vmm/balloon/balloon_device.h"

namespace {

using namespace mvm;
using namespace mvm::vmm;

constexpr Gpa kBuffer = 0x18'0000;

// Frame numbers of pages above the rings, in one of the first two queues.
void frames(fuzz::Script& script, testing_driver::Guest& guest) {
  const std::size_t queue = script.take<std::uint8_t>() % 2;
  const auto list = script.bytes(script.take<std::uint8_t>());
  std::uint32_t count = 0;
  for (const std::byte entry : list)
    guest.memory().write_object(kBuffer + 4 * count++, 0x1a0 + static_cast<std::uint32_t>(entry));
  if (guest.failure || count == 0) return;
  guest.driver(queue).add({{kBuffer, 4 * count, false}});
  guest.notify(queue);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script(data, size);
  const auto flags = script.take<std::uint8_t>();
  BalloonOptions options;
  options.deflate_on_oom = (flags & 1) != 0;
  options.stats_interval_s = (flags & 2) != 0 ? 1 : 0;
  options.free_page_reporting = (flags & 4) != 0;
  const auto device = BalloonDevice::create(options).value();
  testing_driver::Guest guest(*device, mebibytes(2), (flags & 16) != 0);
  if (!guest.activate()) std::abort();
  for (int steps = 0; steps < 200 && !script.empty(); ++steps) {
    const auto operation = static_cast<std::uint8_t>(script.take<std::uint8_t>() % 11);
    if (fuzz::step(script, operation, *device, guest)) continue;
    if (operation == 8)
      frames(script, guest);
    else if (operation == 9)
      (void)device->set_target(script.take<std::uint32_t>()).has_value();
    else
      (void)device->set_stats_interval(script.take<std::uint8_t>()).has_value();
  }
  if (device->stats().has_value() && device->stats()->target_mib > 1U << 24) std::abort();
  return 0;
}
