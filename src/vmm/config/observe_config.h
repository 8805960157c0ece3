// SPDX-License-Identifier: Apache-2.0
// Where the monitor writes its log and its metrics.
//
// Source: Firecracker API 1.x, Logger and Metrics.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm::vmm {

enum class LogLevel { kOff, kError, kWarning, kInfo, kDebug, kTrace };

// Upper and lower case are the same; "Warn" is "Warning". Errors: kInvalidArgument.
Result<LogLevel> parse_log_level(std::string_view text);
// "Off", "Error", "Warn", "Info", "Debug", "Trace".
std::string_view log_level_name(LogLevel level);

// What a PUT /logger changes: what is absent stays as it is, but the level becomes kInfo.
struct LoggerConfig {
  std::optional<std::string> log_path;  // file or named pipe
  std::optional<LogLevel> level;
  std::optional<bool> show_level;
  std::optional<bool> show_log_origin;
  std::optional<std::string> module;  // only messages of modules that begin with it

  friend bool operator==(const LoggerConfig&, const LoggerConfig&) = default;
};

struct MetricsConfig {
  std::string metrics_path;  // file or named pipe
  bool emit_id = false;
  std::map<std::string, std::string> properties;  // written with each set of metrics

  friend bool operator==(const MetricsConfig&, const MetricsConfig&) = default;
};

// Errors: kInvalidArgument: empty paths.
Result<> validate(const LoggerConfig& config);
Result<> validate(const MetricsConfig& config);

}  // namespace mvm::vmm
