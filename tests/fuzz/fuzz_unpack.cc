// SPDX-License-Identifier: Apache-2.0
// Archives into a tree, as two layers of the same bytes, so that whiteouts and replacements have a
// target.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "image/unpack.h"
#include "sys/files.h"
#include "sys/io.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto dir = mvm::sys::TempDir::create("/tmp", "mvm-fuzz-");
  if (!dir.has_value()) std::abort();
  const std::string tree = dir->path() + "/tree";
  if (!mvm::sys::make_dirs(tree).has_value()) std::abort();
  const mvm::image::UnpackLimits limits{.total = mvm::mebibytes(1), .entries = 200};
  auto unpacker = mvm::image::Unpacker::create(tree, limits);
  if (!unpacker.has_value()) std::abort();
  const auto bytes = std::as_bytes(std::span(data, size));
  (void)unpacker->add_layer_bytes(bytes.first(size / 2), true).has_value();
  (void)unpacker->add_layer_bytes(bytes, true).has_value();
  (void)unpacker->finish().has_value();
  return 0;
}
