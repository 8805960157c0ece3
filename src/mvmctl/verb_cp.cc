// SPDX-License-Identifier: Apache-2.0
// `mvmctl cp` and `mvmctl diff`: files in and out, and what has changed.
#include "cli/output.h"
#include "cli/progress.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"
#include "workflow/copy.h"

namespace mvm::cli {
namespace {

struct Options {
  std::string from;
  std::string to;
  bool archive = false;
  bool follow = false;
};

struct Side {
  std::string vm;  // empty: this host
  std::string path;
};

// "VM:PATH", or a path of this host. A host path with a colon is written ./a:b or absolute.
Side parse_side(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::size_t slash = text.find('/');
  if (colon == std::string::npos || colon == 0 || slash < colon) return {"", text};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

Result<int> copy(Context& context, const Options& o) {
  const Side from = parse_side(o.from);
  const Side to = parse_side(o.to);
  if (from.vm.empty() == to.vm.empty())
    return Error(Errc::kInvalidArgument, "one of the two must be in a machine, the other here")
        .with_hint("write VM:PATH for the side in the machine");
  if (from.path.empty() || to.path.empty())
    return Error(Errc::kInvalidArgument, "a path is empty").with_hint("write VM:/path");
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  Attached vm = MVM_TRY(attach(layout, from.vm.empty() ? to.vm : from.vm));
  Progress progress(context);
  progress.step("copying " + o.from);
  std::uint64_t total = 0;
  workflow::CopyRequest request{from.path, to.path, o.archive, o.follow, [&](std::uint64_t bytes) {
                                  total = bytes;
                                  progress.update(Bytes{bytes});
                                }};
  auto done = from.vm.empty() ? workflow::copy_to_guest(*vm.client, request)
                              : workflow::copy_from_guest(*vm.client, request);
  progress.finish();
  if (!done) return std::move(done).error().with_context("copying " + o.from + " to " + o.to);
  if (context.json)
    context.print_json(
        1, Json::object().set("from", o.from).set("to", o.to).set("stream_bytes", total));
  return 0;
}

Result<int> diff(Context& context, const std::string& name) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  Attached vm = MVM_TRY(attach(layout, name));
  wire::Open open;
  open.kind = wire::OpenKind::kDiff;
  open.file.path = "/";
  std::string records = MVM_TRY(agent_client::collect(*vm.client, open));
  Json changes = Json::array();
  std::string text;
  while (const auto entry = MVM_TRY(wire::take_diff_entry(records))) {
    const std::string kind(1, static_cast<char>(entry->kind));
    changes.add(Json::object().set("kind", kind).set("path", entry->path));
    text += kind + " " + printable(entry->path) + "\n";
  }
  if (context.json)
    context.print_json(1, Json::object().set("changes", changes));
  else
    context.print(text);
  return 0;
}

}  // namespace

CommandSpec make_cp_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Copies files and directories between this host and a running machine, of any size.\n\n"
      "As with cp -r, an existing directory as target receives the source inside; SRC/. copies "
      "only the content. What arrives in the "
      "machine belongs to root, unless --archive; what arrives here belongs to you, and nothing is "
      "written outside the target.";
  spec.positionals = {{.name = "SRC",
                       .help = "path here, or VM:PATH",
                       .target = &o->from,
                       .complete = Complete::kFile},
                      {.name = "DST",
                       .help = "path here, or VM:PATH",
                       .target = &o->to,
                       .complete = Complete::kFile}};
  spec.options.push_back({.names = "-a,--archive",
                          .help = "keep owners when copying into the machine",
                          .target = &o->archive});
  spec.options.push_back({.names = "-L,--follow-link",
                          .help = "copy what SRC points to when it is a symbolic link",
                          .target = &o->follow});
  spec.examples = {{"mvmctl cp ./site web:/srv", "a directory into the machine"},
                   {"mvmctl cp web:/var/log/app.log .", "a file out of it"}};
  spec.run = [o](Context& context) { return copy(context, *o); };
  return spec;
}

CommandSpec make_diff_command() {
  auto name = std::make_shared<std::string>();
  CommandSpec spec;
  spec.description =
      "Lists what a running machine has changed in its image: A added, C changed, D deleted.";
  spec.positionals = {{.name = "VM",
                       .help = "the machine, by name or id",
                       .target = name.get(),
                       .complete = Complete::kVm}};
  spec.run = [name](Context& context) { return diff(context, *name); };
  return spec;
}

}  // namespace mvm::cli
