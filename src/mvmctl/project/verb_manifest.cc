// SPDX-License-Identifier: Apache-2.0
// `mvmctl manifest ls|info|verify|tag|rm|prune`: what was built.
#include <set>

#include "cli/output.h"
#include "mvmctl/project/verbs.h"
#include "spec/vm_spec_json.h"
#include "spec/words.h"
#include "store/catalog.h"
#include "store/gc.h"
#include "sys/io.h"
#include "sys/sha256.h"
#include "workflow/project.h"

namespace mvm::cli {
namespace {

constexpr std::size_t kShort = 12;

Json build_json(const store::BuildRecord& b) {
  return Json::object()
      .set("revision", b.revision)
      .set("name", b.name)
      .set("project", b.project)
      .set("arch", spec::to_string(b.arch))
      .set("image_digest", b.image_digest)
      .set("tags", b.tags)
      .set("built_ms", b.built_ms);
}

Result<int> list(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  Json array = Json::array();
  Table table({"name", "revision", "image", "tags", "age", "project"});
  for (const store::BuildRecord& b : MVM_TRY(catalog.list_builds())) {
    if (context.quiet) context.print(b.revision + "\n");
    array.add(build_json(b));
    table.add({b.name, workflow::short_revision(b.revision), b.image_digest.substr(0, kShort),
               b.tags, age(b.built_ms), b.project});
  }
  if (context.json)
    context.print_json(1, Json::object().set("builds", array));
  else if (!context.quiet)
    context.print(table.text());
  return 0;
}

// "current", "changed since": how the project stands to this revision.
Result<std::string> standing(const store::Layout& layout, const store::Catalog& catalog,
                             const store::BuildRecord& build) {
  const auto project = workflow::load_project(build.project);
  if (!project) return std::string("the project is gone");
  const auto current = workflow::current_revision(layout, catalog, *project);
  if (!current) return std::string("the image is gone");
  if (current->build.revision != build.revision) return std::string("an older revision");
  return std::string(current->drift == workflow::Drift::kNone ? "up to date"
                                                              : "the project has changed since");
}

Result<int> info(Context& context, const std::string& name) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const store::BuildRecord build = MVM_TRY(catalog.find_build(name));
  context.print_json(1, build_json(build)
                            .set("standing", MVM_TRY(standing(layout, catalog, build)))
                            .set("guest", MVM_TRY(Json::parse(build.manifest_json))));
  return 0;
}

Result<> verify_one(const store::Layout& layout, const store::BuildRecord& build) {
  const std::string path = layout.blob_path(build.image_digest);
  if (!sys::path_exists(path))
    return Error(Errc::kNotFound, "the image of " + build.name + " is gone")
        .with_hint("build it again with: mvmctl build " + build.project);
  const std::string digest = MVM_TRY(sys::sha256_file(path));
  if (digest == build.image_digest) return {};
  return Error(Errc::kCorrupt, "the image of " + build.name + " is not what was built: " + path +
                                   " has the digest " + digest)
      .with_hint("build it again with: mvmctl build --force " + build.project);
}

Result<int> verify(Context& context, const std::string& name) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const store::BuildRecord build = MVM_TRY(catalog.find_build(name));
  MVM_TRY(verify_one(layout, build));
  if (context.json)
    context.print_json(1, build_json(build).set("verified", true));
  else
    context.print(build.name + " " + workflow::short_revision(build.revision) + ": ok\n");
  return 0;
}

Result<int> tag(Context& context, const std::string& name, const std::string& tag) {
  MVM_TRY(spec::check_name(tag, "tag"));
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  const store::BuildRecord build = MVM_TRY(catalog.find_build(name));
  MVM_TRY(catalog.tag_build(build.revision, tag));
  if (context.json)
    context.print_json(1, Json::object().set("tag", tag).set("revision", build.revision));
  return 0;
}

// The image goes with its last revision, unless a machine needs it.
Result<> forget(store::Catalog& catalog, const store::BuildRecord& build) {
  MVM_TRY(catalog.remove_build(build.revision));
  auto gone = catalog.remove_ref(workflow::image_ref(build));
  if (!gone && gone.error().code() != Errc::kNotFound) return gone;
  return {};
}

Result<int> remove(Context& context, const std::vector<std::string>& names) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  Json removed = Json::array();
  for (const std::string& name : names) {
    const store::BuildRecord build = MVM_TRY(catalog.find_build(name));
    MVM_TRY(forget(catalog, build));
    removed.add(build.revision);
    if (!context.json && !context.quiet) context.print(build.revision + "\n");
  }
  MVM_TRY(store::collect(layout, catalog, {}));
  if (context.json) context.print_json(1, Json::object().set("removed", removed));
  return 0;
}

// All but the current revision of each project that is still there, and those with a tag.
Result<int> prune(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  Json removed = Json::array();
  std::set<std::string> kept;
  std::vector<store::BuildRecord> builds = MVM_TRY(catalog.list_builds());
  std::set<std::string> seen;
  for (const store::BuildRecord& build : builds) {
    const bool newest = seen.insert(build.project).second;
    if (!build.tags.empty() || (newest && workflow::find_project_dir(build.project)))
      kept.insert(build.revision);
  }
  for (const store::BuildRecord& build : builds) {
    if (!kept.insert(build.revision).second) continue;
    MVM_TRY(forget(catalog, build));
    removed.add(build.revision);
    if (!context.json) context.print(build.revision + "\n");
  }
  MVM_TRY(store::collect(layout, catalog, {}));
  if (context.json) context.print_json(1, Json::object().set("removed", removed));
  return 0;
}

Positional build_name(std::string* target) {
  return {.name = "BUILD", .help = "by name, tag or revision", .target = target};
}

}  // namespace

CommandSpec make_manifest_command() {
  CommandSpec spec;
  spec.description =
      "What was built: revisions of projects, each with the image that was made of it.";
  CommandSpec ls;
  ls.name = "ls";
  ls.summary = "list builds, the newest first";
  ls.run = list;
  spec.subcommands.push_back(ls);
  auto name = std::make_shared<std::string>();
  CommandSpec show;
  show.name = "info";
  show.summary = "show a build and whether its project has changed since, as JSON";
  show.positionals = {build_name(name.get())};
  show.run = [name](Context& context) { return info(context, *name); };
  spec.subcommands.push_back(show);
  CommandSpec check;
  check.name = "verify";
  check.summary = "read the image and compare it with what was built";
  check.positionals = {build_name(name.get())};
  check.run = [name](Context& context) { return verify(context, *name); };
  spec.subcommands.push_back(check);
  auto tag_name = std::make_shared<std::string>();
  CommandSpec tag_spec;
  tag_spec.name = "tag";
  tag_spec.summary = "give a build another name";
  tag_spec.positionals = {build_name(name.get()),
                          {.name = "TAG", .help = "the name", .target = tag_name.get()}};
  tag_spec.run = [name, tag_name](Context& context) { return tag(context, *name, *tag_name); };
  spec.subcommands.push_back(tag_spec);
  auto names = std::make_shared<std::vector<std::string>>();
  CommandSpec rm;
  rm.name = "rm";
  rm.summary = "forget builds; their images go unless a machine uses them";
  rm.positionals = {{.name = "BUILD", .help = "by name, tag or revision", .target = names.get()}};
  rm.run = [names](Context& context) { return remove(context, *names); };
  spec.subcommands.push_back(rm);
  CommandSpec prune_spec;
  prune_spec.name = "prune";
  prune_spec.summary = "forget builds that are neither current nor tagged";
  prune_spec.run = prune;
  spec.subcommands.push_back(prune_spec);
  return spec;
}

}  // namespace mvm::cli
