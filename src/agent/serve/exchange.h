// SPDX-License-Identifier: Apache-2.0
// The disk over which host and guest pass bytes in bulk (ADR 0012): read and written past the page
// cache, by requests of up to a megabyte that move pages between pipe and disk. The guest's
// processor touches no byte, where a virtio port takes a copy and a page at a time.
//
// The host's half comes first; what lies there is told by its data-at frames. Ours is cut into
// slots: one is in use from put() until the host has read it.
//
// Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/result.h"
#include "sys/io.h"
#include "sys/unique_fd.h"
#include "wire/messages.h"

namespace mvm::agent {

class Exchange {
 public:
  // Finds the disk and opens it; called once.
  using Open = std::function<Result<sys::UniqueFd>()>;
  explicit Exchange(Open open) : open_(std::move(open)) {}

  // Opens the disk, while nobody but us runs in the guest. What fails is told by accept().
  void prepare() { (void)open(); }
  // Errors: kGuestFault when this guest has none; also when `where` is not in the host's half.
  Result<> accept(const wire::DataAt& where);
  // Whether its pages can be moved. Those of a file would change while they wait in a pipe.
  bool moves() const { return direct_; }
  // Moves up to `length` bytes from `offset` into an empty pipe. Returns the count, at least 1.
  // Errors: the disk's.
  Result<std::size_t> move(int pipe, std::uint64_t offset, std::size_t length);
  // Copies up to `length` bytes from `offset` as far as `fd` takes them. Errors: EAGAIN when it
  // takes none now; those of writing; the disk's.
  Result<std::size_t> copy(int fd, std::uint64_t offset, std::size_t length);

  // Takes `length` bytes out of a pipe that holds as much and puts them into a slot, in whole
  // blocks. Nothing when none is free, or when the disk takes none of them. What has been taken out
  // of the pipe and not put is in rest().
  // Errors: kIo when some of them are lost.
  Result<std::optional<wire::DataAt>> put(int pipe, std::size_t length);
  // The pipe with what put() could not place, and how much that is. To be emptied at once.
  int rest() const { return stage_.read_end.get(); }
  std::size_t rest_size() const;
  // Throws away what is in there.
  void drop_rest() { stage_ = {}; }
  // The host has read a slot. Errors: kGuestFault when it is none of ours.
  Result<> taken(std::uint32_t offset);

 private:
  static constexpr std::uint32_t kSlotSize = wire::kMaxInputChunk;
  static constexpr std::size_t kSlots = wire::kExchangeOutput / kSlotSize;
  Result<> open();
  Result<> try_open();
  bool open_stage();
  std::uint32_t write_stage(std::uint64_t offset, std::uint32_t length);

  Open open_;
  std::optional<Error> unopened_;
  sys::UniqueFd disk_;
  bool direct_ = false;
  std::unique_ptr<std::byte, void (*)(void*)> buffer_{nullptr, nullptr};
  sys::Pipe stage_;
  std::vector<bool> used_ = std::vector<bool>(kSlots);
};

}  // namespace mvm::agent
