// SPDX-License-Identifier: Apache-2.0
// A bundle from anybody, and a signed manifest as the guest's agent reads it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "seal/bundle.h"
#include "seal/key_file.h"
#include "sys/io.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto manifest = mvm::seal::manifest_from_text(text)) {
    // What was read is written so that it is read as the same.
    const std::string again = mvm::seal::to_text(*manifest);
    const auto twice = mvm::seal::manifest_from_text(again);
    if (!twice || mvm::seal::to_text(*twice) != again) __builtin_trap();
  }
  (void)mvm::seal::public_key_from_pem(text);
  (void)mvm::seal::secret_key_from_pem(text);
  const auto file = mvm::sys::memory_file("bundle", text);
  if (!file) return 0;
  const auto bundle = mvm::seal::open_bundle("/proc/self/fd/" + std::to_string(file->get()));
  if (bundle) (void)mvm::seal::read_image(*bundle, -1);
  return 0;
}
