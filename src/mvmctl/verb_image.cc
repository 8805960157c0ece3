// SPDX-License-Identifier: Apache-2.0
// `mvmctl image pull|ls|inspect|export|rm|prune`.
#include "cli/output.h"
#include "image/export/oci_export.h"
#include "image/source.h"
#include "mvmctl/shared/create_events.h"
#include "mvmctl/shared/machine_options.h"
#include "mvmctl/verbs.h"
#include "spec/vm_spec_json.h"
#include "store/catalog.h"
#include "store/gc.h"
#include "sys/files.h"
#include "sys/io.h"
#include "workflow/containers.h"
#include "workflow/machines.h"

namespace mvm::cli {
namespace {

constexpr std::size_t kShortDigest = 12;

Json image_json(const store::ImageRecord& r) {
  return Json::object()
      .set("ref", r.ref)
      .set("digest", r.digest)
      .set("size_bytes", r.size)
      .set("arch", spec::to_string(r.arch))
      .set("created_ms", r.created_ms)
      .set("source_digest", r.source_digest)
      .set("signer", r.signature.signer);
}

Json config_json(const spec::ImageConfig& c) {
  Json labels = Json::object();
  for (const auto& [key, value] : c.labels) labels.set(key, value);
  return Json::object()
      .set("entrypoint", c.entrypoint)
      .set("cmd", c.cmd)
      .set("env", c.env)
      .set("user", c.user)
      .set("working_dir", c.working_dir)
      .set("stop_signal", c.stop_signal)
      .set("exposed_ports", c.exposed_ports)
      .set("labels", labels);
}

struct PullOptions {
  image::PullRequest request;
  std::string arch;
  std::optional<std::string> tls_verify;
};

Result<int> pull(Context& context, const PullOptions& o) {
  image::PullRequest request = o.request;
  if (!o.arch.empty()) request.arch = MVM_TRY(spec::parse_arch(o.arch));
  if (o.tls_verify) request.tls_verify = *o.tls_verify == "true";
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  CreateEvents events(context);
  const store::ImageRecord record = MVM_TRY(image::pull(request, layout, catalog, events));
  events.finish();
  if (context.json)
    context.print_json(1, image_json(record));
  else
    context.print(record.digest + "\n");
  return 0;
}

Result<int> list(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const auto images = MVM_TRY(catalog.list_images());
  if (context.json) {
    Json array = Json::array();
    for (const auto& image : images) array.add(image_json(image));
    context.print_json(1, Json::object().set("images", array));
    return 0;
  }
  Table table({"ref", "digest", "arch", "size"});
  table.align_right(3);
  for (const auto& image : images) {
    if (context.quiet) context.print(image.ref + "\n");
    table.add({image.ref, image.digest.substr(0, kShortDigest),
               std::string(spec::to_string(image.arch)), format_size(image.size)});
  }
  if (!context.quiet) context.print(table.text());
  return 0;
}

Result<int> inspect(Context& context, const std::string& name) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const store::ImageRecord record = MVM_TRY(catalog.find_image(name));
  context.print_json(1, image_json(record)
                            .set("path", layout.blob_path(record.digest))
                            .set("config", config_json(record.config)));
  return 0;
}

Result<int> export_image(Context& context, const std::string& name, const std::string& to) {
  const image::Source target = MVM_TRY(image::parse_source(to));
  if (target.kind != image::SourceKind::kOciArchive)
    return Error(Errc::kInvalidArgument, "images are exported as oci-archive:FILE[:TAG]")
        .with_hint("as in: mvmctl image export " + name + " oci-archive:./image.tar");
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const store::ImageRecord record = MVM_TRY(catalog.find_image(name));
  const sys::FileLock lock = MVM_TRY(store::lock_images_shared(layout));
  const sys::TempDir work = MVM_TRY(sys::TempDir::create(layout.images_tmp_dir(), "export-"));
  const std::string digest = MVM_TRY_CTX(
      image::export_oci_archive(
          {layout.blob_path(record.digest), work.path(), target.path, target.tag}, record),
      "exporting " + record.ref);
  if (context.json)
    context.print_json(1, Json::object().set("file", target.path).set("manifest_digest", digest));
  else
    context.print(digest + "\n");
  return 0;
}

CommandSpec export_command() {
  auto name = std::make_shared<std::string>();
  auto to = std::make_shared<std::string>();
  CommandSpec spec;
  spec.name = "export";
  spec.summary = "write an image as other tools take it";
  spec.description =
      "Writes an OCI archive with one layer: owners, modes, times, hard links and extended "
      "attributes go along. What is sealed is exported without its seal.";
  spec.positionals = {
      {.name = "IMAGE",
       .help = "by ref or digest",
       .target = name.get(),
       .complete = Complete::kImage},
      {.name = "oci-archive:FILE[:TAG]", .help = "the archive", .target = to.get()}};
  spec.examples = {{"mvmctl image export debian:bookworm oci-archive:./debian.tar:latest",
                    "for podman or skopeo"}};
  spec.run = [name, to](Context& context) { return export_image(context, *name, *to); };
  return spec;
}

Result<int> remove(Context& context, const std::vector<std::string>& names) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  Json removed = Json::array();
  for (const std::string& name : names) {
    const store::ImageRecord record = MVM_TRY(catalog.find_image(name));
    // Named by ref only that name goes; named by digest the image itself does.
    if (record.ref == name) {
      if (MVM_TRY(catalog.image_in_use(record.digest)))
        MVM_TRY(catalog.remove_image(record.digest));
      else
        MVM_TRY(catalog.remove_ref(name));
    } else {
      MVM_TRY(catalog.remove_image(record.digest));
    }
    removed.add(name);
    if (!context.json && !context.quiet) context.print(name + "\n");
  }
  MVM_TRY(store::collect(layout, catalog, {}));
  if (context.json) context.print_json(1, Json::object().set("removed", removed));
  return 0;
}

Result<int> prune(Context& context, const store::CollectOptions& options) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  store::Collected out = MVM_TRY(store::collect(layout, catalog, options));
  if (options.caches) {
    // A daemon may be long gone; what it has kept is its own then.
    const auto freed = workflow::prune_containers(layout, options.dry_run);
    if (freed) out.freed.count += freed->count;
    if (!freed) context.note("mvmctl: left alone: " + freed.error().text());
  }
  if (context.json) {
    context.print_json(1, Json::object()
                              .set("images", out.images)
                              .set("blobs", out.blobs)
                              .set("freed_bytes", out.freed)
                              .set("busy", out.busy)
                              .set("dry_run", options.dry_run));
    return 0;
  }
  context.print(std::string(options.dry_run ? "would free " : "freed ") + format_size(out.freed) +
                " in " + std::to_string(out.blobs) + " files\n");
  if (out.busy) context.note("mvmctl: an image is being pulled; images were left alone");
  return 0;
}

CommandSpec pull_command() {
  auto o = std::make_shared<PullOptions>();
  CommandSpec spec;
  spec.name = "pull";
  spec.summary = "fetch or make an image";
  spec.description =
      "Makes one read-only EROFS file from the source and keeps it under its digest.\n\n"
      "Sources: busybox, debian:SUITE[?include=PACKAGES], dir:PATH, tar:FILE, oci:DIR[:TAG], "
      "oci-archive:FILE, docker-archive:FILE, "
      "docker://REF or just REF for a registry.";
  spec.positionals = {
      {.name = "SOURCE", .help = "where the image comes from", .target = &o->request.source}};
  spec.options = {
      {.names = "--arch", .value_name = "ARCH", .help = "x86_64 or aarch64", .target = &o->arch},
      {.names = "--force",
       .help = "make it anew even when nothing has changed",
       .target = &o->request.force}};
  add_pull_options(spec, o->request, o->tls_verify);
  spec.examples = {{"mvmctl image pull debian:bookworm?include=python3", "a Debian with Python"},
                   {"mvmctl image pull 127.0.0.1:5000/app:1", "from a registry on this host"}};
  spec.run = [o](Context& context) { return pull(context, *o); };
  return spec;
}

}  // namespace

CommandSpec make_image_command() {
  CommandSpec spec;
  spec.description =
      "Images: what machines are made from. Each is one read-only file, shared by every machine "
      "that uses it.";
  spec.subcommands.push_back(pull_command());
  CommandSpec ls;
  ls.name = "ls";
  ls.summary = "list images";
  ls.run = list;
  spec.subcommands.push_back(ls);
  auto name = std::make_shared<std::string>();
  CommandSpec show;
  show.name = "inspect";
  show.summary = "show an image and its configuration, as JSON";
  show.positionals = {{.name = "IMAGE",
                       .help = "by ref or digest",
                       .target = name.get(),
                       .complete = Complete::kImage}};
  show.run = [name](Context& context) { return inspect(context, *name); };
  spec.subcommands.push_back(show);
  spec.subcommands.push_back(export_command());
  auto names = std::make_shared<std::vector<std::string>>();
  CommandSpec rm;
  rm.name = "rm";
  rm.summary = "remove images";
  rm.positionals = {{.name = "IMAGE",
                     .help = "by ref (that name goes) or digest (every name goes)",
                     .target = names.get(),
                     .complete = Complete::kImage}};
  rm.run = [names](Context& context) { return remove(context, *names); };
  spec.subcommands.push_back(rm);
  auto o = std::make_shared<store::CollectOptions>();
  CommandSpec prune_spec;
  prune_spec.name = "prune";
  prune_spec.summary = "remove files that no image needs";
  prune_spec.options = {
      {.names = "-a,--all",
       .help = "also images that no machine uses",
       .target = &o->unused_images},
      {.names = "--dry-run", .help = "only say what would be freed", .target = &o->dry_run}};
  prune_spec.run = [o](Context& context) { return prune(context, *o); };
  spec.subcommands.push_back(prune_spec);
  return spec;
}

CommandSpec make_cache_command() {
  CommandSpec spec;
  spec.description = "Everything mvm keeps on disk: how much it is, and what of it can be rebuilt.";
  CommandSpec info;
  info.name = "info";
  info.summary = "show where mvm keeps things and how large they are";
  info.run = [](Context& context) -> Result<int> {
    const store::Layout layout = MVM_TRY(store::Layout::from_environment());
    const std::vector<std::pair<std::string, std::string>> places = {
        {"images", layout.images_dir()},
        {"machines", layout.vms_dir()},
        {"snapshots", layout.snapshots_dir()},
        {"kernels", layout.kernel_cache_dir()},
        {"initramfs", layout.initramfs_cache_dir()},
        {"scratch", layout.scratch_template_dir()},
        {"build", layout.build_cache_dir()},
        {"build-logs", layout.build_logs_dir()}};
    Table table({"what", "size", "path"});
    table.align_right(1);
    Json json = Json::object();
    for (const auto& [what, path] : places) {
      const Bytes size = MVM_TRY(sys::disk_usage(path));
      table.add({what, format_size(size), path});
      json.set(what, Json::object().set("path", path).set("size_bytes", size));
    }
    if (context.json)
      context.print_json(1, json);
    else
      context.print(table.text());
    return 0;
  };
  spec.subcommands.push_back(info);
  auto o = std::make_shared<store::CollectOptions>();
  o->caches = true;
  CommandSpec prune_spec;
  prune_spec.name = "prune";
  prune_spec.summary =
      "remove what can be rebuilt: kernels, initramfs, scratch templates, what builds keep and "
      "their "
      "logs, orphaned files";
  prune_spec.options = {
      {.names = "-a,--all",
       .help = "also images that no machine uses",
       .target = &o->unused_images},
      {.names = "--dry-run", .help = "only say what would be freed", .target = &o->dry_run}};
  prune_spec.run = [o](Context& context) -> Result<int> {
    // A machine with a restart policy boots its kernel again.
    for (const workflow::Machine& machine :
         MVM_TRY(workflow::list_machines(MVM_TRY(store::Layout::from_environment())))) {
      if (machine.alive) o->caches = false;
    }
    if (!o->caches) context.note("mvmctl: machines are running; caches were left alone");
    return prune(context, *o);
  };
  spec.subcommands.push_back(prune_spec);
  return spec;
}

}  // namespace mvm::cli
