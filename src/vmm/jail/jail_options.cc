// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jail_options.h"

#include <sys/resource.h>

#include <charconv>

namespace mvm::vmm {
namespace {

Error wrong(std::string message, std::string hint) {
  return Error(Errc::kInvalidArgument, std::move(message)).with_hint(std::move(hint));
}

// NAME=VALUE, neither empty.
std::optional<std::pair<std::string, std::string>> split_setting(std::string_view text) {
  const std::size_t at = text.find('=');
  if (at == text.npos || at == 0 || at + 1 == text.size()) return std::nullopt;
  return std::pair(std::string(text.substr(0, at)), std::string(text.substr(at + 1)));
}

}  // namespace

Result<JailEntry> parse_jail_entry(std::string_view text) {
  const std::string whole(text);
  JailEntry out;
  if (text.ends_with(":rw")) {
    out.access = JailEntry::Access::kReadWrite;
    text.remove_suffix(3);
  } else if (text.ends_with(":ro")) {
    text.remove_suffix(3);
  }
  const std::size_t colon = text.find(':');
  out.path = text.substr(0, colon);
  if (colon != text.npos) out.inside = text.substr(colon + 1);
  const bool plain = out.path.starts_with('/') && out.inside.find(':') == out.inside.npos &&
                     (colon == text.npos || out.inside.starts_with('/'));
  if (plain) return out;
  return wrong("'" + whole + "' names no file for a jail",
               "write PATH, PATH:INSIDE, PATH:rw or PATH:INSIDE:rw; both begin with /");
}

Result<ResourceLimit> parse_resource_limit(std::string_view text) {
  const auto setting = split_setting(text);
  ResourceLimit out;
  if (setting) {
    const auto& [name, value] = *setting;
    out.resource = name == "fsize" ? RLIMIT_FSIZE : name == "no-file" ? RLIMIT_NOFILE : -1;
    const char* end = value.data() + value.size();
    const auto [stop, ec] = std::from_chars(value.data(), end, out.value);
    if (out.resource >= 0 && ec == std::errc() && stop == end) return out;
  }
  return wrong("'" + std::string(text) + "' is no resource limit",
               "write fsize=BYTES or no-file=COUNT");
}

Result<std::optional<CgroupConfig>> make_cgroup(const JailOptions& options, const std::string& id) {
  CgroupConfig out{options.cgroup_version, options.parent_cgroup, id, {}};
  for (const std::string& text : options.cgroups) {
    const auto setting = split_setting(text);
    if (!setting || setting->second.find('=') != std::string::npos)
      return wrong("'" + text + "' is no cgroup setting", "write FILE=VALUE, as in pids.max=64");
    out.settings.push_back(*setting);
  }
  MVM_TRY(validate(out));
  if (out.settings.empty() && out.version == 1) return std::optional<CgroupConfig>();
  return std::optional(out);
}

std::vector<JailDevice> monitor_devices() {
  return {{"/dev/kvm", false},
          {"/dev/net/tun", false},
          {"/dev/urandom", false},
          {"/dev/userfaultfd", false}};
}

Result<JailConfig> make_jail(const JailOptions& options, const std::string& id) {
  JailConfig out;
  for (const std::string& file : options.files)
    out.entries.push_back(MVM_TRY(parse_jail_entry(file)));
  for (const int fd : options.descriptors) {
    if (fd < 3)
      return wrong(std::to_string(fd) + " is no descriptor to keep", "0, 1 and 2 stay open anyway");
  }
  out.keep_descriptors = options.descriptors;
  out.working_dir = options.working_dir;
  out.devices = monitor_devices();
  out.uid = options.uid;
  out.gid = options.gid;
  if (options.net == "host") {
    out.net = JailConfig::Net::kHost;
  } else if (options.net != "new") {
    out.net = JailConfig::Net::kJoin;
    out.join_net = options.net;
  }
  for (const std::string& layer : options.optional)
    out.optional.push_back(MVM_TRY(parse_optional_layer(layer)));
  for (const std::string& limit : options.limits)
    out.limits.push_back(MVM_TRY(parse_resource_limit(limit)));
  JailOptions cgroup = options;
  if (cgroup.parent_cgroup.empty()) cgroup.parent_cgroup = "mvm-vmm";
  out.cgroup = MVM_TRY(make_cgroup(cgroup, id));
  return out;
}

}  // namespace mvm::vmm
