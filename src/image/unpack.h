// SPDX-License-Identifier: Apache-2.0
// Archives into a tree: tar with any usual compression, OCI layers with their whiteouts.
//
// libarchive reads; TreeWriter writes. A layer whose digest is known is hashed while it is read,
// and add_layer() fails at its end when the digest or size differs; the caller then drops the tree.
// Errors: kCorrupt naming layer and entry, kLimit naming the limit, kNoSpace naming the tree.
// Source: OCI image-spec v1.1, layer.md.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/result.h"
#include "core/units.h"
#include "image/limits.h"
#include "image/progress.h"

namespace mvm::image {

// A layer as a file on this host.
struct LayerFile {
  std::string path;
  std::string digest;      // "sha256:…"; empty: not verified
  Bytes size;              // expected when digest is set
  bool whiteouts = false;  // ".wh." names mean removal (OCI layers); otherwise they are plain files
};

class Unpacker {
 public:
  // `tree` is an existing empty directory.
  static Result<Unpacker> create(const std::string& tree, const UnpackLimits& limits = {});
  Unpacker(Unpacker&&) noexcept;
  Unpacker& operator=(Unpacker&&) noexcept;
  ~Unpacker();

  // Layers lowest first.
  Result<> add_layer(const LayerFile& layer, Progress& progress);
  // The same from memory; for tests and fuzzing.
  Result<> add_layer_bytes(std::span<const std::byte> archive, bool whiteouts);
  // Call once after the last layer.
  Result<> finish();

 private:
  struct State;
  explicit Unpacker(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mvm::image
