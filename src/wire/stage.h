// SPDX-License-Identifier: Apache-2.0
// A stage puts one data frame together in a pipe of its own and sends it from there: the pages that
// a process has written to its pipe travel on to the peer without being copied.
//
// Linux 6.1's virtio port takes a pipe's pages only right when it is given all of them at once: it
// sizes its list by what the pipe holds and leaves the rest of the list without an end. Hence the
// pipe of our own, which is always sent whole, and never splice(2) from a process's pipe, which
// grows meanwhile. Source: drivers/char/virtio_console.c, port_fops_splice_write.
//
// Threads: none.
#pragma once

#include <cstddef>
#include <vector>

#include "core/result.h"
#include "sys/io.h"
#include "wire/frame.h"

namespace mvm::wire {

class Stage {
 public:
  // Less than this is cheaper to copy than to move.
  static constexpr std::size_t kLeast = 8 * 1024;

  static Result<Stage> create();

  // Moves up to `limit` bytes that pipe `from` holds now into a frame. Returns its payload's
  // length; 0 when they are fewer than kLeast or cannot be moved, and then nothing has changed.
  // Only when empty().
  std::size_t fill(int from, std::uint32_t stream, std::uint8_t channel, std::size_t limit);

  bool empty() const { return held_ == 0; }
  std::size_t held() const { return held_; }
  // Sends what is held to `to`. Errors: EAGAIN when `to` takes no more now; kIo when the receiver's
  // kernel has lost bytes for lack of memory; write's.
  Result<> drain(int to);

 private:
  Stage(sys::Pipe pipe, std::size_t room) : pipe_(std::move(pipe)), room_(room) {}
  std::size_t put_header(const Frame& frame, std::size_t length);
  std::vector<std::byte> take_back(std::size_t count);

  sys::Pipe pipe_;
  std::size_t room_;  // for payload, when every page is full
  std::size_t held_ = 0;
};

}  // namespace mvm::wire
