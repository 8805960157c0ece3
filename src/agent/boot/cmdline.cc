// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/cmdline.h"

namespace mvm::agent {

BootOptions parse_cmdline(std::string_view cmdline) {
  BootOptions out;
  while (!cmdline.empty()) {
    const std::size_t end = cmdline.find_first_of(" \t\n");
    const std::string_view word = cmdline.substr(0, end);
    cmdline.remove_prefix(end == std::string_view::npos ? cmdline.size() : end + 1);
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const bool on = equals != std::string_view::npos && word.substr(equals + 1) == "1";
    if (name == "mvm.scratch") out.scratch = on;
    if (name == "mvm.trace") out.trace = on;
  }
  return out;
}

}  // namespace mvm::agent
