// SPDX-License-Identifier: Apache-2.0
// Golden files for tests: expected texts below tests/golden, rewritten by running the test with
// MVM_ACCEPT=1.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "sys/io.h"

namespace mvm::testing_golden {

// The golden file tests/golden/NAME ("qemu/default.txt"), after writing `text` into it when
// MVM_ACCEPT=1.
inline std::string golden(const std::string& name, std::string_view text) {
  const std::string path = std::string(MVM_SOURCE_DIR) + "/tests/golden/" + name;
  const char* accept = std::getenv("MVM_ACCEPT");
  if (accept != nullptr && std::string_view(accept) == "1") {
    // A file that cannot be written shows as a difference below.
    static_cast<void>(sys::make_dirs(path.substr(0, path.find_last_of('/')), 0755).has_value());
    static_cast<void>(sys::write_file(path, text, 0644).has_value());
  }
  const auto stored = sys::read_file(path);
  return stored ? *stored : "no " + path + ": run the test with MVM_ACCEPT=1";
}

}  // namespace mvm::testing_golden
