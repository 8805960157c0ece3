// SPDX-License-Identifier: Apache-2.0
#include "supervisor/router.h"

#include <vector>

namespace mvm::supervisor {

using wire::Frame;
using wire::FrameType;

namespace {

// Credit is returned for what was sent, so a window never grows beyond its first size; a peer that
// grants without end and then stops reading would otherwise make us hold all that the other one
// sends.
bool grant(std::uint64_t& window, std::uint8_t channel, std::uint32_t bytes) {
  window += bytes;
  return window <= wire::window_of(channel);
}

}  // namespace

Router::PeerId Router::add_peer(Send deliver) {
  const PeerId id = next_peer_++;
  peers_.emplace(id, std::move(deliver));
  return id;
}

void Router::remove_peer(PeerId peer) {
  peers_.erase(peer);
  for (auto it = guest_streams_.lower_bound({peer, 0});
       it != guest_streams_.end() && it->first.first == peer;) {
    routes_[it->second].peer = 0;
    to_guest_(Frame{it->second, FrameType::kCancel, 0, {}});
    it = guest_streams_.erase(it);
  }
}

void Router::answer_refused(PeerId peer, std::uint32_t stream, const std::string& why) {
  const auto payload = wire::encode(wire::Closed{wire::Outcome::kRefused, 0, why});
  peers_.at(peer)(Frame{stream, FrameType::kClosed, 0, payload});
}

Result<> Router::open_route(PeerId peer, const Frame& frame) {
  if (guest_streams_.contains({peer, frame.stream}))
    return Error(Errc::kInvalidArgument, "client opened a stream that is open");
  if (routes_.size() >= wire::kMaxStreams) {
    answer_refused(peer, frame.stream,
                   "more than " + std::to_string(wire::kMaxStreams) + " streams are open");
    return {};
  }
  while (next_stream_ == 0 || routes_.contains(next_stream_)) ++next_stream_;
  const std::uint32_t id = next_stream_++;
  routes_.emplace(id, Route{peer, frame.stream});
  guest_streams_[{peer, frame.stream}] = id;
  to_guest_(Frame{id, FrameType::kOpen, 0, frame.payload});
  return {};
}

Result<> Router::from_peer(PeerId peer, const Frame& frame) {
  if (frame.type == FrameType::kOpen) return open_route(peer, frame);
  const auto it = guest_streams_.find({peer, frame.stream});
  if (it == guest_streams_.end()) return {};  // closed while this was under way
  Route& route = routes_[it->second];
  switch (frame.type) {
    case FrameType::kData:
      if (frame.channel != wire::kStdin || frame.payload.size() > route.to_guest_window)
        return Error(Errc::kInvalidArgument, "client sent more than was granted");
      route.to_guest_window -= frame.payload.size();
      break;
    case FrameType::kCredit:
      if (!grant(route.to_peer_window[frame.channel], frame.channel,
                 MVM_TRY(wire::decode_u32(frame.payload))))
        return Error(Errc::kInvalidArgument, "client granted more than it was sent");
      break;
    case FrameType::kEof:
    case FrameType::kSignal:
    case FrameType::kResize:
    case FrameType::kCancel:
      break;
    default:
      return Error(Errc::kInvalidArgument, "client sent a frame that is the guest's to send");
  }
  to_guest_(Frame{it->second, frame.type, frame.channel, frame.payload, frame.rest});
  return {};
}

void Router::deliver(const Route& route, const Frame& frame) {
  const auto peer = peers_.find(route.peer);
  if (peer != peers_.end())
    peer->second(Frame{route.peer_stream, frame.type, frame.channel, frame.payload});
}

Result<> Router::from_guest(const Frame& frame) {
  const auto it = routes_.find(frame.stream);
  if (it == routes_.end())
    return Error(Errc::kGuestFault, "guest agent sent a frame for a stream that is not open");
  Route& route = it->second;
  switch (frame.type) {
    case FrameType::kData:
      if (frame.payload.size() > route.to_peer_window[frame.channel])
        return Error(Errc::kGuestFault, "guest agent sent more data than was granted");
      route.to_peer_window[frame.channel] -= frame.payload.size();
      break;
    case FrameType::kCredit:
      if (frame.channel != wire::kStdin ||
          !grant(route.to_guest_window, frame.channel, MVM_TRY(wire::decode_u32(frame.payload))))
        return Error(Errc::kGuestFault, "guest agent granted more than it was sent");
      break;
    case FrameType::kStarted:
    case FrameType::kEof:
      break;
    case FrameType::kClosed: {
      MVM_TRY(wire::decode_closed(frame.payload));
      const Route last = route;
      routes_.erase(it);
      guest_streams_.erase({last.peer, last.peer_stream});
      deliver(last, frame);
      return {};
    }
    default:
      return Error(Errc::kGuestFault, "guest agent sent a frame that is the host's to send");
  }
  deliver(route, frame);
  return {};
}

void Router::close_all(const wire::Closed& closed) {
  const auto payload = wire::encode(closed);
  const auto routes = std::exchange(routes_, {});
  guest_streams_.clear();
  for (const auto& [stream, route] : routes)
    deliver(route, Frame{stream, FrameType::kClosed, 0, payload});
}

}  // namespace mvm::supervisor
