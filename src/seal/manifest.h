// SPDX-License-Identifier: Apache-2.0
// The signed manifest of an image: what it is, and what a machine of it may do.
//
// The guest's agent reads it before it mounts the image, so it is lines of text that a hundred
// lines of code can read. Format: docs/formats/bundle.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/units.h"

namespace mvm::seal {

constexpr Bytes kLargestManifest = mebibytes(1);

// What dm-verity checks an image's blocks against. Units: blocks of 4096 bytes.
struct Verity {
  std::string root_hash;  // 64 hex characters, SHA-256
  std::string salt;       // 64 hex characters
  std::uint64_t data_blocks = 0;
  std::uint64_t hash_block = 0;  // where the tree begins in the image's file
};

struct Manifest {
  std::string name;
  std::string revision;  // 64 hex characters; empty: it was not built from a project
  std::string arch;      // "x86_64"
  std::string image_digest;
  Bytes image_size;
  std::string kernel_digest;  // of the uncompressed kernel; sealed images boot on no other
  std::string kernel_release;
  std::optional<Verity> verity;  // of sealed images
  // Digests of what may be started, see policy.h; nothing else may.
  std::vector<std::string> starts;
  std::vector<std::string> outputs;      // paths that may be copied out
  std::vector<std::uint16_t> tcp_ports;  // of the guest, that may be connected to
  std::vector<std::uint16_t> udp_ports;  // of the guest, that the engine may forward to
  std::vector<std::string> volumes;      // paths where disks of the host may be mounted
  std::string config_json;               // the image's configuration; one line

  bool sealed() const { return verity.has_value(); }
};

// The bytes that are signed.
std::string to_text(const Manifest& manifest);
// Errors: kCorrupt with the line; kUnsupported for another version or a line of a newer mvm, which
// may hold a rule that would not be kept.
Result<Manifest> manifest_from_text(std::string_view text);

}  // namespace mvm::seal
