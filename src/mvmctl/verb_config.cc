// SPDX-License-Identifier: Apache-2.0
// `mvmctl config show|set`.
#include "cli/output.h"
#include "mvmctl/verbs.h"
#include "workflow/config.h"

namespace mvm::cli {
namespace {

Result<int> show(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Config config = MVM_TRY(workflow::Config::load(layout));
  Json settings = Json::object();
  Table table({"setting", "value", "from", "meaning"});
  for (const workflow::ConfigKey& key : workflow::config_keys()) {
    const auto value = config.get(key.name);
    settings.set(key.name, Json::object()
                               .set("value", value ? *value : std::string(key.standard))
                               .set("is_set", value.has_value()));
    table.add({std::string(key.name), value ? *value : std::string(key.standard),
               value ? "file" : "standard", std::string(key.meaning)});
  }
  if (context.json)
    context.print_json(
        1, Json::object().set("path", workflow::config_path(layout)).set("settings", settings));
  else
    context.print(table.text());
  return 0;
}

Result<int> set(Context& context, const std::string& key, const std::string& value) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  workflow::Config config = MVM_TRY(workflow::Config::load(layout));
  MVM_TRY(config.set(key, value));
  MVM_TRY(config.save(layout));
  if (context.json) context.print_json(1, Json::object().set("key", key).set("value", value));
  return 0;
}

}  // namespace

CommandSpec make_config_command() {
  CommandSpec spec;
  spec.description = "Defaults for what command lines leave out, kept in config.toml.";
  CommandSpec show_spec;
  show_spec.name = "show";
  show_spec.summary = "show every setting and where its value comes from";
  show_spec.run = show;
  spec.subcommands.push_back(show_spec);
  auto pair = std::make_shared<std::pair<std::string, std::string>>();
  CommandSpec set_spec;
  set_spec.name = "set";
  set_spec.summary = "change a setting; an empty value removes it";
  set_spec.positionals = {{.name = "KEY", .help = "the setting", .target = &pair->first},
                          {.name = "VALUE", .help = "its value", .target = &pair->second}};
  for (const workflow::ConfigKey& key : workflow::config_keys())
    set_spec.positionals[0].choices.emplace_back(key.name);
  set_spec.examples = {{"mvmctl config set memory 1G", "give every machine a gigabyte"}};
  set_spec.run = [pair](Context& context) { return set(context, pair->first, pair->second); };
  spec.subcommands.push_back(set_spec);
  return spec;
}

}  // namespace mvm::cli
