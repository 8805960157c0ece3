// SPDX-License-Identifier: Apache-2.0
// The host's side of the guest's exchange disk (ADR 0012): what clients send much of is put there
// and the agent told where it lies, and the other way round. A virtio port moves a page at a time,
// a disk a megabyte in one request.
//
// The host's half is cut into slots of the largest data frame's size. A stream fills slots one
// after the other; the agent's credit frees them. When none is free, and for little input, data
// goes the ordinary way.
//
// Threads: none.
#pragma once

#include <bitset>
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

class Exchange {
 public:
  using Send = std::function<void(const wire::Frame&)>;
  // `memory` backs the guest's disk. While `congested`, the guest is not told what has been read.
  Exchange(
      sys::EventLoop& loop, sys::UniqueFd memory, Send to_guest,
      std::function<bool()> congested = [] { return false; });
  ~Exchange() { loop_.cancel_deferred(this); }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // Passes a stream frame on to the guest, in order with the others of its stream. Data that may
  // become a larger piece waits for the end of the loop's turn, or of its frame.
  void send(const wire::Frame& frame);
  // The guest has taken so many bytes of the stream's input.
  void on_credit(std::uint32_t stream, std::uint32_t bytes);
  // The guest has closed the stream and reads none of its input any more.
  void on_closed(std::uint32_t stream);
  // Delivers a data-at frame of the guest as data frames and tells the guest that it has been read.
  // Errors: kGuestFault when it points to no slot of the guest, or to one that the guest has not
  // been told to be free again; those of `deliver`.
  Result<> receive(const wire::Frame& frame,
                   const std::function<Result<>(const wire::Frame&)>& deliver);
  // Tells the guest what has been read, if it takes more; call it for every frame of the guest.
  void tell_taken();
  // No stream is open, so nothing lies there: the memory goes back to the system.
  void give_back();

  std::size_t free_slots() const;

 private:
  static constexpr std::uint32_t kSlotSize = wire::kMaxInputChunk;
  static constexpr std::size_t kSlots = wire::kExchangeInput / kSlotSize;
  static constexpr std::size_t kGuestSlots = wire::kExchangeOutput / kSlotSize;
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
  std::function<bool()> congested_;
  std::bitset<kGuestSlots> untold_;
  std::vector<std::byte> piece_;  // of what the guest has put, on its way
  std::map<std::uint32_t, Input> inputs_;
  std::vector<bool> used_ = std::vector<bool>(kSlots);
  std::size_t next_slot_ = 0;
  bool touched_ = false;  // since the memory was given back
};

}  // namespace mvm::supervisor
