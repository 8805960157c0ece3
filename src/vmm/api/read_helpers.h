// SPDX-License-Identifier: Apache-2.0
// What the readers share. Internal to this module.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "vmm/api/fields.h"
#include "vmm/config/rate_limiter_config.h"

namespace mvm::vmm {

constexpr std::string_view kHugePageNames[] = {"None", "Transparent", "2M"};
constexpr std::string_view kCacheTypeNames[] = {"Unsafe", "Writeback"};
constexpr std::string_view kIoEngineNames[] = {"Sync", "Async"};
constexpr std::string_view kMmdsVersionNames[] = {"V1", "V2"};

// An enumeration whose values are in the order of the names.
template <class Enum>
std::optional<Enum> read_enum(Fields& fields, std::string_view name,
                              std::span<const std::string_view> names, Need need) {
  const std::optional<std::size_t> index = fields.choice(name, names, need);
  if (!index) return std::nullopt;
  return static_cast<Enum>(*index);
}

template <class Number>
std::optional<Number> read_number(Fields& fields, std::string_view name, Need need) {
  const auto value = fields.number(name, std::numeric_limits<Number>::max(), need);
  if (!value) return std::nullopt;
  return static_cast<Number>(*value);
}

std::optional<TokenBucketConfig> read_bucket(Fields& fields, std::string_view name);
std::optional<RateLimiterConfig> read_limiter(Fields& fields, std::string_view name);

// Finishes the object and validates what was read from it.
template <class Config>
Result<Config> finished(Fields& fields, Config config) {
  MVM_TRY(fields.finish());
  MVM_TRY(validate(config));
  return config;
}

}  // namespace mvm::vmm
