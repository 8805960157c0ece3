// SPDX-License-Identifier: Apache-2.0
// TCP forwards through the agent: every connection to a listener here becomes a connection inside
// the guest. Works on every backend and without a guest network.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "agent_client/client.h"
#include "sys/unique_fd.h"

namespace mvm::agent_client {

class Forwarder {
 public:
  // `target` is "IP:PORT" as the guest sees it.
  Forwarder(Client& client, sys::UniqueFd listener, std::string target);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;
  Result<> start();

 private:
  class Relay;
  void accept();
  Client& client_;
  sys::UniqueFd listener_;
  std::string target_;
  std::list<std::unique_ptr<Relay>> relays_;
};

}  // namespace mvm::agent_client
