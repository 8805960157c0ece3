// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/cmdline.h"

#include <charconv>

namespace mvm::agent {
namespace {

// 0 for what is no number of 32 bits.
std::uint32_t number(std::string_view text) {
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() ? out : 0;
}

}  // namespace

BootOptions parse_cmdline(std::string_view cmdline) {
  BootOptions out;
  while (!cmdline.empty()) {
    const std::size_t end = cmdline.find_first_of(" \t\n");
    const std::string_view word = cmdline.substr(0, end);
    cmdline.remove_prefix(end == std::string_view::npos ? cmdline.size() : end + 1);
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    const bool on = value == "1";
    if (name == "mvm.scratch") out.scratch = on;
    if (name == "mvm.seal") out.signer = value;
    if (name == "mvm.trace") out.trace = on;
    if (name == "mvm.disks") out.disks = value == "access" ? DiskMark::kAccess : DiskMark::kSerial;
    if (name == "mvm.vsock") out.vsock_port = number(value);
  }
  return out;
}

}  // namespace mvm::agent
