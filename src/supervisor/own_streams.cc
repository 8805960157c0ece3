// SPDX-License-Identifier: Apache-2.0
#include "supervisor/own_streams.h"

#include "core/log.h"

namespace mvm::supervisor {

OwnStreams::OwnStreams(Router& router)
    : router_(router),
      peer_(router.add_peer([this](const wire::Frame& frame) {
        if (auto done = streams_.handle(frame); !done) log::warn(done.error().text());
      })),
      streams_([this](std::uint32_t stream, wire::FrameType type, std::uint8_t channel,
                      std::span<const std::byte> payload) {
        if (auto done = router_.from_peer(peer_, wire::Frame{stream, type, channel, payload});
            !done)
          log::warn(done.error().text());
      }) {}

OwnStreams::~OwnStreams() { router_.remove_peer(peer_); }

}  // namespace mvm::supervisor
