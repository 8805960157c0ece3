// SPDX-License-Identifier: Apache-2.0
// A kernel that is ready to boot, and its JSON note on disk (kernel.json).
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "spec/vm_spec.h"

namespace mvm::kernel {

struct Kernel {
  std::string release;       // "6.1.0-56-cloud-amd64"; empty when the image does not tell
  std::string vmlinux_path;  // uncompressed ELF (x86_64) or flat Image (aarch64)
  std::string modules_dir;   // ".../lib/modules/REL"; empty: everything needed is built in
  std::string digest;        // SHA-256 of the file at vmlinux_path
  spec::Arch arch = spec::Arch::kX86_64;
  std::string
      package;  // "linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64"; "file" for --kernel FILE
  Bytes size;   // of the file at vmlinux_path
};

// kernel.json, schema 1. Paths inside `base_dir` are written relative to it, so that a cache may be
// moved.
std::string to_json(const Kernel& kernel, const std::string& base_dir);
// Errors: kCorrupt; kUnsupported names both schema numbers.
Result<Kernel> from_json(std::string_view text, const std::string& base_dir);

}  // namespace mvm::kernel
