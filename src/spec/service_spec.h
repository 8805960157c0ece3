// SPDX-License-Identifier: Apache-2.0
// Services: what runs in a guest beside or instead of one command, and how its health is told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/units.h"

namespace mvm::spec {

// Tells whether what runs does its work. Exactly one of command, tcp and http is set.
struct HealthSpec {
  std::vector<std::string> command;  // healthy: it exits with 0
  std::uint32_t tcp = 0;             // healthy: the port takes a connection
  std::string http;                  // ":8080/path": healthy: it answers with 2xx or 3xx
  Millis interval = Millis(10'000);
  Millis timeout = Millis(5'000);
  std::uint32_t retries = 3;        // failures in a row that make it unhealthy
  Millis start_period = Millis(0);  // failures that early do not count
};

struct ServiceSpec {
  enum class Restart { kNo, kOnFailure, kAlways };
  std::string name;
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> env;
  std::string user;
  std::string working_dir;
  Restart restart = Restart::kOnFailure;
  std::vector<std::string> after;  // services that are started before, and stopped after it
  std::string stop_signal = "TERM";
  Millis stop_grace = Millis(10'000);
  std::optional<HealthSpec> health;
};

}  // namespace mvm::spec
