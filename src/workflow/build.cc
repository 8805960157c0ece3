// SPDX-License-Identifier: Apache-2.0
#include "workflow/build.h"

#include <unistd.h>

#include <filesystem>

#include "image/host_trees.h"
#include "spec/guest_label.h"
#include "store/gc.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"
#include "workflow/build_native.h"
#include "workflow/build_vm.h"
#include "workflow/programs.h"
#include "workflow/sealing.h"

namespace mvm::workflow {
namespace {

bool has_image(const store::Layout& layout, const store::BuildRecord& build) {
  return sys::path_exists(layout.blob_path(build.image_digest));
}

// The current revision if nothing was touched since: found without reading a file of the project.
Result<std::optional<store::BuildRecord>> untouched(const store::Layout& layout,
                                                    const Project& project,
                                                    const std::string& fingerprint) {
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  auto current = MVM_TRY(catalog.current_build(project.dir));
  if (current && (current->fingerprint != fingerprint || !has_image(layout, *current)))
    current.reset();
  return current;
}

// A revision that was made before, here or in another directory, becomes this project's current
// one.
Result<std::optional<store::BuildRecord>> made_before(const store::Layout& layout,
                                                      store::Catalog& catalog,
                                                      const Project& project,
                                                      const std::string& fingerprint,
                                                      const std::string& revision) {
  auto known = MVM_TRY(catalog.build_of_revision(revision));
  if (!known || !has_image(layout, *known)) return std::optional<store::BuildRecord>();
  auto image = MVM_TRY(catalog.lookup_image(image_ref(*known), known->arch));
  if (!image) return std::optional<store::BuildRecord>();
  known->project = project.dir;
  known->name = project.manifest.name;
  image->ref = image_ref(*known);
  MVM_TRY(catalog.put_image(*image));
  known->fingerprint = fingerprint;
  known->built_ms = unix_time_ms();
  MVM_TRY(catalog.put_build(*known));
  return known;
}

build::Job make_job(const store::Layout& layout, const Project& project, const build::Plan& plan,
                    const BuildRequest& request, const std::string& work) {
  build::Job job;
  job.manifest = project.manifest;
  job.project = project.dir;
  job.work_dir = work;
  job.cache_dir = layout.build_cache_dir();
  job.output = work + "/image.erofs";
  job.source_key = plan.source().key;
  job.refresh = request.refresh;
  if (project.manifest.source.kind == spec::SourceSpec::Kind::kDebian)
    job.apt_sources = image::host_apt_sources(project.manifest.source.what);
  return job;
}

// Keeps the logs of a failed build and says where. Without room for them the error is enough.
Error with_logs(Error error, const store::Layout& layout, const std::string& work,
                const std::string& revision) {
  for (const std::string& path : sys::children(work)) {
    if (!path.ends_with(".log")) continue;
    const std::string kept = layout.build_logs_dir() + "/" + short_revision(revision) + "-" +
                             std::filesystem::path(path).filename().string();
    const auto text = sys::read_file(path);
    if (!text || !sys::make_dirs(layout.build_logs_dir()) || !sys::write_atomic(kept, *text))
      continue;
    if (error.hint().empty()) return std::move(error).with_hint("the step's whole log: " + kept);
    const std::string hint = error.hint() + "; the step's whole log: " + kept;
    return std::move(error).with_hint(hint);
  }
  return error;
}

Result<> sign(const store::Layout& layout, store::ImageRecord& image,
              const store::BuildRecord& build, const std::optional<seal::Verity>& verity,
              const std::string& key) {
  const seal::Manifest manifest = MVM_TRY_CTX(
      manifest_of(layout, image, {build.name, build.revision, verity}), "signing " + build.name);
  image.signature =
      MVM_TRY_CTX(sign_image(layout, MVM_TRY(signing_key(layout, key)), manifest), "signing");
  return {};
}

Result<store::BuildRecord> publish(const store::Layout& layout, store::Catalog& catalog,
                                   const Project& project, const std::string& fingerprint,
                                   const build::Plan& plan, const BuildRequest& request,
                                   const build::Job& job, const build::Built& built) {
  store::BuildRecord out;
  out.revision = plan.revision();
  out.project = project.dir;
  out.name = project.manifest.name;
  out.arch = project.manifest.arch;
  out.image_digest = built.digest;
  out.fingerprint = fingerprint;
  store::ImageRecord image;
  image.digest = built.digest;
  image.ref = image_ref(out);
  image.size = built.size;
  image.arch = project.manifest.arch;
  image.created_ms = unix_time_ms();
  image.source_digest = plan.revision();
  image.config = built.config;
  // Ports and volumes are the project's own words; a flake is the one source that may add to them.
  std::optional<spec::Manifest> guest;
  if (project.manifest.source.kind == spec::SourceSpec::Kind::kFlake)
    guest = MVM_TRY(spec::guest_of(built.config));
  out.manifest_json = spec::guest_to_json(guest ? *guest : project.manifest);
  out.built_ms = image.created_ms;
  const auto built_guest = MVM_TRY(spec::guest_of(built.config));
  const bool sealed = built_guest && built_guest->seal == spec::Seal::kSealed;
  if (sealed != built.verity.has_value() ||
      (project.manifest.seal == spec::Seal::kSealed && !sealed))
    return Error(Errc::kGuestFault,
                 "mvm-build has not sealed the image as its project and its label say");
  if (built.verity) MVM_TRY(sign(layout, image, out, built.verity, request.key));
  MVM_TRY(store::publish_blob(layout, job.output, built.digest));
  MVM_TRY(catalog.put_image(image));
  MVM_TRY(catalog.put_build(out));
  return out;
}

// Whether an image that is there already will do; a sealed one has to be signed by the key.
Result<bool> will_do(const store::Layout& layout, const Project& project,
                     const store::BuildRecord& build, const std::string& key) {
  if (project.manifest.seal != spec::Seal::kSealed) return true;
  return keep_signed(layout, build, MVM_TRY(signing_key(layout, key)));
}

// What this host lacks of a plan's tools; empty: nothing.
std::string lacking(const build::Plan& plan) {
  for (const build::Step& step : plan.steps) {
    for (const std::string& tool : step.tools) {
      if (!sys::find_program(tool)) return "no " + tool;
      // Its namespaces and mounts are root's.
      if (tool == "buildah" && ::geteuid() != 0) return "buildah as root only";
    }
  }
  return "";
}

Result<build::Built> run_in_builder(const store::Layout& layout, const build::Job& job,
                                    const std::string& why, const BuildEvents& events) {
  Builder builder = MVM_TRY_CTX(
      enter_builder(layout, MVM_TRY(builder_shape(layout)), {events.on_step, events.on_note}), why);
  return build_in_builder(job, MVM_TRY(find_programs()), builder, events.on_event);
}

Result<build::Built> run_job(const store::Layout& layout, const build::Job& job,
                             const build::Plan& plan, const BuildRequest& request,
                             const BuildEvents& events) {
  const std::string lacks = request.where == Where::kAuto ? lacking(plan) : "";
  if (request.where == Where::kVm) return run_in_builder(layout, job, "no builder", events);
  if (lacks.empty()) return build_natively(job, MVM_TRY(find_programs()), events.on_event);
  events.on_note("mvmctl: this host has " + lacks + ": building in the builder's machine");
  return run_in_builder(layout, job, "this host has " + lacks + ", and no builder", events);
}

Result<store::BuildRecord> make_revision(const store::Layout& layout, store::Catalog& catalog,
                                         const Project& project, const std::string& fingerprint,
                                         const build::Plan& plan, const BuildRequest& request,
                                         const BuildEvents& events) {
  MVM_TRY(store::remove_stale_temporaries(layout));
  const sys::FileLock lock = MVM_TRY(store::lock_images_shared(layout));
  const sys::TempDir work = MVM_TRY(sys::TempDir::create(layout.images_tmp_dir(), "build-"));
  MVM_TRY(sys::make_dirs(layout.build_cache_dir()));
  const build::Job job = make_job(layout, project, plan, request, work.path());
  auto built = run_job(layout, job, plan, request, events);
  if (!built)
    return with_logs(std::move(built).error(), layout, work.path(), plan.revision())
        .with_context("building " + project.manifest.name);
  if (MVM_TRY(project_fingerprint(project)) != fingerprint)
    return Error(Errc::kBusy,
                 "the project has changed while it was built, so the image is of "
                 "neither state")
        .with_hint("build it again when nothing writes to it");
  return publish(layout, catalog, project, fingerprint, plan, request, job, *built);
}

}  // namespace

Result<Where> parse_where(std::string_view text) {
  if (text == "auto") return Where::kAuto;
  if (text == "native") return Where::kNative;
  if (text == "vm") return Where::kVm;
  return Error(Errc::kInvalidArgument, "there is no builder '" + std::string(text) + "'")
      .with_hint("choose one of auto, native, vm");
}

Result<BuildResult> build_project(const store::Layout& layout, const BuildRequest& request,
                                  const BuildEvents& events) {
  return build_loaded(layout, MVM_TRY(load_project(request.path)), request, events);
}

Result<BuildResult> build_loaded(const store::Layout& layout, const Project& project,
                                 const BuildRequest& request, const BuildEvents& events) {
  // Nobody waits for a build that cannot be signed.
  if (project.manifest.seal == spec::Seal::kSealed) MVM_TRY(signing_key(layout, request.key));
  const bool anew = request.force || request.refresh;
  // Before anything is read: a change during the build then shows as a change afterwards.
  const std::string fingerprint = MVM_TRY(project_fingerprint(project));
  if (!anew) {
    auto current = MVM_TRY(untouched(layout, project, fingerprint));
    if (current && MVM_TRY(will_do(layout, project, *current, request.key)))
      return BuildResult{std::move(*current), true};
  }
  const build::Plan plan = MVM_TRY(build::make_plan(project.manifest, project.dir));
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  if (!anew) {
    auto known = MVM_TRY(made_before(layout, catalog, project, fingerprint, plan.revision()));
    if (known && MVM_TRY(will_do(layout, project, *known, request.key)))
      return BuildResult{std::move(*known), true};
  }
  events.on_plan(plan);
  return BuildResult{
      MVM_TRY(make_revision(layout, catalog, project, fingerprint, plan, request, events)), false};
}

}  // namespace mvm::workflow
