// SPDX-License-Identifier: Apache-2.0
// What a virtio device implements, and what the transport gives it.
//
//            driver sets DRIVER_OK                guest breaks a rule
//   reset ───────────────────────────▶ active ───────────────────────▶ failed (NEEDS_RESET)
//     ▲            activate()            │ notify(), descriptor events        │
//     └──────────── reset() ─────────────┴────────────────────────────────────┘
//                  driver writes status 0
//
// Threads: the transport calls every function under the device's lock; activate, notify, reset,
// save, restore and descriptor callbacks run on the I/O thread, read_config and write_config on a
// vcpu's. A device needs no lock of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "core/codec.h"
#include "core/result.h"
#include "core/units.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/queue.h"

namespace mvm::vmm {

// Source: VIRTIO 1.2, section 5.
enum class DeviceType : std::uint32_t {
  kNet = 1,
  kBlock = 2,
  kConsole = 3,
  kEntropy = 4,
  kBalloon = 5,
  kVsock = 19,
};

// Feature bits that the transport offers for every device (VIRTIO 1.2, section 6).
constexpr std::uint64_t kFeatureIndirect = 1ULL << 28;
constexpr std::uint64_t kFeatureEventIndex = 1ULL << 29;
constexpr std::uint64_t kFeatureVersion1 = 1ULL << 32;

// The transport, as an active device sees it.
class DeviceHost {
 public:
  using TimerId = std::uint64_t;
  virtual ~DeviceHost() = default;
  virtual const GuestMemory& memory() = 0;
  virtual Queue& queue(std::size_t index) = 0;
  virtual std::uint64_t accepted_features() const = 0;
  // Interrupts the guest for a used buffer, if the queue's driver wants it.
  virtual void signal_used(std::size_t index) = 0;
  // Interrupts the guest because the configuration space has changed.
  virtual void signal_config() = 0;
  // Marks the device as failed: the guest sees NEEDS_RESET. When the device's function that called
  // this has returned, the device is reset; no more calls come until the driver starts it anew.
  virtual void fail(const Error& error) = 0;
  // Watches a host descriptor (level-triggered epoll events; 0 silences); the callback runs on the
  // I/O thread under the device's lock. Watching again changes the events and the callback.
  virtual Result<> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> call) = 0;
  virtual void unwatch(int fd) = 0;
  // Calls back once on the I/O thread under the device's lock, unless cancelled.
  virtual TimerId after(Millis delay, std::function<void()> call) = 0;
  virtual void cancel(TimerId id) = 0;
};

class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;
  virtual DeviceType type() const = 0;
  // Without the transport's own bits.
  virtual std::uint64_t features() const = 0;
  // The largest size of each queue. Shape: one entry a queue, each ≤ Chain::kMaxSegments.
  virtual std::span<const std::uint16_t> queue_sizes() const = 0;
  // Reads from the configuration space; what lies outside of it reads as zero.
  virtual void read_config(std::uint32_t offset, std::span<std::byte> out) const = 0;
  virtual void write_config(std::uint32_t /*offset*/, std::span<const std::byte> /*in*/) {}
  // The driver is ready: queues are enabled. `host` stays valid until reset() or destruction.
  virtual Result<> activate(DeviceHost& host) = 0;
  // The driver has made requests available in this queue.
  virtual void notify(std::size_t queue) = 0;
  // The driver goes away: stop using host and queues.
  virtual void reset() = 0;
  // Waits until the host uses no guest memory for a request any more. Called at pause.
  virtual void quiesce() {}
  // The device's own state, apart from queues and registers. Called while the vcpus are paused and
  // no request is under way.
  virtual void save(ByteWriter& out) const = 0;
  // On a fresh device, before activate(). Errors: kCorrupt.
  virtual Result<> restore(ByteReader& in) = 0;
};

}  // namespace mvm::vmm
