// SPDX-License-Identifier: Apache-2.0
// An image as somebody else would write it, exported as a layer.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "image/export/layer_writer.h"
#include "sys/io.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = mvm::sys::memory_file("image", {reinterpret_cast<const char*>(data), size});
  if (file)
    (void)mvm::image::write_layer("/proc/self/fd/" + std::to_string(file->get()), "/dev/null");
  return 0;
}
