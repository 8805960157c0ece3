// SPDX-License-Identifier: Apache-2.0
// A guest that reads and writes the registers of a virtio device in any order and width, with the
// entropy device behind them: set-ups, notifications, resets, pauses, saved states and restored
// ones.
#include <array>
#include <cstdlib>

#include "core/log.h"
#include "virtio_script.h"
#include "vmm/entropy/entropy_device.h"
#include "vmm/virtio/mmio_transport.h"

namespace {

using namespace mvm;
using namespace mvm::vmm;

constexpr Gpa kRings = 0x1000;
constexpr Gpa kData = 0x8000;
constexpr std::uint16_t kQueueSize = 64;

void require(bool holds) {
  if (!holds) std::abort();
}

class Machine {
 public:
  Machine() { build(); }

  void step(fuzz::Script& script) {
    switch (script.take<std::uint8_t>() % 12) {
      case 0:
        return write(std::uint64_t{script.take<std::uint8_t>()} * 4, script.take<std::uint32_t>());
      case 1: {
        const auto offset = script.take<std::uint16_t>() % MmioTransport::kSize;
        return transport_->write(offset, script.bytes(1 + script.take<std::uint8_t>() % 8));
      }
      case 2: {
        std::array<std::byte, 8> out{};
        const auto offset = script.take<std::uint16_t>() % MmioTransport::kSize;
        return transport_->read(offset, std::span(out).first(1 + script.take<std::uint8_t>() % 8));
      }
      case 3:
        return start(script.take<std::uint8_t>());
      case 4:
        return write(0x70, script.take<std::uint8_t>());
      case 5: {
        const auto length = script.take<std::uint16_t>();
        const auto flags = script.take<std::uint8_t>();
        const auto index = static_cast<std::uint16_t>(flags % kQueueSize);
        driver_.set_descriptor(index, kData, length, flags % 8, script.take<std::uint8_t>());
        return driver_.make_available(index);
      }
      case 6:
        return write(MmioTransport::kQueueNotify, 0);
      case 7:
        return turn();
      case 8:
        return pause(true);
      case 9:
        return pause(false);
      case 10:
        return save_and_restore(script);
      default: {
        const auto at = script.take<std::uint16_t>();
        memory_.write(at, script.bytes(script.take<std::uint8_t>()));
        return;
      }
    }
  }

 private:
  void build() {
    transport_.reset();
    transport_ = MmioTransport::create("entropy", std::make_unique<EntropyDevice>(RateLimits{}),
                                       memory_, *io_, {})
                     .value();
  }
  void write(std::uint64_t offset, std::uint32_t value) {
    transport_->write(offset, std::as_bytes(std::span(&value, 1)));
  }
  // As a driver does it, but for what the bits leave out.
  void start(std::uint8_t without) {
    const QueueSetup setup = driver_.setup();
    const std::array<std::pair<std::uint64_t, std::uint64_t>, 8> writes = {{{0x70, 0},
                                                                            {0x24, 1},
                                                                            {0x20, 1},
                                                                            {0x70, 1 | 8},
                                                                            {0x38, setup.size},
                                                                            {0x90, setup.available},
                                                                            {0xa0, setup.used},
                                                                            {0x44, 1}}};
    for (std::size_t i = 0; i < writes.size(); ++i) {
      if ((without >> i & 1) == 0)
        write(writes[i].first, static_cast<std::uint32_t>(writes[i].second));
    }
    write(0x80, static_cast<std::uint32_t>(setup.descriptors));
    write(0x70, 1 | 8 | 4);
  }
  void turn() { (void)loop_.run_once(Deadline::after(Millis(0), "nothing")); }
  void pause(bool on) { on ? transport_->pause() : transport_->resume(); }
  // The state with a few bytes of the input over it: refused, or a device like any other.
  void save_and_restore(fuzz::Script& script) {
    transport_->pause();
    ByteWriter out;
    transport_->save(out);
    auto bytes = out.take();
    const auto changes = script.take<std::uint8_t>() % 4;
    for (int i = 0; i < changes; ++i)
      bytes[script.take<std::uint8_t>() % bytes.size()] = script.take<std::byte>();
    build();
    ByteReader in(bytes);
    const auto restored = transport_->restore(in);
    require(changes != 0 || restored.has_value());
    if (!restored) return build();
    transport_->resume();
  }

  sys::EventLoop loop_ = sys::EventLoop::create().value();
  std::unique_ptr<IoThread> io_ = IoThread::create(loop_).value();
  GuestMemory memory_ = GuestMemory::create(Bytes{0x1'0000}).value();
  testing_driver::DriverQueue driver_{memory_, kRings, kQueueSize};
  std::unique_ptr<MmioTransport> transport_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  log::init(2, log::Level::kOff, "");  // a guest at fault is no news here
  fuzz::Script script(data, size);
  Machine machine;
  for (int steps = 0; steps < 300 && !script.empty(); ++steps) machine.step(script);
  return 0;
}
