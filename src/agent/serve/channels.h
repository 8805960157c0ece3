// SPDX-License-Identifier: Apache-2.0
// The two directions of a stream's bytes, each with its credit: a process's output to the link, and
// the link to its stdin.
//
// A window bounds what is under way on a channel, so a reader that stops holds back only its own
// stream and the memory of both sides is bounded. Numbers: wire/limits.h.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "agent/serve/exchange.h"
#include "core/result.h"
#include "sys/event_loop.h"
#include "sys/io.h"
#include "sys/unique_fd.h"
#include "wire/link.h"

namespace mvm::agent {

// Where the bytes of a channel go to or come from.
struct ChannelId {
  std::uint32_t stream = 0;
  std::uint8_t channel = 0;
};

// Moves a pipe's or terminal's output into data frames, as far as the host's credit and the link's
// queue allow.
class OutputPump {
 public:
  // `on_done` is called once, after the eof frame.
  OutputPump(sys::EventLoop& loop, wire::Link& link, Exchange& exchange, ChannelId id,
             std::function<void()> on_done);
  ~OutputPump() { drop(); }
  OutputPump(const OutputPump&) = delete;
  OutputPump& operator=(const OutputPump&) = delete;

  void start(sys::UniqueFd fd);
  // Sends what may be sent now; called by the loop, on credit and when the link has room again.
  void pump();
  void grant(std::uint32_t bytes);
  // The process is gone: what has been written is still sent, what a background child may write
  // later is not waited for.
  void process_ended();
  // Forgets the output without a word.
  void drop();
  // Gives the output to somebody else; what it holds is unread.
  sys::UniqueFd release();
  bool done() const { return !fd_; }

 private:
  std::size_t send_by_disk();
  std::size_t lose(const std::string& why);
  void count(std::size_t sent);
  void finish();
  void watch(bool on);

  sys::EventLoop& loop_;
  wire::Link& link_;
  Exchange& exchange_;
  ChannelId id_;
  std::function<void()> on_done_;
  sys::UniqueFd fd_;
  std::uint32_t credit_ = wire::kOutputWindow;
  std::optional<std::size_t> left_;  // after the process's end: bytes still to be sent
  std::size_t to_page_ = 0;          // bytes before the next that begins a page
  int unpaged_ = 0;                  // how often in a row there was no whole page
  bool watched_ = false;
  bool enlarged_ = false;
};

// Queues what the host sends and feeds it to the process as it reads.
class InputQueue {
 public:
  InputQueue(sys::EventLoop& loop, wire::Link& link, Exchange& exchange, ChannelId id, bool tty);
  ~InputQueue() { drop(); }
  InputQueue(const InputQueue&) = delete;
  InputQueue& operator=(const InputQueue&) = delete;

  void start(sys::UniqueFd fd) { fd_ = std::move(fd); }
  // Errors: kGuestFault when the host exceeds its window or sends after the end.
  Result<> receive(std::span<const std::byte> bytes);
  // The same for bytes on the exchange disk. Errors: also kGuestFault when there is none.
  Result<> receive_at(const wire::DataAt& where);
  // No more bytes: the pipe is closed when the queue is empty; a terminal gets its end-of-file
  // character.
  Result<> finish();
  // Nobody reads any more: the descriptor is closed, later input is taken and thrown away.
  void drop();
  int fd() const { return fd_.get(); }

 private:
  // What waits: bytes, or a place on the exchange disk.
  struct Block {
    std::vector<std::byte> bytes;
    std::uint64_t offset = 0;
    std::size_t length = 0;
    std::uint64_t end() const { return offset + length; }
    bool on_disk() const { return bytes.empty(); }
  };
  Result<> take_from_window(std::size_t bytes);
  bool idle() const { return queue_.empty() && staged_ == 0; }
  Result<> stage_front();
  Result<std::size_t> write_front();
  void advance(std::size_t bytes);
  void feed();
  void give_up(const Error& error);
  void consumed(std::size_t bytes);
  void grant();
  void watch(bool on);

  sys::EventLoop& loop_;
  wire::Link& link_;
  Exchange& exchange_;
  ChannelId id_;
  bool tty_;
  sys::UniqueFd fd_;
  std::deque<Block> queue_;
  std::size_t head_ = 0;  // bytes of the first block already written
  // What the disk has given and the process's pipe has not taken yet. In a pipe of its own, because
  // a pipe is locked while a disk fills it, and the process could not read meanwhile.
  sys::Pipe stage_;
  std::size_t staged_ = 0;
  std::size_t received_ = 0;
  std::uint32_t window_ = wire::kInputWindow;  // what the host may still send
  std::uint32_t ungranted_ = 0;                // consumed, not told yet
  bool by_disk_ = false;                       // what is not granted yet came by the disk, in part
  bool unstaged_ = false;                      // moving has failed
  bool finished_ = false;
  bool watched_ = false;
  bool enlarged_ = false;
};

}  // namespace mvm::agent
