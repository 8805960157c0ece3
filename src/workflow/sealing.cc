// SPDX-License-Identifier: Apache-2.0
#include "workflow/sealing.h"

#include <sys/stat.h>

#include <algorithm>

#include "kernel/obtain.h"
#include "seal/policy.h"
#include "spec/guest_label.h"
#include "spec/vm_spec_json.h"
#include "store/config_json.h"
#include "supervisor/main_process.h"
#include "supervisor/services.h"
#include "sys/sha256.h"
#include "workflow/config.h"
#include "workflow/guest_process.h"
#include "workflow/project.h"

namespace mvm::workflow {
namespace {

constexpr const char* kMakeAgain = "make it again: mvmctl build --force, or mvmctl bundle import";

// What the supervisor and `run` start of an image when nobody asks for anything else.
Result<std::vector<std::string>> starts_of(const spec::ImageConfig& config) {
  CreateRequest request;
  request.main_process = true;
  spec::VmSpec vm;
  const spec::ProcessSpec process =
      MVM_TRY(set_guest(vm, request, config, [](const std::string&) { return std::nullopt; }));
  std::vector<std::string> out;
  if (!process.argv.empty()) out.push_back(seal::start_digest(supervisor::start_request(process)));
  wire::Open services;
  services.kind = wire::OpenKind::kServices;
  services.services = supervisor::service_requests(vm);
  if (!services.services.empty()) out.push_back(seal::start_digest(services));
  return out;
}

Result<seal::Key> only_own_key(const seal::KeyStore& keys) {
  std::vector<seal::Key> own;
  for (seal::Key& key : MVM_TRY(keys.list())) {
    if (key.own) own.push_back(std::move(key));
  }
  if (own.size() == 1) return own.front();
  if (own.empty())
    return Error(Errc::kNotFound, "there is no key to sign with")
        .with_hint("make one with: mvmctl key new NAME");
  return Error(Errc::kInvalidArgument, "there are several keys to sign with")
      .with_hint("name one with --key, or with: mvmctl config set signing_key NAME");
}

Error is_sealed(const std::string& image, const std::string& what) {
  return Error(Errc::kPermission, "image " + image + " is sealed: " + what)
      .with_hint("build it with seal = \"dev\" to try things");
}

Result<> check_ports_of(const CreateRequest& request, const std::string& image,
                        const seal::Manifest& manifest) {
  for (const spec::PortForward& forward : request.network.forwards) {
    const bool udp = forward.protocol == spec::Protocol::kUdp;
    const auto& declared = udp ? manifest.udp_ports : manifest.tcp_ports;
    if (std::ranges::find(declared, forward.guest_port) == declared.end())
      return is_sealed(image, (udp ? "UDP port " : "port ") + std::to_string(forward.guest_port) +
                                  " is not one that its manifest declares");
  }
  return {};
}

Error not_what_was_signed(const std::string& what, const std::string& path) {
  return Error(Errc::kCorrupt, what + " is not what was signed: " + path).with_hint(kMakeAgain);
}

}  // namespace

seal::KeyStore key_store(const store::Layout& layout) {
  return seal::KeyStore(layout.config_dir + "/keys");
}

Result<seal::Key> signing_key(const store::Layout& layout, const std::string& name) {
  const seal::KeyStore keys = key_store(layout);
  const Config config = MVM_TRY(Config::load(layout));
  const std::string wanted = !name.empty() ? name : config.get("signing_key").value_or("");
  if (wanted.empty()) return only_own_key(keys);
  seal::Key key = MVM_TRY(keys.find(wanted));
  MVM_TRY(keys.secret(wanted));
  return key;
}

Result<seal::Manifest> manifest_of(const store::Layout& layout, const store::ImageRecord& image,
                                   const Subject& subject) {
  seal::Manifest out;
  out.name = subject.name;
  out.revision = subject.revision;
  out.arch = std::string(spec::to_string(image.arch));
  out.image_digest = image.digest;
  out.image_size = image.size;
  out.verity = subject.verity;
  out.config_json = store::image_config_to_json(image.config);
  if (!out.sealed()) return out;
  const kernel::Kernel kernel =
      MVM_TRY_CTX(kernel::obtain(layout.kernel_cache_dir(), image.arch), "kernel");
  out.kernel_digest = kernel.digest;
  out.kernel_release = kernel.release;
  out.starts = MVM_TRY(starts_of(image.config));
  if (const auto guest = MVM_TRY(spec::guest_of(image.config))) {
    out.outputs = guest->outputs;
    for (const spec::PortForward& port : guest->ports)
      (port.protocol == spec::Protocol::kUdp ? out.udp_ports : out.tcp_ports)
          .push_back(port.guest_port);
    for (const spec::VolumeSpec& volume : guest->volumes) out.volumes.push_back(volume.path);
  }
  return out;
}

Result<store::ImageSignature> sign_image(const store::Layout& layout, const seal::Key& key,
                                         const seal::Manifest& manifest) {
  const seal::Signed document =
      seal::sign_manifest(MVM_TRY(key_store(layout).secret(key.name)), manifest);
  // Parts of it come from mvm-build, perhaps in a guest.
  MVM_TRY_CTX(seal::open_signed(document), "what was to be signed");
  return store::ImageSignature{document.text, seal::to_hex(document.signature),
                               seal::to_hex(document.signer)};
}

Result<seal::Signed> signed_of(const store::ImageSignature& signature) {
  seal::Signed out;
  out.text = signature.manifest;
  out.signature = MVM_TRY(seal::signature_from_hex(signature.bytes));
  out.signer = MVM_TRY(seal::public_key_from_hex(signature.signer));
  return out;
}

Result<seal::Key> trusted_signer(const store::Layout& layout, const seal::PublicKey& signer,
                                 const std::string& what) {
  auto key = MVM_TRY(key_store(layout).find(signer));
  if (key) return std::move(*key);
  return Error(Errc::kPermission,
               what + " is signed by " + seal::short_id(signer) + ", which is not trusted here")
      .with_hint("if it should be, get its public key and: mvmctl key import NAME FILE");
}

Result<std::optional<seal::Manifest>> signed_manifest(const store::ImageRecord& image) {
  const std::string what = "image " + image.ref;
  const auto guest = MVM_TRY(spec::guest_of(image.config));
  const bool sealed = guest && guest->seal == spec::Seal::kSealed;
  if (image.signature.manifest.empty()) {
    if (!sealed) return std::optional<seal::Manifest>();
    return Error(Errc::kCorrupt, what + " is to be sealed, but is not signed")
        .with_hint(kMakeAgain);
  }
  const seal::Signed document = MVM_TRY_CTX(signed_of(image.signature), what);
  auto opened = seal::open_signed(document);
  if (!opened) return std::move(opened).error().with_context(what).with_hint(kMakeAgain);
  seal::Manifest manifest = std::move(*opened);
  if (manifest.sealed() != sealed || manifest.image_digest != image.digest ||
      manifest.config_json != store::image_config_to_json(image.config))
    return not_what_was_signed(what, "its entry in the catalogue says otherwise");
  return std::optional<seal::Manifest>(std::move(manifest));
}

Result<std::optional<CheckedSeal>> check_seal(const store::Layout& layout,
                                              const store::ImageRecord& image) {
  auto manifest = MVM_TRY(signed_manifest(image));
  if (!manifest || !manifest->sealed()) return std::optional<CheckedSeal>();
  const std::string what = "image " + image.ref;
  seal::Key signer = MVM_TRY(
      trusted_signer(layout, MVM_TRY(seal::public_key_from_hex(image.signature.signer)), what));
  const std::string path = layout.blob_path(image.digest);
  if (MVM_TRY(sys::sha256_file(path)) != manifest->image_digest)
    return not_what_was_signed(what, path);
  return std::optional<CheckedSeal>({std::move(*manifest), std::move(signer)});
}

Result<bool> keep_signed(const store::Layout& layout, const store::BuildRecord& build,
                         const seal::Key& key) {
  const store::Catalog reading = MVM_TRY(store::Catalog::open_read_only(layout));
  auto image = MVM_TRY(reading.lookup_image(image_ref(build), build.arch));
  if (!image) return false;
  const auto before = signed_manifest(*image);
  if (!before || !*before || !(*before)->sealed()) return false;
  const seal::Manifest now =
      MVM_TRY(manifest_of(layout, *image, {build.name, build.revision, (*before)->verity}));
  if (seal::to_text(now) == image->signature.manifest &&
      image->signature.signer == seal::to_hex(key.public_key))
    return true;
  // Nothing is signed that was not read and found to be what was signed before.
  if (!check_seal(layout, *image)) return false;
  image->signature = MVM_TRY(sign_image(layout, key, now));
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  MVM_TRY(catalog.put_image(*image));
  return true;
}

Result<> check_sealed_request(const CreateRequest& request, const std::string& image,
                              const seal::Manifest& manifest) {
  if (!request.command.empty() || request.entrypoint)
    return is_sealed(image, "it runs what was signed, and no other command");
  if (!request.env.empty() || !request.user.empty() || !request.working_dir.empty())
    return is_sealed(image, "its environment, user and directory are what was signed");
  if (!request.cmdline_extra.empty())
    return is_sealed(image, "nothing is added to its kernel's command line");
  for (const spec::VolumeSpec& volume : request.volumes) {
    if (std::ranges::find(manifest.volumes, volume.path) == manifest.volumes.end())
      return is_sealed(image, volume.path + " is no volume that its manifest declares");
  }
  return check_ports_of(request, image, manifest);
}

Result<> check_sealed_kernel(const kernel::Kernel& kernel, const seal::Manifest& manifest) {
  if (kernel.digest != manifest.kernel_digest)
    return Error(Errc::kPermission, "the image is sealed for kernel " + manifest.kernel_release +
                                        " (" + manifest.kernel_digest.substr(0, 12) + "), not " +
                                        kernel.release + " (" + kernel.digest.substr(0, 12) + ")")
        .with_hint(
            "mvmctl build seals it for the kernel that is here; mvmctl kernel ls shows which "
            "there are");
  if (MVM_TRY(sys::sha256_file(kernel.vmlinux_path)) != manifest.kernel_digest)
    return Error(Errc::kCorrupt, "the kernel is not what was signed: " + kernel.vmlinux_path)
        .with_hint("get it again: mvmctl kernel fetch --force, or mvmctl kernel build --force");
  return {};
}

Result<kernel::Kernel> sealed_kernel(const store::Layout& layout, const seal::Manifest& manifest) {
  const std::string cache = layout.kernel_cache_dir();
  kernel::Kernel found = MVM_TRY(kernel::obtain(cache, MVM_TRY(spec::parse_arch(manifest.arch))));
  if (found.digest != manifest.kernel_digest) {
    for (kernel::Kernel& other : MVM_TRY(kernel::list(cache))) {
      // Of a file that was once given by --kernel the modules are not known.
      if (other.digest == manifest.kernel_digest && other.package != "file")
        found = std::move(other);
    }
  }
  MVM_TRY(check_sealed_kernel(found, manifest));
  return found;
}

kernel::InitramfsPlan sealed_initramfs(const store::ImageSignature& signature) {
  kernel::InitramfsPlan out;
  out.modules = {"dm_mod", "dm_verity"};
  out.checked = true;
  const auto bytes = seal::signature_from_hex(signature.bytes);
  out.files = {{"seal", S_IFDIR | 0755, ""},
               {"seal/manifest", S_IFREG | 0644, signature.manifest},
               {"seal/signature", S_IFREG | 0644, bytes ? seal::to_bytes(*bytes) : ""}};
  return out;
}

}  // namespace mvm::workflow
