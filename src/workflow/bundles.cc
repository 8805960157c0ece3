// SPDX-License-Identifier: Apache-2.0
#include "workflow/bundles.h"

#include <fcntl.h>

#include <cctype>

#include "spec/vm_spec_json.h"
#include "spec/words.h"
#include "store/config_json.h"
#include "store/gc.h"
#include "sys/files.h"
#include "sys/io.h"
#include "workflow/project.h"
#include "workflow/sealing.h"

namespace mvm::workflow {
namespace {

struct Found {
  store::ImageRecord image;
  std::string name;
  std::string revision;
};

// "debian:bookworm" → "debian-bookworm"
std::string name_of(const std::string& ref) {
  std::string out = ref.substr(0, 63);
  for (char& c : out) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_') c = '-';
  }
  if (!std::isalnum(static_cast<unsigned char>(out.front()))) out.front() = 'x';
  return out;
}

Result<Found> found_build(const store::Catalog& catalog, const store::BuildRecord& build) {
  auto image = MVM_TRY(catalog.lookup_image(image_ref(build), build.arch));
  if (!image)
    return Error(Errc::kNotFound, "the image of " + build.name + " is gone")
        .with_hint("build it again with: mvmctl build " + build.project);
  return Found{std::move(*image), build.name, build.revision};
}

Result<Found> find(const store::Catalog& catalog, const store::Layout& layout,
                   const std::string& what) {
  if (what.starts_with(".") || what.starts_with("/"))
    return found_build(
        catalog, MVM_TRY(current_revision(layout, catalog, MVM_TRY(load_project(what)))).build);
  const auto build = catalog.find_build(what);
  if (build) return found_build(catalog, *build);
  auto image = catalog.find_image(what);
  if (!image) return std::move(image).error();
  return Found{*image, name_of(image->ref), ""};
}

// Names come from elsewhere; a ref may not pass for one of another kind.
Result<std::string> ref_for(const seal::Manifest& manifest, const std::string& wanted) {
  MVM_TRY_CTX(spec::check_name(manifest.name, "project"), "the signed manifest");
  if (wanted.empty())
    return "bundle:" + manifest.name + "@" +
           short_revision(manifest.revision.empty() ? manifest.image_digest : manifest.revision);
  MVM_TRY(spec::check_name(wanted, "image"));
  return "bundle:" + wanted;
}

}  // namespace

Result<seal::Manifest> export_bundle(const store::Layout& layout, const ExportRequest& request) {
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  Found found = MVM_TRY(find(catalog, layout, request.image));
  store::ImageSignature signature = found.image.signature;
  if (signature.manifest.empty()) {
    const seal::Key key = MVM_TRY(signing_key(layout, request.key));
    const seal::Manifest manifest =
        MVM_TRY(manifest_of(layout, found.image, {found.name, found.revision, std::nullopt}));
    signature = MVM_TRY(sign_image(layout, key, manifest));
  }
  const seal::Signed document = MVM_TRY(signed_of(signature));
  MVM_TRY(seal::write_bundle(request.file, document, layout.blob_path(found.image.digest)));
  return seal::open_signed(document);
}

Result<Verified> verify_bundle(const store::Layout& layout, const std::string& file) {
  Verified out;
  out.bundle = MVM_TRY(seal::open_bundle(file));
  out.signer = MVM_TRY(trusted_signer(layout, out.bundle.document.signer, "bundle " + file)).name;
  MVM_TRY(seal::read_image(out.bundle, -1));
  return out;
}

Result<store::ImageRecord> import_bundle(const store::Layout& layout, const std::string& file,
                                         const std::string& ref) {
  const seal::Bundle bundle = MVM_TRY(seal::open_bundle(file));
  const std::string what = "bundle " + file;
  MVM_TRY(trusted_signer(layout, bundle.document.signer, what));
  const seal::Manifest& manifest = bundle.manifest;
  store::ImageRecord image;
  image.ref = MVM_TRY(ref_for(manifest, ref));
  image.digest = manifest.image_digest;
  image.size = manifest.image_size;
  image.arch = MVM_TRY_CTX(spec::parse_arch(manifest.arch), what);
  image.created_ms = unix_time_ms();
  image.source_digest = manifest.revision;
  image.config = MVM_TRY_CTX(store::image_config_from_json(manifest.config_json), what);
  image.signature = {bundle.document.text, seal::to_hex(bundle.document.signature),
                     seal::to_hex(bundle.document.signer)};
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  MVM_TRY(store::remove_stale_temporaries(layout));
  const auto known = MVM_TRY(catalog.lookup_image(image.ref, image.arch));
  if (known && known->signature.signer != image.signature.signer)
    return Error(Errc::kAlreadyExists, image.ref + " is here already, signed by another key")
        .with_hint("choose another --name, or remove it: mvmctl image rm " + image.ref);
  const sys::FileLock lock = MVM_TRY(store::lock_images_shared(layout));
  const sys::TempDir work = MVM_TRY(sys::TempDir::create(layout.images_tmp_dir(), "import-"));
  const std::string blob = work.path() + "/image.erofs";
  {
    const sys::UniqueFd to = MVM_TRY(sys::open_file(blob, O_WRONLY | O_CREAT | O_EXCL, 0600));
    MVM_TRY_CTX(seal::read_image(bundle, to.get()), what);
  }
  MVM_TRY(store::publish_blob(layout, blob, image.digest));
  MVM_TRY(catalog.put_image(image));
  return image;
}

}  // namespace mvm::workflow
