// SPDX-License-Identifier: Apache-2.0
// A hostile driver against the bare queue: rings, descriptors and indirect tables as the input
// says. Whatever it does, what a chain shows lies within the guest's memory, and the sums are
// right.
#include <cstdlib>

#include "virtio_script.h"

namespace {

using namespace mvm;
using namespace mvm::vmm;

constexpr std::uint16_t kMaxSize = 16;
constexpr Gpa kRings = 0x1000;
constexpr Gpa kTables = 0x8000;

void require(bool holds) {
  if (!holds) std::abort();
}

class Machine {
 public:
  Machine(std::uint16_t size, bool event_index)
      : size_(size), event_index_(event_index), driver_(memory_, kRings, size) {
    memory_.track_dirty(true);
    queue_.setup() = driver_.setup();
    require(queue_.enable(memory_, event_index_).has_value());
  }

  void step(fuzz::Script& script) {
    switch (script.take<std::uint8_t>() % 12) {
      case 0: {
        const auto index = static_cast<std::uint16_t>(script.take<std::uint8_t>() % size_);
        const auto address = script.take<std::uint64_t>();
        const auto length = script.take<std::uint32_t>();
        const auto flags = script.take<std::uint8_t>();
        return driver_.set_descriptor(index, address, length, flags, script.take<std::uint8_t>());
      }
      case 1:
        return driver_.make_available(script.take<std::uint8_t>());
      case 2:
        return driver_.set_available_index(script.take<std::uint16_t>());
      case 3:
        return write_table(script);
      case 4:
      case 5:
        return pop();
      case 6:
        return push(script.take<std::uint32_t>());
      case 7:
        (void)queue_.arm();
        (void)queue_.needs_interrupt();
        return queue_.disarm();
      case 8:
        return driver_.set_used_event(script.take<std::uint16_t>());
      case 9: {
        const auto at = script.take<std::uint16_t>();
        memory_.write(at, script.bytes(script.take<std::uint8_t>()));
        return;
      }
      case 10:
        return save_and_restore(script);
      default:
        return set_up_anew(script);
    }
  }

 private:
  // Entries near the data or wherever they like.
  void write_table(fuzz::Script& script) {
    const Gpa at = kTables + script.take<std::uint8_t>();
    const auto count = script.take<std::uint8_t>() % 32U;
    for (Gpa i = 0; i < count; ++i) {
      memory_.write_object<std::uint64_t>(at + 16 * i, script.take<std::uint16_t>());
      memory_.write_object<std::uint32_t>(at + 16 * i + 8, script.take<std::uint8_t>());
      memory_.write_object<std::uint16_t>(at + 16 * i + 12, script.take<std::uint8_t>() % 8);
      memory_.write_object<std::uint16_t>(at + 16 * i + 14, script.take<std::uint8_t>() % 33);
    }
  }

  void pop() {
    const auto popped = queue_.pop(chain_);
    if (!popped) require(popped.error().code() == Errc::kGuestFault);
    have_ = popped && *popped;
    if (have_) check();
  }

  // Every byte is touched: a sanitizer sees what lies outside.
  void check() {
    require(chain_.readable().size() + chain_.writable().size() <= queue_.setup().size);
    std::uint64_t readable = 0;
    for (const iovec& part : chain_.readable()) {
      require(lies_in_memory(part));
      readable += part.iov_len;
    }
    std::uint64_t writable = 0;
    for (const iovec& part : chain_.writable()) {
      require(lies_in_memory(part));
      writable += part.iov_len;
    }
    require(readable == chain_.readable_bytes() && writable == chain_.writable_bytes());
    std::array<std::byte, 64> bytes{};
    for (const std::uint64_t offset :
         {std::uint64_t{0}, readable / 2, readable, ~std::uint64_t{0}}) {
      const std::uint64_t left = offset < readable ? readable - offset : 0;
      require(chain_.read(offset, bytes) == std::min<std::uint64_t>(left, bytes.size()));
      std::array<iovec, 3> parts;
      const std::size_t count = chain_.readable_slice(offset, 100, parts);
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < count; ++i) {
        require(lies_in_memory(parts[i]));
        sum += parts[i].iov_len;
      }
      require(sum <= std::min<std::uint64_t>(left, 100));
    }
    const std::uint64_t middle = writable / 2;
    require(chain_.write(middle, bytes) == std::min<std::uint64_t>(writable - middle, 64));
  }

  bool lies_in_memory(const iovec& part) const {
    const auto all = *memory_.slice(0, memory_.size().count);
    const auto* begin = static_cast<const std::byte*>(part.iov_base);
    return begin >= all.data() && begin < all.data() + all.size() && part.iov_len > 0 &&
           part.iov_len <= static_cast<std::size_t>(all.data() + all.size() - begin);
  }

  void push(std::uint32_t written) {
    if (have_) queue_.push(chain_, written);
    have_ = false;
  }

  // The state with a few bytes of the input over it: refused, or a queue like any other.
  void save_and_restore(fuzz::Script& script) {
    ByteWriter out;
    queue_.save(out);
    auto bytes = out.take();
    const auto changes = script.take<std::uint8_t>() % 4;
    for (int i = 0; i < changes; ++i)
      bytes[script.take<std::uint8_t>() % bytes.size()] = script.take<std::byte>();
    ByteReader in(bytes);
    const auto restored = queue_.restore(in, memory_, event_index_);
    if (!restored) require(restored.error().code() == Errc::kCorrupt && !queue_.enabled());
    have_ = false;
  }

  void set_up_anew(fuzz::Script& script) {
    queue_.reset();
    have_ = false;
    auto& setup = queue_.setup();
    setup = {script.take<std::uint16_t>(), true, script.take<std::uint32_t>(),
             script.take<std::uint32_t>(), script.take<std::uint64_t>()};
    if (queue_.enable(memory_, event_index_)) return;
    setup = driver_.setup();
    require(queue_.enable(memory_, event_index_).has_value());
  }

  GuestMemory memory_ = GuestMemory::create(Bytes{0x1'0000}).value();
  std::uint16_t size_;
  bool event_index_;
  Queue queue_{kMaxSize};
  testing_driver::DriverQueue driver_;
  Chain chain_;
  bool have_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script(data, size);
  const auto flags = script.take<std::uint8_t>();
  Machine machine(static_cast<std::uint16_t>(1U << (flags % 5)), (flags & 0x80) != 0);
  for (int steps = 0; steps < 500 && !script.empty(); ++steps) machine.step(script);
  return 0;
}
