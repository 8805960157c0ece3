// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/text_checks.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kMaxPath = 4095;  // PATH_MAX with its final NUL

}  // namespace

Result<> check_path(std::string_view field, std::string_view path) {
  const std::string name(field);
  if (path.empty()) return Error(Errc::kInvalidArgument, "The " + name + " cannot be empty.");
  if (path.find('\0') != std::string_view::npos)
    return Error(Errc::kInvalidArgument, "The " + name + " cannot contain a NUL character.");
  if (path.size() > kMaxPath)
    return Error(Errc::kInvalidArgument, "The " + name + " is longer than a path can be.");
  return {};
}

}  // namespace mvm::vmm
