// SPDX-License-Identifier: Apache-2.0
// `mvmctl build` and `validate`: projects into images.
#include <filesystem>

#include "cli/output.h"
#include "cli/progress.h"
#include "mvmctl/project/build_report.h"
#include "mvmctl/project/verbs.h"
#include "spec/manifest_reference.h"
#include "spec/words.h"
#include "workflow/build.h"
#include "workflow/config.h"
#include "workflow/project.h"

namespace mvm::cli {
namespace {

struct Options {
  workflow::BuildRequest request;
  bool plan = false;
  std::string tag;
  std::string builder;
};

Result<int> show_plan(Context& context, const Options& o) {
  const workflow::Project project = MVM_TRY(workflow::load_project(o.request.path));
  const build::Plan plan = MVM_TRY(build::make_plan(project.manifest, project.dir));
  if (context.json) {
    Json out = Json::object().set("name", project.manifest.name).set("project", project.dir);
    out.merge(MVM_TRY(Json::parse(build::plan_to_json(plan))));
    context.print_json(1, out);
    return 0;
  }
  Table table({"step", "what", "tools", "network", "inputs", "key"});
  for (const build::Step& step : plan.steps) {
    std::string tools;
    for (const std::string& tool : step.tools) tools += (tools.empty() ? "" : ", ") + tool;
    std::string inputs;
    for (const build::PlanInput& input : step.inputs)
      inputs += (inputs.empty() ? "" : ", ") + input.name;
    table.add(
        {step.id, step.title, tools, step.network ? "yes" : "no", inputs, step.key.substr(0, 12)});
  }
  context.print(table.text());
  return 0;
}

Result<int> build(Context& context, const Options& o) {
  if (!o.tag.empty()) MVM_TRY(spec::check_name(o.tag, "tag"));
  if (o.plan) return show_plan(context, o);
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Config config = MVM_TRY(workflow::Config::load(layout));
  workflow::BuildRequest request = o.request;
  request.where = MVM_TRY(workflow::parse_where(
      !o.builder.empty() ? o.builder : config.get("builder").value_or("auto")));
  BuildReport report(context);
  const workflow::BuildResult result =
      MVM_TRY(workflow::build_project(layout, request, report.events()));
  report.finish();
  if (!o.tag.empty()) {
    store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
    MVM_TRY(catalog.tag_build(result.build.revision, o.tag));
  }
  if (context.json) {
    context.print_json(1, Json::object()
                              .set("name", result.build.name)
                              .set("project", result.build.project)
                              .set("revision", result.build.revision)
                              .set("image_digest", result.build.image_digest)
                              .set("unchanged", result.unchanged)
                              .set("steps", report.steps_json()));
    return 0;
  }
  context.note(result.build.name + ": revision " + workflow::short_revision(result.build.revision) +
               (result.unchanged ? ", nothing has changed" : ""));
  context.print(result.build.image_digest + "\n");
  return 0;
}

struct ValidateOptions {
  std::string path = ".";
  bool schema = false;
  bool reference = false;
};

Result<int> validate(Context& context, const ValidateOptions& o) {
  if (o.schema || o.reference) {
    context.print(o.schema ? spec::manifest_schema() : spec::manifest_reference());
    return 0;
  }
  const workflow::Project project = MVM_TRY(workflow::load_project(o.path));
  // The files that it names are part of it.
  MVM_TRY(workflow::project_fingerprint(project));
  if (context.json)
    context.print_json(
        1, Json::object()
               .set("file", project.file)
               .set("manifest", MVM_TRY(Json::parse(spec::manifest_to_json(project.manifest)))));
  else
    context.print(project.file + ": ok\n");
  return 0;
}

}  // namespace

CommandSpec make_build_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Makes the image that the project's mvm.toml describes, and prints its digest. `mvmctl run "
      "PATH` and `mvmctl up PATH` boot it.\n\n"
      "The result is named by a revision, the digest of everything that went in: when nothing has "
      "changed nothing is done, and the same inputs give the same image in another directory or on "
      "another host. What lies elsewhere (Debian suites, registries, a flake's inputs) is looked "
      "at "
      "again with --refresh only.";
  spec.positionals = {{.name = "PATH",
                       .help = "the project, or a directory below it (standard: .)",
                       .target = &o->request.path,
                       .required = false,
                       .complete = Complete::kDirectory}};
  spec.options = {
      {.names = "--plan",
       .help = "show the steps, what they read and their keys, and do nothing",
       .target = &o->plan},
      {.names = "--force", .help = "although nothing has changed", .target = &o->request.force},
      {.names = "--refresh",
       .help = "look again at suites, registries and flake inputs",
       .target = &o->request.refresh},
      {.names = "--builder",
       .value_name = "WHERE",
       .help =
           "native: on this host; vm: in the builder's machine; auto: there when this host lacks "
           "a tool",
       .target = &o->builder,
       .choices = {"auto", "native", "vm"}},
      {.names = "--key",
       .value_name = "NAME",
       .help = "key that signs a sealed image (standard: the setting signing_key, or the only one)",
       .target = &o->request.key},
      {.names = "-t,--tag",
       .value_name = "TAG",
       .help = "another name for this revision",
       .target = &o->tag}};
  spec.examples = {{"mvmctl build", "the project around the current directory"},
                   {"mvmctl build --plan --json web", "what would be done, as data"},
                   {"mvmctl run ./web -- /bin/sh", "a shell in what was built"}};
  spec.run = [o](Context& context) { return build(context, *o); };
  return spec;
}

CommandSpec make_validate_command() {
  auto o = std::make_shared<ValidateOptions>();
  CommandSpec spec;
  spec.description =
      "Reads the project's mvm.toml and says what is wrong with it: file, line, column, key, and "
      "the nearest key there is. Files that it names must be there.";
  spec.positionals = {{.name = "PATH",
                       .help = "the project, or a directory below it (standard: .)",
                       .target = &o->path,
                       .required = false,
                       .complete = Complete::kDirectory}};
  spec.options = {{.names = "--schema",
                   .help = "print the JSON Schema of manifests instead",
                   .target = &o->schema},
                  {.names = "--reference",
                   .help = "print every key there is, as Markdown, instead",
                   .target = &o->reference}};
  spec.examples = {{"mvmctl validate", "the manifest around the current directory"},
                   {"mvmctl validate --schema > mvm.schema.json", "for an editor"}};
  spec.run = [o](Context& context) { return validate(context, *o); };
  return spec;
}

}  // namespace mvm::cli
