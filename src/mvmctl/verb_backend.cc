// SPDX-License-Identifier: Apache-2.0
// `mvmctl backend ls|info`: the engines, which of them can be used here, and what each can do.
#include <algorithm>
#include <set>

#include "backend/registry/registry.h"
#include "cli/output.h"
#include "mvmctl/shared/host.h"
#include "mvmctl/verbs.h"
#include "platform/select.h"

namespace mvm::cli {
namespace {

struct Known {
  std::string name;
  const backend::Backend* backend = nullptr;  // nothing: not part of this build
  Result<platform::Selection> selection;      // what a start by this name would say
  const platform::Program* engine = nullptr;
};

std::string engine_program(const std::string& name, const platform::HostFacts& facts) {
  if (name != "qemu") return name;
  const bool arm = platform::host_arch(facts) == spec::Arch::kAarch64;
  return arm ? "qemu-system-aarch64" : "qemu-system-x86_64";
}

Known examine(const std::string& name, const platform::HostFacts& facts,
              const std::set<std::string>& compiled_in) {
  platform::SelectionRequest request;
  request.backend = name;
  // Whether it can be used, not whether it is strong enough.
  request.minimum = spec::Isolation::kContainer;
  request.experimental = true;
  const auto backend = backend::find_backend(name);
  return {name, backend ? *backend : nullptr, platform::select_backend(facts, compiled_in, request),
          platform::find_engine(facts, engine_program(name, facts))};
}

// The test double is listed for who asks for it by name.
std::vector<Known> examine_all(const platform::HostFacts& facts) {
  std::set<std::string> compiled_in;
  for (const std::string_view name : backend::backend_names()) compiled_in.emplace(name);
  std::vector<Known> out;
  for (const std::string_view name : platform::known_backends())
    out.push_back(examine(std::string(name), facts, compiled_in));
  return out;
}

std::string state_of(const Known& known) {
  if (known.backend == nullptr) return "not built";
  return known.selection ? "usable" : "not usable";
}

std::string tier_of(const Known& known) {
  return known.selection ? std::string(platform::isolation_name(known.selection->isolation)) : "-";
}

// Of a backend that was named the error begins with its name, which stands beside it.
std::string reason_of(const Known& known) {
  if (known.selection) return known.selection->accelerator;
  const std::string text = known.selection.error().text();
  const std::size_t at = text.find("; " + known.name);
  return at == std::string::npos ? text : text.substr(text.find(": ", at) + 2);
}

Json arch_json(const backend::Capabilities& can) {
  Json out = Json::array();
  if (can.x86_64) out.add("x86_64");
  if (can.aarch64) out.add("aarch64");
  return out;
}

Json capabilities_json(const backend::Capabilities& can) {
  Json out = Json::object();
  for (const backend::Feature& feature : backend::features())
    out.set(feature.name, can.*feature.has);
  Json modes = Json::array();
  if (can.user_network) modes.add("user");
  modes.add("none");
  return out.set("network_modes", modes)
      .set("most_cpus", can.most_vcpus)
      .set("arch", arch_json(can));
}

Json json_of(const Known& known) {
  Json out = Json::object()
                 .set("name", known.name)
                 .set("built", known.backend != nullptr)
                 .set("usable", known.selection.has_value())
                 .set("tier", known.selection ? Json(tier_of(known)) : Json())
                 .set("accelerator", known.selection ? Json(known.selection->accelerator) : Json())
                 .set("why_not", known.selection ? Json() : Json(reason_of(known)))
                 .set("hint", known.selection ? Json() : Json(known.selection.error().hint()));
  const bool installed = known.engine != nullptr;
  out.set("engine", installed ? Json(known.engine->path) : Json());
  out.set("version", installed ? Json(known.engine->version) : Json());
  if (known.backend != nullptr) out.set("can", capabilities_json(known.backend->capabilities()));
  return out;
}

Result<int> list(Context& context) {
  const platform::CollectOptions options =
      collect_options(MVM_TRY(store::Layout::from_environment()));
  const platform::HostFacts facts =
      context.json ? platform::collect_full(options) : platform::collect_minimal(options);
  const std::vector<Known> all = examine_all(facts);
  if (context.json) {
    Json array = Json::array();
    for (const Known& known : all) {
      if (known.name != "fake") array.add(json_of(known));
    }
    context.print_json(1, Json::object().set("backends", array));
    return 0;
  }
  Table table({"name", "state", "tier", "by"});
  for (const Known& known : all) {
    if (known.name != "fake")
      table.add({known.name, state_of(known), tier_of(known), printable(reason_of(known))});
  }
  context.print(table.text());
  return 0;
}

Result<int> info(Context& context, const std::string& name) {
  const platform::HostFacts facts =
      platform::collect_full(collect_options(MVM_TRY(store::Layout::from_environment())));
  const std::vector<Known> all = examine_all(facts);
  const auto found =
      std::ranges::find_if(all, [&](const Known& known) { return known.name == name; });
  if (found == all.end()) return MVM_TRY(backend::find_backend(name)) == nullptr ? 1 : 0;
  const Known& known = *found;
  if (context.json) {
    context.print_json(1, json_of(known));
    return 0;
  }
  std::string text = known.name + ": " + state_of(known) + "\n";
  if (known.selection)
    text += known.selection->posture + "\n";
  else
    text += reason_of(known) + "\n";
  if (!known.selection && !known.selection.error().hint().empty())
    text += "hint: " + known.selection.error().hint() + "\n";
  if (known.engine != nullptr)
    text += "engine: " + known.engine->path + " " + known.engine->version + "\n";
  context.print(text);
  if (known.backend == nullptr) return 0;
  Table table({"what", "can"});
  const backend::Capabilities can = known.backend->capabilities();
  for (const backend::Feature& feature : backend::features())
    table.add({std::string(feature.name), can.*feature.has ? "yes" : "no"});
  table.add({"cpus", "1 to " + std::to_string(can.most_vcpus)});
  table.add({"guests", std::string(can.x86_64 ? "x86_64" : "") +
                           (can.x86_64 && can.aarch64 ? ", " : "") +
                           (can.aarch64 ? "aarch64" : "")});
  context.print(table.text());
  return 0;
}

CommandSpec ls_command() {
  CommandSpec spec;
  spec.name = "ls";
  spec.summary = "list backends";
  spec.description =
      "Lists every backend of the support matrix: whether it can be used on this host, how strong "
      "its boundary is, and by what, or why not.";
  spec.examples = {{"mvmctl backend ls --json", "with what each can do"}};
  spec.run = [](Context& context) { return list(context); };
  return spec;
}

CommandSpec info_command() {
  auto name = std::make_shared<std::string>();
  CommandSpec spec;
  spec.name = "info";
  spec.summary = "show what a backend can do";
  spec.description =
      "Shows one backend: what a start by it would say, its program, and what it can do. What it "
      "cannot is refused before anything starts.";
  spec.positionals = {{.name = "NAME", .help = "the backend", .target = name.get()}};
  spec.examples = {{"mvmctl backend info qemu", "one that is always there"}};
  spec.run = [name](Context& context) { return info(context, *name); };
  return spec;
}

}  // namespace

CommandSpec make_backend_command() {
  CommandSpec spec;
  spec.description = "Backends are what runs machines: `mvmctl run --backend NAME`.";
  spec.subcommands = {ls_command(), info_command()};
  return spec;
}

}  // namespace mvm::cli
