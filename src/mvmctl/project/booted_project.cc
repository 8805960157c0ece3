// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/project/booted_project.h"

#include "mvmctl/project/build_report.h"
#include "workflow/build.h"
#include "workflow/project.h"

namespace mvm::cli {
namespace {

// The directory of the project that is meant, if one is.
Result<std::optional<std::string>> project_of(const MachineOptions& o,
                                              const workflow::Config& config) {
  if (o.image.starts_with(".") || o.image.starts_with("/"))
    return std::optional<std::string>(o.image);
  if (!o.image.empty() || config.get("image")) {
    if (o.build)
      return Error(Errc::kInvalidArgument, "--build needs a project, and this is an image")
          .with_hint("write the project's path as ./PATH");
    return std::optional<std::string>();
  }
  auto around = workflow::find_project_dir(".");
  if (!around && o.build)
    return Error(Errc::kNotFound, "--build needs a project, and there is none here")
        .with_hint("make one with: mvmctl init .");
  return around;
}

Result<BootedProject> revision_of(Context& context, const store::Layout& layout,
                                  const MachineOptions& o, const workflow::Config& config,
                                  const std::string& path) {
  if (o.build) {
    BuildReport report(context);
    const workflow::BuildRequest request{
        .path = path,
        .where = MVM_TRY(workflow::parse_where(config.get("builder").value_or("auto")))};
    MVM_TRY(workflow::build_project(layout, request, report.events()));
    report.finish();
  }
  const workflow::Project project = MVM_TRY(workflow::load_project(path));
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const workflow::Revision revision = MVM_TRY(workflow::current_revision(layout, catalog, project));
  if (revision.drift == workflow::Drift::kChanged)
    context.note("mvmctl: " + project.manifest.name + " has changed since revision " +
                 workflow::short_revision(revision.build.revision) +
                 " was built, which is booted; --build builds it first");
  BootedProject out{
      project.manifest.name, workflow::image_ref(revision.build),
      MVM_TRY(spec::guest_from_json(revision.build.manifest_json, "the build's record"))};
  // The project's own word counts, whatever became of the record.
  if (project.manifest.seal == spec::Seal::kSealed) out.manifest.seal = spec::Seal::kSealed;
  return out;
}

}  // namespace

Result<std::optional<BootedProject>> booted_project(Context& context, const store::Layout& layout,
                                                    const MachineOptions& o,
                                                    const workflow::Config& config) {
  const auto path = MVM_TRY(project_of(o, config));
  if (!path) return std::optional<BootedProject>();
  return std::optional<BootedProject>(MVM_TRY(revision_of(context, layout, o, config, *path)));
}

}  // namespace mvm::cli
