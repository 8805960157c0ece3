// SPDX-License-Identifier: Apache-2.0
#include "kernel/initramfs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>

#include "kernel/cpio.h"
#include "kernel/memo.h"
#include "kernel/vmlinux.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::kernel {
namespace {

constexpr std::size_t kMaxModule = std::size_t{64} << 20;
constexpr Bytes kMaxAgent = mebibytes(64);

struct Group {
  std::string_view name;
  std::vector<std::string> modules;
};

// fuse (402 KiB), dm-verity and loop are left out unless they are asked for, and of the two
// channels' drivers the one that is not used: 700 KiB more that the guest would unpack at every
// boot.
std::array<Group, 2> groups(const InitramfsPlan& plan) {
  const char* driver =
      plan.channel == AgentChannel::kVsock ? "vmw_vsock_virtio_transport" : "virtio_console";
  Group boot{"boot", {"virtio_mmio", driver, "virtio_blk", "erofs", "overlay"}};
  boot.modules.insert(boot.modules.end(), plan.modules.begin(), plan.modules.end());
  return {std::move(boot), Group{"net", {"virtio_net"}}};
}

// Everything that decides the bytes of the archive. Raise the number when anything in this file
// changes them.
std::string cache_key(const Kernel& kernel, const std::string& agent_digest,
                      const InitramfsPlan& plan) {
  std::string text = "mvm-initramfs 2\n" + kernel.digest + "\n" + agent_digest + "\n" +
                     kernel.release + "\n" + kernel.package + "\n" + kernel.modules_dir + "\n";
  for (const Group& group : groups(plan)) {
    for (const std::string& module : group.modules)
      text += std::string(group.name) + " " + module + "\n";
  }
  for (const CpioEntry& file : plan.files)
    text += file.path + " " + std::to_string(file.mode) + " " + sys::sha256_hex(file.data) + "\n";
  return sys::sha256_hex(text);
}

// Checking a module's signature costs the guest an RSA operation of several milliseconds and
// protects nothing: apt has verified the package, and the archive is the guest's own pid 1. Source:
// include/linux/module_signature.h: payload, signature, 12 bytes of which the last four are the
// signature's length (big-endian), magic.
void cut_signature(std::string& module) {
  constexpr std::string_view kMagic = "~Module signature appended~\n";
  constexpr std::size_t kInfoSize = 12;
  if (!module.ends_with(kMagic) || module.size() < kMagic.size() + kInfoSize) return;
  const std::size_t info_end = module.size() - kMagic.size();
  std::size_t length = 0;
  for (std::size_t i = info_end - 4; i < info_end; ++i)
    length = length << 8 | static_cast<unsigned char>(module[i]);
  if (length <= info_end - kInfoSize) module.resize(info_end - kInfoSize - length);
}

// Debian 13 ships modules as .ko.xz; unpacked here, so that the agent needs no decompressor.
Result<std::string> read_module(const std::string& path) {
  std::string bytes = MVM_TRY(sys::read_file(path, Bytes{kMaxModule}));
  if (!path.ends_with(".ko")) bytes = MVM_TRY_CTX(decompress(bytes, kMaxModule), path);
  if (detect_format(bytes) != ImageFormat::kElf)
    return Error(Errc::kCorrupt, path + " is no kernel module");
  cut_signature(bytes);
  return bytes;
}

Result<std::vector<CpioEntry>> collect(const Kernel& kernel, const std::string& agent_path,
                                       const InitramfsPlan& plan) {
  std::vector<CpioEntry> entries;
  for (const char* dir : {"dev", "proc", "sys", "run", "newroot", "modules"})
    entries.push_back({dir, S_IFDIR | 0755, ""});
  std::string agent = MVM_TRY(sys::read_file(agent_path, kMaxAgent));
  if (agent.empty()) return Error(Errc::kCorrupt, "guest agent " + agent_path + " is empty");
  entries.push_back({"init", S_IFREG | 0755, std::move(agent)});
  std::string order;
  if (!kernel.modules_dir.empty()) {
    const ModuleIndex index = MVM_TRY(read_modules(kernel.modules_dir));
    for (const InitramfsModule& module : MVM_TRY(plan_modules(index, plan))) {
      order += module.group + " " + module.name + "\n";
      std::string bytes = MVM_TRY(read_module(kernel.modules_dir + "/" + module.source));
      entries.push_back({"modules/" + module.name, S_IFREG | 0644, std::move(bytes)});
    }
  }
  entries.push_back({"modules/order", S_IFREG | 0644, std::move(order)});
  entries.insert(entries.end(), plan.files.begin(), plan.files.end());
  return entries;
}

std::string note_of(const std::string& path) { return path + ".sha256"; }

Result<> build(const Kernel& kernel, const std::string& agent_path, const InitramfsPlan& plan,
               const std::string& path) {
  const std::vector<CpioEntry> entries = MVM_TRY(collect(kernel, agent_path, plan));
  std::string temp = path + ".XXXXXX";
  const sys::UniqueFd fd(::mkostemp(temp.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno("create " + path);
  sys::ScopeGuard cleanup([&] { ::unlink(temp.c_str()); });
  MVM_TRY(write_cpio(fd.get(), entries));
  if (::fchmod(fd.get(), 0644) != 0) return Error::from_errno("chmod " + temp);
  // The note before what it is of: an archive without one is made again.
  if (plan.checked)
    MVM_TRY(sys::write_atomic(note_of(path), MVM_TRY(sys::sha256_file(temp)), 0644));
  if (::rename(temp.c_str(), path.c_str()) != 0) return Error::from_errno("rename " + temp);
  cleanup.dismiss();
  return {};
}

Result<> check(const std::string& path) {
  const std::string noted = MVM_TRY(sys::read_file(note_of(path), kibibytes(1)));
  if (MVM_TRY(sys::sha256_file(path)) == noted) return {};
  return Error(Errc::kCorrupt, "the initramfs " + path + " is not what was made")
      .with_hint("have it made again with: mvmctl cache prune");
}

}  // namespace

Result<std::vector<InitramfsModule>> plan_modules(const ModuleIndex& index,
                                                  const InitramfsPlan& wanted) {
  std::vector<InitramfsModule> plan;
  std::set<std::string> placed;
  for (const Group& group : groups(wanted)) {
    for (const ModuleFile& module : MVM_TRY(resolve(index, group.modules))) {
      if (!placed.insert(module.name).second) continue;
      std::array<char, 16> number;
      std::snprintf(number.data(), number.size(), "%02zu-", plan.size());
      plan.push_back({std::string(group.name), number.data() + module.name + ".ko", module.file});
    }
  }
  return plan;
}

Result<std::string> initramfs_for(const Kernel& kernel, const std::string& agent_path,
                                  const std::string& cache_dir, const InitramfsPlan& plan) {
  const std::string agent_digest =
      MVM_TRY_CTX(memo_digest(cache_dir, agent_path), "guest agent " + agent_path);
  std::string path = cache_dir + "/initramfs/" + cache_key(kernel, agent_digest, plan) + ".cpio";
  if (sys::path_exists(path) && (!plan.checked || sys::path_exists(note_of(path)))) {
    if (plan.checked) MVM_TRY(check(path));
    return path;
  }
  MVM_TRY(sys::make_dirs(cache_dir + "/initramfs"));
  MVM_TRY_CTX(build(kernel, agent_path, plan, path), "building the initramfs");
  return path;
}

}  // namespace mvm::kernel
