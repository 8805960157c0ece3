// SPDX-License-Identifier: Apache-2.0
#include "agent_client/stream_table.h"

#include <algorithm>

namespace mvm::agent_client {

using wire::FrameType;

void Stream::send(std::span<const std::byte> bytes) {
  if (closed_) return;
  credit_ -= std::min(credit_, bytes.size());
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), wire::kMaxInputChunk));
    table_.send_(id_, FrameType::kData, wire::kStdin, part);
    bytes = bytes.subspan(part.size());
  }
}

void Stream::send_eof() {
  if (!closed_) table_.send_(id_, FrameType::kEof, wire::kStdin, {});
}

void Stream::send_signal(int signum) {
  if (!closed_)
    table_.send_(id_, FrameType::kSignal, 0, wire::encode_u32(static_cast<std::uint32_t>(signum)));
}

void Stream::send_resize(std::uint16_t rows, std::uint16_t columns) {
  if (!closed_) table_.send_(id_, FrameType::kResize, 0, wire::encode(wire::Resize{rows, columns}));
}

void Stream::cancel() {
  if (!closed_) table_.send_(id_, FrameType::kCancel, 0, {});
}

void Stream::abandon() {
  cancel();
  handlers_ = StreamHandlers{};
  handlers_.on_data = [this](std::uint8_t channel, std::span<const std::byte> bytes) {
    consumed(channel, bytes.size());
  };
}

void Stream::consumed(std::uint8_t channel, std::size_t bytes) {
  std::size_t& owed = owed_[channel];
  owed += bytes;
  if (closed_ || owed < wire::grant_step(channel)) return;
  window_[channel] += owed;
  table_.send_(id_, FrameType::kCredit, channel,
               wire::encode_u32(static_cast<std::uint32_t>(owed)));
  owed = 0;
}

Result<std::shared_ptr<Stream>> StreamTable::open(const wire::Open& request,
                                                  StreamHandlers handlers) {
  const wire::Payload payload = wire::encode(request);
  if (payload.size() > wire::kMaxPayload)
    return Error(Errc::kInvalidArgument, "command line and environment are larger than " +
                                             std::to_string(wire::kMaxPayload / 1024) + " KiB")
        .with_hint("pass large data on stdin or with mvmctl cp");
  const std::uint32_t id = next_id_++;
  auto stream = std::shared_ptr<Stream>(new Stream(*this, id, std::move(handlers)));
  streams_.emplace(id, stream);
  send_(id, FrameType::kOpen, 0, payload);
  return stream;
}

Result<> StreamTable::handle(const wire::Frame& frame) {
  const auto it = streams_.find(frame.stream);
  if (it == streams_.end()) return {};  // closed a moment ago
  const std::shared_ptr<Stream> stream = it->second;
  const StreamHandlers& handlers = stream->handlers_;
  switch (frame.type) {
    case FrameType::kStarted: {
      const std::uint32_t pid = MVM_TRY(wire::decode_u32(frame.payload));
      if (handlers.on_started) handlers.on_started(pid);
      return {};
    }
    case FrameType::kData:
      if (frame.payload.size() > stream->window_[frame.channel])
        return Error(Errc::kGuestFault, "agent protocol: more data than was granted");
      stream->window_[frame.channel] -= frame.payload.size();
      handlers.on_data(frame.channel, frame.payload);
      return {};
    case FrameType::kEof:
      if (handlers.on_eof) handlers.on_eof(frame.channel);
      return {};
    case FrameType::kCredit:
      stream->credit_ += MVM_TRY(wire::decode_u32(frame.payload));
      if (handlers.on_credit) handlers.on_credit();
      return {};
    case FrameType::kClosed:
      finish(frame.stream, MVM_TRY(wire::decode_closed(frame.payload)));
      return {};
    default:
      return Error(Errc::kGuestFault, "agent protocol: unexpected frame on a stream");
  }
}

void StreamTable::finish(std::uint32_t id, const wire::Closed& closed) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return;
  const std::shared_ptr<Stream> stream = it->second;
  streams_.erase(it);
  stream->closed_ = true;
  if (stream->handlers_.on_closed) stream->handlers_.on_closed(closed);
}

void StreamTable::close_all(const wire::Closed& closed) {
  while (!streams_.empty()) finish(streams_.begin()->first, closed);
}

}  // namespace mvm::agent_client
