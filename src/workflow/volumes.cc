// SPDX-License-Identifier: Apache-2.0
#include "workflow/volumes.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "spec/vm_spec_json.h"
#include "spec/words.h"
#include "sys/io.h"
#include "wire/limits.h"
#include "workflow/machines.h"
#include "workflow/scratch.h"

namespace mvm::workflow {
namespace {

std::string disk_of(const std::string& directory) { return directory + "/disk.img"; }
std::string lock_of(const std::string& directory) { return directory + "/lock"; }

Result<sys::FileLock> lock_all(const store::Layout& layout) {
  MVM_TRY(sys::make_dirs(layout.volumes_dir()));
  return sys::FileLock::acquire(layout.volumes_dir() + "/.lock");
}

// The machine that has a volume, by name; empty when it cannot be told.
std::string holder(const store::Layout& layout, const std::string& volume) {
  const auto machines = list_machines(layout);
  if (!machines) return "";
  for (const Machine& machine : *machines) {
    if (!machine.alive) continue;
    const auto vm = spec::vm_spec_from_json(machine.record.spec_json);
    if (vm && std::ranges::any_of(vm->volumes, [&](const auto& v) { return v.name == volume; }))
      return vm->name;
  }
  return "";
}

Error busy(const store::Layout& layout, const std::string& volume) {
  const std::string machine = holder(layout, volume);
  if (machine.empty()) return Error(Errc::kBusy, "volume '" + volume + "' is in use");
  return Error(Errc::kBusy, "volume '" + volume + "' is in use by machine '" + machine + "'")
      .with_hint("stop it first: mvmctl stop " + machine);
}

// Both sides of a '+' are names.
Result<> check_volume_name(const std::string& name) {
  const std::size_t plus = name.find('+');
  MVM_TRY(spec::check_name(name.substr(0, plus), "volume"));
  if (plus == std::string::npos) return {};
  return spec::check_name(name.substr(plus + 1), "volume");
}

// "/a/" is "/a". Errors: kInvalidArgument for what is not below the root.
Result<std::string> guest_path(const spec::VolumeSpec& volume) {
  std::string path = std::filesystem::path(volume.path).lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (path.starts_with('/') && path != "/" && path.size() < wire::kMaxPath) return path;
  return Error(Errc::kInvalidArgument, "volume '" + volume.name +
                                           "' needs an absolute path in the guest, not '" +
                                           volume.path.substr(0, 100) + "'");
}

// Whole or not there.
Result<> make_disk(const store::Layout& layout, const std::string& directory, Bytes size) {
  const std::string made = directory + "/new.img";
  std::error_code ignored;
  std::filesystem::remove(made, ignored);  // of somebody who was killed
  MVM_TRY(make_scratch({made, layout.scratch_template_dir(), size, /*durable=*/true}));
  if (::rename(made.c_str(), disk_of(directory).c_str()) != 0)
    return Error::from_errno("rename " + made);
  return {};
}

Result<sys::FileLock> take(const store::Layout& layout, const spec::VolumeSpec& wanted) {
  const std::string directory = layout.volume_dir(wanted.name);
  MVM_TRY(sys::make_dirs(directory));
  auto lock = MVM_TRY(sys::FileLock::try_acquire(lock_of(directory)));
  if (!lock) return busy(layout, wanted.name);
  if (!sys::path_exists(disk_of(directory)))
    MVM_TRY_CTX(make_disk(layout, directory, wanted.size), "volume '" + wanted.name + "'");
  return std::move(*lock);
}

}  // namespace

Result<std::vector<spec::VolumeDisk>> place_volumes(const store::Layout& layout,
                                                    const std::vector<spec::VolumeSpec>& wanted) {
  const auto refuse = [](const std::string& why) { return Error(Errc::kInvalidArgument, why); };
  if (wanted.size() > spec::kMaxVolumes)
    return refuse("a machine has at most " + std::to_string(spec::kMaxVolumes) + " volumes");
  std::vector<spec::VolumeDisk> out;
  for (const spec::VolumeSpec& volume : wanted) {
    MVM_TRY(check_volume_name(volume.name));
    const std::string path = MVM_TRY(guest_path(volume));
    for (const spec::VolumeDisk& other : out) {
      if (other.name == volume.name) return refuse("volume '" + volume.name + "' is there twice");
      if (other.guest_path == path) return refuse("two volumes lie at " + path);
    }
    out.push_back({volume.name, path, disk_of(layout.volume_dir(volume.name))});
  }
  std::ranges::sort(out, {}, &spec::VolumeDisk::guest_path);
  return out;
}

Result<std::vector<sys::FileLock>> take_volumes(const store::Layout& layout,
                                                const std::vector<spec::VolumeSpec>& wanted) {
  std::vector<sys::FileLock> out;
  if (wanted.empty()) return out;
  const sys::FileLock all = MVM_TRY(lock_all(layout));
  for (const spec::VolumeSpec& volume : wanted) out.push_back(MVM_TRY(take(layout, volume)));
  return out;
}

Result<std::optional<Volume>> find_volume(const store::Layout& layout, const std::string& name) {
  const std::string directory = layout.volume_dir(name);
  struct stat disk{};
  if (::stat(disk_of(directory).c_str(), &disk) != 0) return std::optional<Volume>();
  Volume out;
  out.name = name;
  out.size = Bytes{static_cast<std::uint64_t>(disk.st_size)};
  out.used = Bytes{static_cast<std::uint64_t>(disk.st_blocks) * 512};
  out.disk_path = disk_of(directory);
  if (MVM_TRY(sys::FileLock::is_held(lock_of(directory)))) out.machine = holder(layout, name);
  return std::optional(std::move(out));
}

Result<std::vector<Volume>> list_volumes(const store::Layout& layout) {
  std::vector<Volume> out;
  for (const std::string& directory : sys::children(layout.volumes_dir())) {
    const std::string name = std::filesystem::path(directory).filename().string();
    if (auto volume = MVM_TRY(find_volume(layout, name))) out.push_back(std::move(*volume));
  }
  std::ranges::sort(out, {}, &Volume::name);
  return out;
}

Result<> remove_volume(const store::Layout& layout, const std::string& name) {
  MVM_TRY(check_volume_name(name));
  const sys::FileLock all = MVM_TRY(lock_all(layout));
  const std::string directory = layout.volume_dir(name);
  if (!sys::path_exists(directory))
    return Error(Errc::kNotFound, "there is no volume '" + name + "'")
        .with_hint("see: mvmctl volume ls");
  const auto lock = MVM_TRY(sys::FileLock::try_acquire(lock_of(directory)));
  if (!lock) return busy(layout, name);
  return sys::remove_tree(directory);
}

}  // namespace mvm::workflow
