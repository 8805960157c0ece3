// SPDX-License-Identifier: Apache-2.0
#include "image/entry_path.h"

#include "image/limits.h"

namespace mvm::image {
namespace {

Error refused(std::string_view name, std::string_view why) {
  return Error(Errc::kCorrupt, "entry " + shown(name) + " " + std::string(why));
}

}  // namespace

std::string shown(std::string_view text) {
  constexpr std::size_t kShown = 200;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    } else {
      out += c;
    }
  }
  return out + (text.size() > kShown ? "…'" : "'");
}

SplitPath split_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

Result<std::string> entry_path(std::string_view name) {
  if (name.empty()) return refused(name, "has no name");
  if (name.size() > kMaxPathLength) return refused(name, "has a path longer than 4000 bytes");
  if (name.find('\0') != std::string_view::npos) return refused(name, "has a NUL in its path");
  std::string out;
  std::size_t depth = 0;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t slash = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return refused(name, "climbs out of the tree with '..'");
    if (part.size() > kMaxNameLength) return refused(name, "has a name longer than 255 bytes");
    if (++depth > kMaxPathDepth) return refused(name, "is nested deeper than 256 directories");
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

Result<std::string> hard_link_path(std::string_view entry, std::string_view target) {
  if (target.starts_with('/'))
    return refused(entry, "is a hard link to the absolute path " + shown(target));
  auto path = entry_path(target);
  if (!path.has_value() || path->empty()) {
    return refused(entry,
                   "is a hard link to " + shown(target) + ", which is not a path in the tree");
  }
  return path;
}

}  // namespace mvm::image
