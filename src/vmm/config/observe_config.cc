// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/observe_config.h"

#include <array>

#include "vmm/config/text_checks.h"

namespace mvm::vmm {
namespace {

struct LevelName {
  std::string_view name;
  LogLevel level;
};

// The first name of a level is the one that is printed.
constexpr std::array<LevelName, 7> kLevels{{{"Off", LogLevel::kOff},
                                            {"Error", LogLevel::kError},
                                            {"Warn", LogLevel::kWarning},
                                            {"Warning", LogLevel::kWarning},
                                            {"Info", LogLevel::kInfo},
                                            {"Debug", LogLevel::kDebug},
                                            {"Trace", LogLevel::kTrace}}};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_letters(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

}  // namespace

Result<LogLevel> parse_log_level(std::string_view text) {
  for (const LevelName& entry : kLevels) {
    if (same_letters(entry.name, text)) return entry.level;
  }
  return Error(Errc::kInvalidArgument,
               "unknown log level '" + std::string(text) +
                   "', expected one of Off, Error, Warning, Info, Debug, Trace");
}

std::string_view log_level_name(LogLevel level) {
  for (const LevelName& entry : kLevels) {
    if (entry.level == level) return entry.name;
  }
  return "";
}

Result<> validate(const LoggerConfig& config) {
  if (config.log_path) return check_path("log_path", *config.log_path);
  return {};
}

Result<> validate(const MetricsConfig& config) {
  return check_path("metrics_path", config.metrics_path);
}

}  // namespace mvm::vmm
