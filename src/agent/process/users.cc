// SPDX-License-Identifier: Apache-2.0
#include "agent/process/users.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <charconv>
#include <optional>

#include "sys/io.h"

namespace mvm::agent {
namespace {

constexpr std::size_t kMaxGroups = 1024;
constexpr Bytes kMaxFile = mebibytes(4);

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  // (uid_t)-1 means "leave unchanged" to the kernel.
  if (text.empty() || ec != std::errc() || end != text.data() + text.size() || value == UINT32_MAX)
    return std::nullopt;
  return value;
}

// Splits off everything up to `separator`.
std::string_view cut(std::string_view& rest, char separator) {
  const std::size_t at = rest.find(separator);
  const std::string_view head = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return head;
}

struct PasswdLine {
  std::string_view name;
  uid_t uid;
  gid_t gid;
  std::string_view home;
};

std::optional<PasswdLine> find_passwd(std::string_view passwd, std::string_view name,
                                      std::optional<uid_t> uid) {
  while (!passwd.empty()) {
    std::string_view line = cut(passwd, '\n');
    std::array<std::string_view, 6> field;
    for (auto& f : field) f = cut(line, ':');
    const auto line_uid = number(field[2]);
    const auto line_gid = number(field[3]);
    if (field[0].empty() || !line_uid || !line_gid) continue;
    if (field[0] == name || (uid && *uid == *line_uid))
      return PasswdLine{field[0], *line_uid, *line_gid, field[5]};
  }
  return std::nullopt;
}

std::optional<gid_t> find_group(std::string_view group, std::string_view name) {
  while (!group.empty()) {
    std::string_view line = cut(group, '\n');
    const std::string_view found = cut(line, ':');
    cut(line, ':');
    const auto gid = number(cut(line, ':'));
    if (gid && found == name) return gid;
  }
  return std::nullopt;
}

std::vector<gid_t> groups_of(std::string_view group, std::string_view name) {
  std::vector<gid_t> out;
  while (!group.empty() && out.size() < kMaxGroups) {
    std::string_view line = cut(group, '\n');
    cut(line, ':');
    cut(line, ':');
    const auto gid = number(cut(line, ':'));
    while (gid && !line.empty()) {
      if (cut(line, ',') != name) continue;
      out.push_back(*gid);
      break;
    }
  }
  return out;
}

Error unknown(std::string_view what, std::string_view name) {
  return Error(Errc::kInvalidArgument,
               "there is no " + std::string(what) + " '" + std::string(name) + "' in the guest")
      .with_hint("name one of the guest's /etc/passwd and /etc/group, or give a number");
}

// Never blocks on what an image may have put in the place of the file.
std::string read_database(const char* path) {
  auto fd = sys::open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat st;
  if (!fd || ::fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  return sys::read_fd(fd->get(), kMaxFile).value_or(std::string());
}

}  // namespace

Result<Credentials> resolve_user(std::string_view spec, std::string_view passwd,
                                 std::string_view group) {
  const bool with_group = spec.find(':') != std::string_view::npos;
  const std::string_view user = cut(spec, ':');
  Credentials out;
  // A name of digits only is looked up as a name first, as POSIX chown does.
  std::optional<PasswdLine> line = find_passwd(passwd, user.empty() ? "root" : user, std::nullopt);
  const auto uid = user.empty() ? std::optional<uid_t>(0) : number(user);
  if (!line && uid) line = find_passwd(passwd, "", uid);
  if (!line && !uid) return unknown("user", user);
  out.uid = line ? line->uid : *uid;
  if (line) {
    out.gid = line->gid;
    out.name = line->name;
    if (line->home.starts_with('/')) out.home = line->home;
    out.groups = groups_of(group, line->name);
  } else if (out.uid == 0) {
    out.name = "root";
    out.home = "/root";
  }
  if (!with_group) return out;
  const auto by_name = find_group(group, spec);
  const auto gid = by_name ? by_name : number(spec);
  if (!gid) return unknown("group", spec);
  out.gid = *gid;
  out.groups.clear();
  return out;
}

Result<Credentials> lookup_user(std::string_view spec) {
  return resolve_user(spec, read_database("/etc/passwd"), read_database("/etc/group"));
}

}  // namespace mvm::agent
