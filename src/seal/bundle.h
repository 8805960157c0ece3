// SPDX-License-Identifier: Apache-2.0
// A bundle, NAME.mvmpkg: an image and its signed manifest in one file, to be carried elsewhere.
//
// Format: docs/formats/bundle.md. A bundle may come from anybody; nothing in it is believed before
// its digest and its signature have been checked.
#pragma once

#include <string>

#include "core/result.h"
#include "core/units.h"
#include "seal/ed25519.h"
#include "seal/manifest.h"
#include "sys/unique_fd.h"

namespace mvm::seal {

// A manifest with what makes it believed.
struct Signed {
  std::string text;  // of the manifest; the bytes that are signed
  Signature signature{};
  PublicKey signer{};
};

// Errors: kCorrupt when the signature does not fit; those of the manifest.
Result<Manifest> open_signed(const Signed& document);
Signed sign_manifest(const SecretKey& secret, const Manifest& manifest);

struct Bundle {
  Signed document;
  Manifest manifest;
  sys::UniqueFd file;
  Bytes image_offset;  // in `file`
};

// The new file is whole or not there; one of the same name is replaced.
// Errors: kCorrupt when the image is not the one that the manifest names; kNoSpace.
Result<> write_bundle(const std::string& path, const Signed& document, const std::string& image);

// Reads all but the image, and checks the signature. Whether the signer is trusted is the caller's
// to ask. Errors: kNotFound; kCorrupt; kUnsupported for another version, naming both.
Result<Bundle> open_bundle(const std::string& path);

// Reads the image, compares it with the manifest, and writes it to `to`; -1: nowhere.
// Errors: kCorrupt.
Result<> read_image(const Bundle& bundle, int to);

}  // namespace mvm::seal
