// SPDX-License-Identifier: Apache-2.0
// A flat TOML document: keys with a text or a number each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::spec {

struct Setting {
  std::string key;
  std::string value;  // a number as its digits
  std::string where;  // "config.toml:3", for errors
};

// In the order of their keys. Errors: kInvalidArgument with the line.
Result<std::vector<Setting>> read_settings(std::string_view text, const std::string& file);

}  // namespace mvm::spec
