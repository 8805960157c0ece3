// SPDX-License-Identifier: Apache-2.0
// `mvmctl bundle export|verify|import`: images as one signed file.
#include "cli/output.h"
#include "mvmctl/project/verbs.h"
#include "workflow/bundles.h"
#include "workflow/sealing.h"

namespace mvm::cli {
namespace {

Json manifest_json(const seal::Manifest& m) {
  Json out = Json::object()
                 .set("name", m.name)
                 .set("revision", m.revision)
                 .set("arch", m.arch)
                 .set("sealed", m.sealed())
                 .set("image_digest", m.image_digest)
                 .set("size_bytes", m.image_size)
                 .set("kernel_digest", m.kernel_digest)
                 .set("kernel_release", m.kernel_release);
  if (!m.sealed()) return out;
  Json tcp = Json::array();
  for (const std::uint16_t port : m.tcp_ports) tcp.add(port);
  Json udp = Json::array();
  for (const std::uint16_t port : m.udp_ports) udp.add(port);
  return out.set("root_hash", m.verity->root_hash)
      .set("outputs", m.outputs)
      .set("tcp_ports", tcp)
      .set("udp_ports", udp)
      .set("volumes", m.volumes);
}

Result<int> export_bundle(Context& context, const workflow::ExportRequest& request) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const seal::Manifest manifest = MVM_TRY(workflow::export_bundle(layout, request));
  if (context.json)
    context.print_json(1, manifest_json(manifest).set("file", request.file));
  else
    context.print(request.file + "\n");
  return 0;
}

Result<int> verify(Context& context, const std::string& file) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Verified verified = MVM_TRY(workflow::verify_bundle(layout, file));
  const seal::Manifest& m = verified.bundle.manifest;
  if (context.json)
    context.print_json(1, manifest_json(m)
                              .set("signer", verified.signer)
                              .set("signer_id", seal::short_id(verified.bundle.document.signer))
                              .set("verified", true));
  else
    context.print(m.name + ": ok, " + (m.sealed() ? "sealed" : "not sealed") + ", signed by " +
                  verified.signer + " (" + seal::short_id(verified.bundle.document.signer) + ")\n");
  return 0;
}

struct ImportOptions {
  std::string file;
  std::string name;
};

Result<int> import_bundle(Context& context, const ImportOptions& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::ImageRecord image = MVM_TRY(workflow::import_bundle(layout, o.file, o.name));
  if (context.json)
    context.print_json(1, Json::object()
                              .set("ref", image.ref)
                              .set("digest", image.digest)
                              .set("size_bytes", image.size));
  else
    context.print(image.ref + "\n");
  return 0;
}

}  // namespace

CommandSpec make_bundle_command() {
  CommandSpec spec;
  spec.description =
      "A bundle (NAME.mvmpkg) is an image with its signed manifest: what it is, which kernel it "
      "boots on when it is sealed, and what its machine may do. It is believed where the key that "
      "signed it is trusted (mvmctl key).";
  auto request = std::make_shared<workflow::ExportRequest>();
  auto o = std::make_shared<ImportOptions>();
  const Positional file = {
      .name = "FILE", .help = "the bundle", .target = &o->file, .complete = Complete::kFile};
  CommandSpec write;
  write.name = "export";
  write.summary = "write an image and its signed manifest into one file";
  write.options = {{.names = "--key",
                    .value_name = "NAME",
                    .help = "that signs; a sealed image keeps the signature of its build",
                    .target = &request->key}};
  write.positionals = {
      {.name = "IMAGE",
       .help = "a build by name, tag or revision, ./PATH of a project, or an image",
       .target = &request->image,
       .complete = Complete::kImage},
      {.name = "FILE", .help = "the bundle", .target = &request->file}};
  write.run = [request](Context& context) { return export_bundle(context, *request); };
  spec.subcommands.push_back(write);
  CommandSpec check;
  check.name = "verify";
  check.summary = "read a whole bundle and compare it with what was signed";
  check.positionals = {file};
  check.run = [o](Context& context) { return verify(context, o->file); };
  spec.subcommands.push_back(check);
  CommandSpec read;
  read.name = "import";
  read.summary = "make the image of a bundle one that can be run";
  read.options = {{.names = "--name",
                   .value_name = "NAME",
                   .help = "the image is then bundle:NAME (standard: bundle:NAME@REVISION)",
                   .target = &o->name}};
  read.positionals = {file};
  read.run = [o](Context& context) { return import_bundle(context, *o); };
  spec.subcommands.push_back(read);
  return spec;
}

}  // namespace mvm::cli
