// SPDX-License-Identifier: Apache-2.0
#include "store/config_json.h"

#include <nlohmann/json.hpp>

namespace mvm::store {
namespace {

using nlohmann::json;

Error wrong(std::string_view member, std::string_view what) {
  return Error(Errc::kCorrupt,
               "image config: member " + std::string(member) + " " + std::string(what));
}

Result<std::string> text_of(const json& value, std::string_view member) {
  if (!value.is_string()) return wrong(member, "is not a string");
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('\0') != std::string::npos) return wrong(member, "holds a NUL character");
  return text;
}

bool absent(const json& object, const char* member) {
  const auto found = object.find(member);
  return found == object.end() || found->is_null();
}

Result<std::string> string_member(const json& object, const char* member) {
  if (absent(object, member)) return std::string();
  return text_of(*object.find(member), member);
}

Result<std::vector<std::string>> list_member(const json& object, const char* member) {
  std::vector<std::string> out;
  if (absent(object, member)) return out;
  const json& list = *object.find(member);
  if (!list.is_array()) return wrong(member, "is not a list");
  for (const json& item : list) out.push_back(MVM_TRY(text_of(item, member)));
  return out;
}

Result<std::vector<std::string>> keys_member(const json& object, const char* member) {
  std::vector<std::string> out;
  if (absent(object, member)) return out;
  const json& set = *object.find(member);
  if (!set.is_object()) return wrong(member, "is not an object");
  for (const auto& item : set.items()) out.push_back(item.key());
  return out;
}

Result<std::map<std::string, std::string>> map_member(const json& object, const char* member) {
  std::map<std::string, std::string> out;
  if (absent(object, member)) return out;
  const json& map = *object.find(member);
  if (!map.is_object()) return wrong(member, "is not an object");
  for (const auto& item : map.items()) out[item.key()] = MVM_TRY(text_of(item.value(), member));
  return out;
}

}  // namespace

std::string image_config_to_json(const spec::ImageConfig& config) {
  json object = json::object();
  if (!config.entrypoint.empty()) object["Entrypoint"] = config.entrypoint;
  if (!config.cmd.empty()) object["Cmd"] = config.cmd;
  if (!config.env.empty()) object["Env"] = config.env;
  if (!config.user.empty()) object["User"] = config.user;
  if (!config.working_dir.empty()) object["WorkingDir"] = config.working_dir;
  if (!config.stop_signal.empty()) object["StopSignal"] = config.stop_signal;
  for (const std::string& port : config.exposed_ports)
    object["ExposedPorts"][port] = json::object();
  if (!config.labels.empty()) object["Labels"] = config.labels;
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<spec::ImageConfig> image_config_from_json(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return Error(Errc::kCorrupt, "image config: not a JSON object");
  spec::ImageConfig config;
  config.entrypoint = MVM_TRY(list_member(object, "Entrypoint"));
  config.cmd = MVM_TRY(list_member(object, "Cmd"));
  config.env = MVM_TRY(list_member(object, "Env"));
  config.user = MVM_TRY(string_member(object, "User"));
  config.working_dir = MVM_TRY(string_member(object, "WorkingDir"));
  config.stop_signal = MVM_TRY(string_member(object, "StopSignal"));
  config.exposed_ports = MVM_TRY(keys_member(object, "ExposedPorts"));
  config.labels = MVM_TRY(map_member(object, "Labels"));
  return config;
}

}  // namespace mvm::store
