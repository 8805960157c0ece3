// SPDX-License-Identifier: Apache-2.0
// A Link sends and receives frames over one connected, non-blocking descriptor inside an event
// loop. Guest agent, supervisor and CLI all speak through it.
//
// Threads: none; everything happens in the loop's thread.
#pragma once

#include <deque>
#include <functional>
#include <initializer_list>
#include <optional>
#include <vector>

#include "core/result.h"
#include "sys/event_loop.h"
#include "sys/unique_fd.h"
#include "wire/frame.h"
#include "wire/messages.h"
#include "wire/stage.h"

namespace mvm::wire {

class Link {
 public:
  struct Handlers {
    // One received frame; its payload is valid during the call. An error closes the link.
    std::function<Result<>(const Frame&)> on_frame;
    // The link has ended: nothing for an orderly end of file. Called once; the owner may destroy
    // the link later, not inside.
    std::function<void(std::optional<Error>)> on_closed;
    // The queue has fallen below kLinkHighWater after having been above it. May be empty.
    std::function<void()> on_writable;
  };

  Link(sys::EventLoop& loop, sys::UniqueFd fd, Handlers handlers);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Starts watching the descriptor. Errors: epoll's.
  Result<> start();

  // Queues a frame; it is sent when the loop's turn ends, with all others of that turn, or at once
  // when much is queued. Never blocks; after the end it is dropped.
  void send(std::uint32_t stream, FrameType type, std::uint8_t channel,
            std::span<const std::byte> payload);
  void send_control(FrameType type, const Payload& payload) { send(0, type, 0, payload); }
  // Reads up to `limit` bytes from `fd` straight into a data frame; moves them without a copy when
  // `fd` is a pipe that holds much and nothing is queued. Returns the count; 0 at end of file.
  // Errors: read's (errno EAGAIN when there is nothing).
  Result<std::size_t> send_from(int fd, std::uint32_t stream, std::uint8_t channel,
                                std::size_t limit);

  bool open() const { return open_; }
  // True while more should not be produced.
  bool congested() const { return queued_ >= kLinkHighWater || !stage_empty(); }
  std::size_t queued() const { return queued_ + (stage_ ? stage_->held() : 0); }
  // Ends the link as if the peer had: on_closed is called.
  void close(std::optional<Error> error);
  int fd() const { return fd_.get(); }

 private:
  // Unlike std::vector it does not write zeros over space that is about to be read into.
  class Block;
  enum class Gathered { kMore, kAll, kEnd };
  void on_events(std::uint32_t events);
  void schedule_flush();
  void drop_front();
  void stop_writing();
  bool send_at_once(std::uint32_t stream, FrameType type, std::uint8_t channel,
                    std::span<const std::byte> payload);
  void queue_rest(std::initializer_list<std::span<const std::byte>> parts, std::size_t sent);
  Gathered gather();
  Result<bool> read_ready();
  void flush();
  void update_interest();
  Block& tail(std::size_t room);
  bool stage_empty() const { return !stage_ || stage_->empty(); }
  std::size_t move_from(int fd, std::uint32_t stream, std::uint8_t channel, std::size_t limit);
  bool drain_stage();
  void broken(const Error& error);

  sys::EventLoop& loop_;
  sys::UniqueFd fd_;
  Handlers handlers_;
  FrameParser parser_;
  std::deque<Block> queue_;
  std::deque<Block>
      spare_;  // emptied blocks: new ones are pages that the kernel has to clear first
  std::optional<Stage> stage_;    // goes before the queue; made when it is first needed
  std::optional<Error> failure_;  // of reading, to be told behind what has been read
  std::size_t head_sent_ = 0;
  std::size_t queued_ = 0;
  std::uint32_t interest_ = 0;
  bool open_ = true;
  bool writable_ = true;
  bool was_congested_ = false;
};

}  // namespace mvm::wire
