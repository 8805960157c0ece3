// SPDX-License-Identifier: Apache-2.0
// Signing what was built, and holding a machine to what was signed.
//
// Threat model and reasons: docs/adr/0023-seal.md.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "kernel/initramfs.h"
#include "kernel/kernel.h"
#include "seal/bundle.h"
#include "seal/key_store.h"
#include "seal/manifest.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "workflow/create.h"

namespace mvm::workflow {

seal::KeyStore key_store(const store::Layout& layout);

// The key that signs: of this name, else the configured one, else the only own one.
// Errors: kNotFound and kInvalidArgument, saying how to make or name one.
Result<seal::Key> signing_key(const store::Layout& layout, const std::string& name);

// What is signed of an image. With `verity` it is a sealed one, which names the kernel that would
// boot it now. Errors: those of obtaining a kernel.
struct Subject {
  std::string name;
  std::string revision;  // empty: it was not built from a project
  std::optional<seal::Verity> verity;
};
Result<seal::Manifest> manifest_of(const store::Layout& layout, const store::ImageRecord& image,
                                   const Subject& subject);

Result<store::ImageSignature> sign_image(const store::Layout& layout, const seal::Key& key,
                                         const seal::Manifest& manifest);

// As it lies in the catalogue. Errors: kCorrupt.
Result<seal::Signed> signed_of(const store::ImageSignature& signature);

// Errors: kPermission when nobody of these keys has signed it, naming the signer.
Result<seal::Key> trusted_signer(const store::Layout& layout, const seal::PublicKey& signer,
                                 const std::string& what);

// What was signed of an image, if it is signed: the signature fits, and the image's record says the
// same. Neither the signer nor the image's file is looked at. Errors: kCorrupt.
Result<std::optional<seal::Manifest>> signed_manifest(const store::ImageRecord& image);

struct CheckedSeal {
  seal::Manifest manifest;
  seal::Key signer;
};

// The signed manifest of a sealed image whose signer is trusted, and every byte of the image read
// and compared with it; nothing for an image that is not sealed.
// Errors: kCorrupt, kPermission.
Result<std::optional<CheckedSeal>> check_seal(const store::Layout& layout,
                                              const store::ImageRecord& image);

// Whether a sealed image that is here is, or can be, signed by this key for the kernel that is
// here; it is then. False: only building it again helps.
Result<bool> keep_signed(const store::Layout& layout, const store::BuildRecord& build,
                         const seal::Key& key);

// Whether a sealed machine may be asked for this. Errors: kPermission naming the option.
Result<> check_sealed_request(const CreateRequest& request, const std::string& image,
                              const seal::Manifest& manifest);

// Errors: kPermission for another kernel than the signed one; kCorrupt when its file was changed.
Result<> check_sealed_kernel(const kernel::Kernel& kernel, const seal::Manifest& manifest);
// The kernel that was signed, of those that are here. Errors: kPermission naming both; kCorrupt.
Result<kernel::Kernel> sealed_kernel(const store::Layout& layout, const seal::Manifest& manifest);

// What the guest needs to keep the seal.
kernel::InitramfsPlan sealed_initramfs(const store::ImageSignature& signature);

}  // namespace mvm::workflow
