// SPDX-License-Identifier: Apache-2.0
// Joins the streams of many clients to the one connection of the guest agent.
//
// Each client numbers its streams itself; towards the guest they get numbers of ours. Both
// directions are held to their granted windows here, so that neither a guest nor a client can make
// the supervisor hold more than streams × window bytes.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>

#include "core/result.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace mvm::supervisor {

class Router {
 public:
  using PeerId = std::uint32_t;
  using Send = std::function<void(const wire::Frame&)>;

  explicit Router(Send to_guest) : to_guest_(std::move(to_guest)) {}

  // `deliver` gets the frames of the peer's streams, with the peer's numbers.
  PeerId add_peer(Send deliver);
  // The peer is gone: its streams are cancelled in the guest, what still comes for them is dropped.
  void remove_peer(PeerId peer);

  // A stream frame of a client. Errors: kInvalidArgument when the client broke the protocol; its
  // link is then closed.
  Result<> from_peer(PeerId peer, const wire::Frame& frame);
  // A stream frame of the guest. Errors: kGuestFault when the guest broke the protocol; the machine
  // has then failed.
  Result<> from_guest(const wire::Frame& frame);

  // The guest is gone: every open stream is answered with this.
  void close_all(const wire::Closed& closed);

  std::size_t open_streams() const { return routes_.size(); }

 private:
  struct Route {
    PeerId peer = 0;  // 0: nobody listens any more
    std::uint32_t peer_stream = 0;
    std::uint64_t to_guest_window = wire::kInputWindow;
    std::array<std::uint64_t, wire::kChannels> to_peer_window = {0, wire::kOutputWindow,
                                                                 wire::kOutputWindow};
  };
  Result<> open_route(PeerId peer, const wire::Frame& frame);
  void answer_refused(PeerId peer, std::uint32_t stream, const std::string& why);
  void deliver(const Route& route, const wire::Frame& frame);

  Send to_guest_;
  std::map<PeerId, Send> peers_;
  std::unordered_map<std::uint32_t, Route> routes_;  // by guest stream
  std::map<std::pair<PeerId, std::uint32_t>, std::uint32_t>
      guest_streams_;  // (peer, its stream) → guest stream
  PeerId next_peer_ = 1;
  std::uint32_t next_stream_ = 1;
};

}  // namespace mvm::supervisor
