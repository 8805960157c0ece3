// SPDX-License-Identifier: Apache-2.0
#include "spec/settings.h"

#include "spec/toml_types.h"

namespace mvm::spec {

Result<std::vector<Setting>> read_settings(std::string_view text, const std::string& file) {
  const toml::table document = MVM_TRY(parse_toml(text, file));
  std::vector<Setting> out;
  for (const auto& [key, node] : document) {
    Setting setting{std::string(key.str()), "",
                    file + ":" + std::to_string(node.source().begin.line)};
    if (const auto* words = node.as_string())
      setting.value = words->get();
    else if (const auto* number = node.as_integer())
      setting.value = std::to_string(number->get());
    else
      return Error(Errc::kInvalidArgument,
                   setting.where + ": '" + setting.key + "' must be a text or a number");
    out.push_back(std::move(setting));
  }
  return out;
}

}  // namespace mvm::spec
