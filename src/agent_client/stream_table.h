// SPDX-License-Identifier: Apache-2.0
// The host side of agent streams: opens them, counts credit both ways, hands frames to their owner.
//
// It knows no descriptor: frames go out through a function and come in through handle(), so the CLI
// uses it over the supervisor's socket and the supervisor over its own router.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "wire/messages.h"

namespace mvm::agent_client {

class StreamTable;

// What the owner of a stream is told.
struct StreamHandlers {
  // Bytes of an output channel. The owner calls Stream::consumed() once it has passed them on.
  std::function<void(std::uint8_t channel, std::span<const std::byte>)> on_data;
  std::function<void(std::uint8_t channel)> on_eof;
  // More input may be sent.
  std::function<void()> on_credit;
  std::function<void(std::uint32_t pid)> on_started;
  // The last call of a stream.
  std::function<void(const wire::Closed&)> on_closed;
};

class Stream {
 public:
  // Bytes of input that may be sent now.
  std::size_t credit() const { return credit_; }
  // Sends input; at most credit() bytes.
  void send(std::span<const std::byte> bytes);
  void send_eof();
  void send_signal(int signum);
  void send_resize(std::uint16_t rows, std::uint16_t columns);
  void cancel();
  // Cancels and forgets the owner: no handler is called any more.
  void abandon();
  // Returns credit for output that has been passed on.
  void consumed(std::uint8_t channel, std::size_t bytes);
  bool closed() const { return closed_; }

 private:
  friend class StreamTable;
  Stream(StreamTable& table, std::uint32_t id, StreamHandlers handlers)
      : table_(table), id_(id), handlers_(std::move(handlers)) {}
  StreamTable& table_;
  std::uint32_t id_;
  StreamHandlers handlers_;
  std::size_t credit_ = wire::kInputWindow;
  std::size_t owed_[wire::kChannels] = {};  // consumed, not granted again yet
  std::size_t window_[wire::kChannels] = {0, wire::kOutputWindow, wire::kOutputWindow};
  bool closed_ = false;
};

class StreamTable {
 public:
  using Send = std::function<void(std::uint32_t stream, wire::FrameType type, std::uint8_t channel,
                                  std::span<const std::byte> payload)>;
  explicit StreamTable(Send send) : send_(std::move(send)) {}

  // Errors: kInvalidArgument when the request does not fit into a frame.
  Result<std::shared_ptr<Stream>> open(const wire::Open& request, StreamHandlers handlers);
  // One frame of a stream. Errors: kGuestFault when the peer broke the contract.
  Result<> handle(const wire::Frame& frame);
  // Ends every stream with this outcome: the connection is gone.
  void close_all(const wire::Closed& closed);
  bool empty() const { return streams_.empty(); }

 private:
  friend class Stream;
  void finish(std::uint32_t id, const wire::Closed& closed);
  Send send_;
  std::map<std::uint32_t, std::shared_ptr<Stream>> streams_;
  std::uint32_t next_id_ = 1;
};

}  // namespace mvm::agent_client
