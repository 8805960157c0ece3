// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(at), text.size());
    if (end > 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool stays_below(std::string_view path) {
  const auto parts = split(path, '/');
  return !parts.empty() && path.front() != '/' &&
         std::ranges::none_of(parts, [](auto part) { return part == "." || part == ".."; });
}

// "pids.max" → "pids". "cgroup.*" files belong to no controller.
std::string_view controller_of(std::string_view file) { return file.substr(0, file.find('.')); }

// A control file takes its value in one write and is never created by us.
Result<> set(const std::string& file, std::string_view value) {
  const sys::UniqueFd fd = MVM_TRY(sys::open_file(file, O_WRONLY | O_NOFOLLOW));
  return MVM_TRY_CTX(sys::write_full(fd.get(), value),
                     "writing '" + std::string(value) + "' to " + file),
         Result<>();
}

Result<> make_group(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return Error::from_errno("mkdir " + path);
}

// A new group of version 1 has no cpus and no memory nodes, and nothing may enter it.
Result<> inherit_cpuset(const std::string& parent, const std::string& group) {
  for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
    const std::string own = MVM_TRY(sys::read_file(group + name));
    if (own.find_first_not_of(" \n") != std::string::npos) continue;
    MVM_TRY(set(group + name, MVM_TRY(sys::read_file(parent + name))));
  }
  return {};
}

// Makes base/part/part/…; `step` prepares each before the next. Returns the last.
template <class Step>
Result<std::string> make_groups(const std::string& base, std::string_view below, Step step) {
  std::string path = base;
  for (const std::string_view part : split(below, '/')) {
    const std::string parent = path;
    path += "/" + std::string(part);
    MVM_TRY(step(parent, path));
  }
  return path;
}

Error no_controller(std::string_view name, const char* version) {
  return Error(Errc::kUnavailable, "cgroup " + std::string(version) + " has no controller '" +
                                       std::string(name) + "' on this host")
      .with_hint("see --cgroup-version, and /proc/cgroups for what there is");
}

Result<> enter_version1(const CgroupConfig& config, std::string_view mounts) {
  std::set<std::string> groups;
  for (const auto& [file, value] : config.settings) {
    const std::string_view controller = controller_of(file);
    const auto base = cgroup1_mount(mounts, controller);
    if (!base) return no_controller(controller, "v1");
    const std::string group = MVM_TRY(
        make_groups(*base, config.parent + "/" + config.id,
                    [&](const std::string& parent, const std::string& path) -> Result<> {
                      MVM_TRY(make_group(path));
                      return controller == "cpuset" ? inherit_cpuset(parent, path) : Result<>();
                    }));
    MVM_TRY(set(group + "/" + file, value));
    groups.insert(group);
  }
  for (const std::string& group : groups) MVM_TRY(set(group + "/tasks", "0"));
  return {};
}

// The controllers that the settings need, without the core files' "cgroup".
std::set<std::string, std::less<>> controllers(const CgroupConfig& config) {
  std::set<std::string, std::less<>> out;
  for (const auto& [file, value] : config.settings) out.emplace(controller_of(file));
  out.erase("cgroup");
  return out;
}

Result<> enable(const std::string& parent, const std::set<std::string, std::less<>>& wanted) {
  const std::string there = MVM_TRY(sys::read_file(parent + "/cgroup.controllers"));
  std::string trimmed = there;
  std::ranges::replace(trimmed, '\n', ' ');
  const auto known = split(trimmed, ' ');
  for (const std::string& name : wanted) {
    if (std::ranges::find(known, name) == known.end()) return no_controller(name, "v2");
    MVM_TRY(set(parent + "/cgroup.subtree_control", "+" + name));
  }
  return {};
}

Result<> enter_version2(const CgroupConfig& config, std::string_view mounts) {
  const auto base = cgroup2_mount(mounts);
  if (!base) {
    return Error(Errc::kUnavailable, "cgroup v2 is not mounted on this host")
        .with_hint("see --cgroup-version");
  }
  if (config.settings.empty()) {
    const std::string group = *base + "/" + config.parent;
    return sys::path_exists(group) ? set(group + "/cgroup.procs", "0") : Result<>();
  }
  const auto wanted = controllers(config);
  const std::string group =
      MVM_TRY(make_groups(*base, config.parent + "/" + config.id,
                          [&](const std::string& parent, const std::string& path) -> Result<> {
                            MVM_TRY(enable(parent, wanted));
                            return make_group(path);
                          }));
  for (const auto& [file, value] : config.settings) MVM_TRY(set(group + "/" + file, value));
  return set(group + "/cgroup.procs", "0");
}

}  // namespace

Result<> validate(const CgroupConfig& config) {
  if (config.version != 1 && config.version != 2)
    return Error(Errc::kInvalidArgument, "cgroup version is neither 1 nor 2");
  if (!stays_below(config.parent))
    return Error(Errc::kInvalidArgument,
                 "parent cgroup '" + config.parent + "' is not a path below the hierarchy's root");
  if (!config.settings.empty() &&
      (!stays_below(config.id) || config.id.find('/') != config.id.npos))
    return Error(Errc::kInvalidArgument, "cgroup name '" + config.id + "' is not a file name");
  for (const auto& [file, value] : config.settings) {
    if (file.find('/') != file.npos || file.find('.') == file.npos || file.front() == '.')
      return Error(Errc::kInvalidArgument, "cgroup file '" + file + "' is not CONTROLLER.NAME");
    if (value.empty())
      return Error(Errc::kInvalidArgument, "cgroup file " + file + " gets no value");
  }
  return {};
}

std::optional<std::string> cgroup1_mount(std::string_view mounts, std::string_view controller) {
  for (const std::string_view line : split(mounts, '\n')) {
    const auto field = split(line, ' ');
    if (field.size() < 4 || field[2] != "cgroup") continue;
    const auto options = split(field[3], ',');
    if (std::ranges::find(options, controller) != options.end()) return std::string(field[1]);
  }
  return std::nullopt;
}

std::optional<std::string> cgroup2_mount(std::string_view mounts) {
  for (const std::string_view line : split(mounts, '\n')) {
    const auto field = split(line, ' ');
    if (field.size() >= 4 && field[2] == "cgroup2") return std::string(field[1]);
  }
  return std::nullopt;
}

Result<> enter_cgroup(const CgroupConfig& config) {
  MVM_TRY(validate(config));
  const std::string mounts = MVM_TRY(sys::read_file("/proc/self/mounts"));
  return config.version == 1 ? enter_version1(config, mounts) : enter_version2(config, mounts);
}

}  // namespace mvm::vmm
