// SPDX-License-Identifier: Apache-2.0
// Input for the guest in bulk: what clients send much of is put on the guest's input disk, and the
// agent is told where it lies. A virtio port gives the guest a page at a time; from a disk it reads
// a megabyte in one request, straight into the process's pipe (ADR 0012).
//
// The disk is cut into slots of the largest data frame's size. A stream fills slots one after the
// other; the agent's credit frees them. When none is free, and for little input, data goes the
// ordinary way.
//
// Threads: none.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "core/result.h"
#include "sys/event_loop.h"
#include "sys/unique_fd.h"
#include "wire/messages.h"

namespace mvm::supervisor {

class InputDisk {
 public:
  using Send = std::function<void(const wire::Frame&)>;
  // `memory` backs the guest's disk.
  InputDisk(sys::EventLoop& loop, sys::UniqueFd memory, Send to_guest);
  ~InputDisk() { loop_.cancel_deferred(this); }
  InputDisk(const InputDisk&) = delete;
  InputDisk& operator=(const InputDisk&) = delete;

  // Passes a stream frame on to the guest, in order with the others of its stream. Data that may
  // become a larger piece waits for the end of the loop's turn, or of its frame.
  void send(const wire::Frame& frame);
  // The guest has taken so many bytes of the stream's input.
  void on_credit(std::uint32_t stream, std::uint32_t bytes);
  // The guest has closed the stream and reads none of its input any more.
  void on_closed(std::uint32_t stream);

  std::size_t free_slots() const;

 private:
  static constexpr std::uint32_t kSlotSize = wire::kMaxInputChunk;
  static constexpr std::size_t kSlots = wire::kInputDiskSize / kSlotSize;
  struct Piece {  // sent, not credited yet
    std::uint32_t bytes = 0;
    std::optional<std::size_t> slot;
  };
  struct Input {
    std::deque<Piece> sent;
    std::optional<std::size_t> slot;  // the one that is being filled
    std::uint32_t placed = 0;         // bytes there, whole blocks
    std::vector<std::byte> tail;      // of a block that is not full yet
    bool frame_ended = true;          // the last piece was its frame's end
  };

  void hold(Input& input, std::uint32_t stream, std::span<const std::byte> bytes);
  std::size_t place(Input& input, std::span<const std::byte> bytes);
  bool write_blocks(Input& input, std::span<const std::byte> blocks);
  void flush(std::uint32_t stream, Input& input);
  void flush_ended();
  void send_inline(std::uint32_t stream, Input& input, std::span<const std::byte> bytes);
  std::optional<std::size_t> take_slot();
  void release(std::size_t slot);

  sys::EventLoop& loop_;
  sys::UniqueFd memory_;
  Send to_guest_;
  std::map<std::uint32_t, Input> inputs_;
  std::vector<bool> used_ = std::vector<bool>(kSlots);
  std::size_t next_slot_ = 0;
};

}  // namespace mvm::supervisor
