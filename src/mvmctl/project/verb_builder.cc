// SPDX-License-Identifier: Apache-2.0
// `mvmctl builder status|start|stop|shell|prune`: the machine that builds for this host.
#include "cli/output.h"
#include "cli/progress.h"
#include "mvmctl/project/verbs.h"
#include "mvmctl/shared/session_verbs.h"
#include "workflow/builder.h"
#include "workflow/volumes.h"

namespace mvm::cli {
namespace {

using workflow::kBuilderName;

Result<int> status(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const auto machine = MVM_TRY(workflow::find_builder(layout));
  const auto cache = MVM_TRY(workflow::find_volume(layout, kBuilderName));
  const std::string state = machine ? machine->state : "none";
  const Bytes used = cache ? cache->used : Bytes{};
  const Bytes size = cache ? cache->size : Bytes{};
  if (context.json) {
    Json out = Json::object()
                   .set("name", kBuilderName)
                   .set("state", state)
                   .set("cache_size_bytes", size)
                   .set("cache_used_bytes", used);
    if (machine)
      out.set("image", machine->record.image_ref)
          .set("backend", machine->record.backend)
          .set("isolation", machine->record.isolation);
    context.print_json(1, out);
    return 0;
  }
  Table table({"state", "backend", "isolation", "image", "cache used", "cache size"});
  table.align_right(4);
  table.align_right(5);
  table.add({state, machine ? machine->record.backend : "-",
             machine ? machine->record.isolation : "-", machine ? machine->record.image_ref : "-",
             cache ? format_size(used) : "-", cache ? format_size(size) : "-"});
  context.print(table.text());
  return 0;
}

// The builder with what it says on the way.
Result<workflow::Builder> enter(Context& context, const store::Layout& layout,
                                const workflow::BuilderShape& shape) {
  Progress line(context);
  auto builder = MVM_TRY(workflow::enter_builder(
      layout, shape,
      {[&](const std::string& step) { line.step(step); },
       [&](const std::string& note) { line.finish(), context.note(note); }}));
  line.finish();
  return builder;
}

struct StartOptions {
  workflow::BuilderShape shape;
  std::string backend;
};

Result<int> start(Context& context, const StartOptions& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::BuilderShape configured = MVM_TRY(workflow::builder_shape(layout));
  workflow::BuilderShape shape = o.shape;
  shape.backend = o.backend.empty() ? configured.backend : o.backend;
  shape.least_isolation = configured.least_isolation;
  MVM_TRY(enter(context, layout, shape));
  if (context.json) return status(context);
  context.print(std::string(kBuilderName) + "\n");
  return 0;
}

Result<int> shell(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Builder builder =
      MVM_TRY(enter(context, layout, MVM_TRY(workflow::builder_shape(layout))));
  wire::Open open;
  open.exec.argv = {"/bin/bash"};
  open.exec.working_dir = workflow::kBuilderCache;
  SessionSetup setup = MVM_TRY(session_setup({true, true}, open.exec));
  const wire::Closed closed =
      MVM_TRY(agent_client::run_session(*builder.client, open, setup.io, setup.options));
  return exit_code_of(context, closed, open.exec.argv);
}

Result<int> stop(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const bool stopped = MVM_TRY(workflow::stop_builder(layout));
  if (context.json)
    context.print_json(1, Json::object().set("stopped", stopped));
  else
    context.note(stopped ? "the builder is stopped; its cache stays" : "there is no builder");
  return 0;
}

Result<int> prune(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const Bytes freed = MVM_TRY(workflow::prune_builder(layout));
  if (context.json)
    context.print_json(1, Json::object().set("freed_bytes", freed));
  else
    context.print("freed " + format_size(freed) + "\n");
  return 0;
}

CommandSpec verb(const char* name, const char* summary, const char* description,
                 std::function<Result<int>(Context&)> run) {
  CommandSpec spec;
  spec.name = name;
  spec.summary = summary;
  spec.description = description;
  spec.examples = {{"mvmctl builder " + std::string(name), summary}};
  spec.run = std::move(run);
  return spec;
}

CommandSpec start_command() {
  auto o = std::make_shared<StartOptions>();
  CommandSpec spec = verb("start", "start the builder, if it does not run",
                          "Starts the builder ahead of a build. The first time its image is made, "
                          "which takes a minute.",
                          [o](Context& context) { return start(context, *o); });
  spec.options = {{.names = "--cpus",
                   .value_name = "N",
                   .help = "virtual processors (standard: this host's, four at most)",
                   .target = &o->shape.vcpus},
                  {.names = "-m,--memory",
                   .value_name = "SIZE",
                   .help = "memory (standard: 2G)",
                   .target = &o->shape.memory},
                  {.names = "--cache-size",
                   .value_name = "SIZE",
                   .help = "size of the cache disk when it is made (standard: 32G)",
                   .target = &o->shape.cache},
                  {.names = "--idle-timeout",
                   .value_name = "TIME",
                   .help = "end it when nobody built for this time (standard: 10m)",
                   .target = &o->shape.idle},
                  {.names = "--backend",
                   .value_name = "NAME",
                   .help = "engine, or auto",
                   .target = &o->backend}};
  return spec;
}

}  // namespace

CommandSpec make_builder_command() {
  CommandSpec spec;
  spec.description =
      "The builder is a machine with the tools of builds (Nix, buildah, mmdebstrap, mkfs.erofs) "
      "and a disk that keeps what they have made. `mvmctl build --builder vm` starts it when it is "
      "needed; it ends by itself when it is not.";
  spec.subcommands = {
      verb("status", "say whether it runs and what its cache takes",
           "Shows the state of the builder, its engine, and what its cache takes on this host.",
           status),
      start_command(),
      verb("stop", "stop it; its cache stays", "Stops the builder's machine. Its cache stays.",
           stop),
      verb("shell", "a shell in it", "Opens a shell in the builder, which is started if need be.",
           shell),
      verb("prune", "stop it and remove its cache",
           "Stops the builder and removes its cache: stores, layers and sources. The next build in "
           "it begins anew.",
           prune)};
  return spec;
}

}  // namespace mvm::cli
