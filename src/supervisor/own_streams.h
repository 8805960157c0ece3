// SPDX-License-Identifier: Apache-2.0
// Streams into the guest that the supervisor opens itself, as a client of its own router.
#pragma once

#include "agent_client/stream_table.h"
#include "supervisor/router.h"

namespace mvm::supervisor {

class OwnStreams {
 public:
  explicit OwnStreams(Router& router);
  ~OwnStreams();
  OwnStreams(const OwnStreams&) = delete;
  OwnStreams& operator=(const OwnStreams&) = delete;

  // As StreamTable::open().
  Result<std::shared_ptr<agent_client::Stream>> open(const wire::Open& request,
                                                     agent_client::StreamHandlers handlers) {
    return streams_.open(request, std::move(handlers));
  }

 private:
  Router& router_;
  Router::PeerId peer_;
  agent_client::StreamTable streams_;
};

}  // namespace mvm::supervisor
