// SPDX-License-Identifier: Apache-2.0
// A hostile virtio driver that does what the fuzzer's bytes say, over model memory.
//
// Shape: steps, each an operation byte and its operands, little-endian; see step().
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm::fuzz {

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : in_(data, size) {}
  bool empty() const { return in_.empty(); }
  template <class T>
  T take() {
    T out{};
    const std::size_t count = std::min(sizeof out, in_.size());
    std::memcpy(&out, in_.data(), count);
    in_ = in_.subspan(count);
    return out;
  }
  std::span<const std::byte> bytes(std::size_t most) {
    const auto out = in_.first(std::min(most, in_.size()));
    in_ = in_.subspan(out.size());
    return std::as_bytes(out);
  }

 private:
  std::span<const std::uint8_t> in_;
};

// Carries out one step that means the same for every device; false when the byte is the device's
// own (8 and up).
inline bool step(Script& script, std::uint8_t operation, VirtioDevice& device,
                 testing_driver::Guest& guest) {
  const auto queues = device.queue_sizes().size();
  const auto pick = [&] { return script.take<std::uint8_t>() % queues; };
  switch (operation) {
    case 0: {
      auto& driver = guest.driver(pick());
      const auto index = script.take<std::uint8_t>();
      const auto address = script.take<std::uint64_t>();
      const auto length = script.take<std::uint32_t>();
      const auto flags = script.take<std::uint8_t>();
      driver.set_descriptor(index, address, length, flags, script.take<std::uint8_t>());
      return true;
    }
    case 1: {
      auto& driver = guest.driver(pick());
      driver.make_available(script.take<std::uint8_t>());
      return true;
    }
    case 2:
      guest.notify(pick());
      return true;
    case 3: {
      const auto address = script.take<std::uint32_t>();
      guest.memory().write(address, script.bytes(script.take<std::uint8_t>()));
      return true;
    }
    case 4: {
      auto& driver = guest.driver(pick());
      driver.set_available_index(script.take<std::uint16_t>());
      return true;
    }
    case 5:
      guest.turn();
      return true;
    case 6:
      device.reset();
      guest.failure.reset();
      (void)guest.activate(script.take<std::uint64_t>() & device.features()).has_value();
      return true;
    case 7: {
      const auto offset = script.take<std::uint32_t>();
      const auto value = script.take<std::uint32_t>();
      device.write_config(offset, std::as_bytes(std::span(&value, 1)));
      std::uint64_t read = 0;
      device.read_config(offset, std::as_writable_bytes(std::span(&read, 1)));
      return true;
    }
    default:
      return false;
  }
}

}  // namespace mvm::vmm::fuzz
