// SPDX-License-Identifier: Apache-2.0
// `mvmctl init`: a project to begin with.
#include <fcntl.h>

#include <filesystem>

#include "cli/output.h"
#include "mvmctl/presets.h"
#include "mvmctl/verbs.h"
#include "sys/io.h"

namespace mvm::cli {
namespace {

struct Options {
  std::string dir;
  std::string preset = "minimal";
};

// Nothing of the user's is written over. Errors: kAlreadyExists naming the file.
Result<> write_new(const std::string& path, std::string_view text) {
  MVM_TRY(sys::make_dirs(std::filesystem::path(path).parent_path().string(), 0755));
  const bool program = text.starts_with("#!");
  auto file = sys::open_file(path, O_WRONLY | O_CREAT | O_EXCL, program ? 0755 : 0644);
  if (!file && file.error().code() == Errc::kAlreadyExists)
    return Error(Errc::kAlreadyExists, path + " exists already")
        .with_hint("choose another directory, or move the file away");
  if (!file) return std::move(file).error();
  return sys::write_full(file->get(), text);
}

Result<int> init(Context& context, const Options& o) {
  for (const Preset& preset : presets()) {
    if (preset.name != o.preset) continue;
    Json files = Json::array();
    for (const PresetFile& file : preset.files) {
      const std::string path = o.dir + "/" + std::string(file.path);
      MVM_TRY(write_new(path, file.text));
      files.add(path);
      if (!context.json) context.print(path + "\n");
    }
    if (context.json)
      context.print_json(1, Json::object().set("preset", o.preset).set("files", files));
    else
      context.note("next: mvmctl build " + o.dir);
    return 0;
  }
  return Error(Errc::kInvalidArgument, "there is no preset '" + o.preset + "'");
}

}  // namespace

CommandSpec make_init_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Writes a manifest, mvm.toml, and what belongs to it into a directory.\n\nPresets:";
  std::vector<std::string> names;
  for (const Preset& preset : presets()) {
    names.emplace_back(preset.name);
    spec.description += std::string(names.size() == 1 ? " " : "; ") + names.back() + ": " +
                        std::string(preset.meaning);
  }
  spec.description += ".";
  spec.positionals = {{.name = "DIR",
                       .help = "the project's directory, made when it is not there",
                       .target = &o->dir,
                       .complete = Complete::kDirectory}};
  spec.options = {{.names = "--preset",
                   .value_name = "NAME",
                   .help = "what to begin with",
                   .target = &o->preset,
                   .choices = names}};
  spec.examples = {{"mvmctl init web --preset http", "a web server in ./web"}};
  spec.run = [o](Context& context) { return init(context, *o); };
  return spec;
}

}  // namespace mvm::cli
