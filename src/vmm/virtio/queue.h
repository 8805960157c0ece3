// SPDX-License-Identifier: Apache-2.0
// A split virtqueue as the device sees it.
//
// Everything in the rings is written by the guest while we read it. A descriptor is copied once and
// the copy validated; a chain is bounded by the queue's size; nothing is allocated by the guest's
// numbers. A guest that breaks the rules gets kGuestFault, which stops its device.
//
// Source: Virtual I/O Device (VIRTIO) 1.2, section 2.7.
// Threads: none; the owner serialises.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>

#include "core/codec.h"
#include "core/result.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

// One request: host ranges, readable ones (guest to device) first.
class Chain {
 public:
  static constexpr std::size_t kMaxSegments = 256;

  std::uint16_t head() const { return head_; }
  std::span<const iovec> readable() const { return {segments_.data(), readable_count_}; }
  std::span<const iovec> writable() const {
    return {segments_.data() + readable_count_, count_ - readable_count_};
  }
  std::uint64_t readable_bytes() const { return readable_bytes_; }
  std::uint64_t writable_bytes() const { return writable_bytes_; }

  // Copies out of the readable part, from `offset` on. Returns the bytes copied.
  std::size_t read(std::uint64_t offset, std::span<std::byte> into) const;
  // Copies into the writable part, from `offset` on. Returns the bytes copied.
  std::size_t write(std::uint64_t offset, std::span<const std::byte> from) const;
  // The part [offset, offset + length) of the readable or writable segments, as host ranges.
  // Returns how many of `out` were filled; fewer bytes when the chain or `out` ends before.
  std::size_t readable_slice(std::uint64_t offset, std::uint64_t length,
                             std::span<iovec> out) const;
  std::size_t writable_slice(std::uint64_t offset, std::uint64_t length,
                             std::span<iovec> out) const;

 private:
  friend class Queue;
  std::array<iovec, kMaxSegments> segments_;
  std::array<Gpa, kMaxSegments> addresses_;
  std::size_t count_ = 0;
  std::size_t readable_count_ = 0;
  std::uint64_t readable_bytes_ = 0;
  std::uint64_t writable_bytes_ = 0;
  std::uint16_t head_ = 0;
};

// What the driver has set up through the transport.
struct QueueSetup {
  std::uint16_t size = 0;
  bool ready = false;
  Gpa descriptors = 0;
  Gpa available = 0;
  Gpa used = 0;
};

class Queue {
 public:
  explicit Queue(std::uint16_t max_size) : max_size_(max_size) {}

  std::uint16_t max_size() const { return max_size_; }
  QueueSetup& setup() { return setup_; }
  const QueueSetup& setup() const { return setup_; }

  // Checks the setup and starts at index 0. Errors: kGuestFault for a size that is no power of two
  // or over max_size, for misaligned rings, and for rings outside of RAM.
  Result<> enable(const GuestMemory& memory, bool event_index);
  // Touches the guest's memory no more: there is nothing to pop, and what is pushed goes nowhere.
  // The setup stays, for the driver reads it.
  void disable();
  // Back to the beginning, setup and all.
  void reset();
  // Everything below does nothing on a queue that is not enabled.
  bool enabled() const { return memory_ != nullptr; }

  // The next request, true; or false when there is none. Errors: kGuestFault.
  Result<bool> pop(Chain& chain);
  // Takes back the last popped request: it will be popped again.
  void undo_pop() { --next_available_; }
  // Gives a request back with so many bytes written to it.
  void push(const Chain& chain, std::uint32_t written);
  // The same, but the driver sees it only with publish(): requests that are one answer together (a
  // network frame over several buffers) must appear at once.
  void stage(const Chain& chain, std::uint32_t written);
  void publish();
  // Takes back what is staged: it will be popped again.
  void unstage();
  // Whether the driver wants an interrupt for what was pushed since the last call.
  bool needs_interrupt();
  // Asks to be notified of the next request; true when there is one already (pop again).
  bool arm();
  // As long as requests are being taken, the driver need not notify.
  void disarm();

  void save(ByteWriter& out) const;
  // Errors: kCorrupt.
  Result<> restore(ByteReader& in, const GuestMemory& memory, bool event_index);

 private:
  Result<> map_rings(const GuestMemory& memory);
  Result<> collect(Chain& chain, const std::byte* table, std::size_t entries, std::uint16_t index,
                   bool indirect_allowed);
  Result<> append(Chain& chain, std::uint64_t address, std::uint32_t length, bool writable);
  void set_flags(std::uint16_t flags);

  const GuestMemory* memory_ = nullptr;
  std::uint16_t max_size_;
  QueueSetup setup_;
  std::byte* descriptors_ = nullptr;  // host views of the three rings, valid while enabled
  std::byte* available_ = nullptr;
  std::byte* used_ = nullptr;
  std::uint16_t next_available_ = 0;
  std::uint16_t next_used_ = 0;
  std::uint16_t signalled_used_ = 0;
  std::uint16_t staged_ = 0;  // used elements that are written and not published
  bool event_index_ = false;
};

}  // namespace mvm::vmm
