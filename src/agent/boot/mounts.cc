// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/mounts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <array>
#include <memory>

#include "agent/boot/console.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

constexpr unsigned long kNoExec = MS_NOSUID | MS_NODEV | MS_NOEXEC;

struct Mount {
  const char* type;
  const char* target;
  unsigned long flags;
  const char* options;
  bool needed;
};

constexpr std::array<Mount, 3> kEarly = {{
    {"devtmpfs", "/dev", MS_NOSUID, "mode=0755", true},
    {"proc", "/proc", kNoExec, "", true},
    {"sysfs", "/sys", kNoExec, "", true},
}};

// In the new root, in this order. devtmpfs, proc and sysfs are the same instances again: mounting
// costs less than moving and cannot end up outside the new root through a symbolic link of the
// image.
constexpr std::array<Mount, 10> kGuest = {{
    {"devtmpfs", "/dev", MS_NOSUID, "mode=0755", true},
    {"proc", "/proc", kNoExec, "", true},
    {"sysfs", "/sys", kNoExec, "", true},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5",
     false},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777,size=50%", false},
    {"mqueue", "/dev/mqueue", kNoExec, "", false},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755,size=20%", true},
    // Half of the memory, allocated as it is used; large pages for files whose size is known before
    // their content (all that `cp` brings).
    {"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777,size=50%,huge=within_size", false},
    {"cgroup2", "/sys/fs/cgroup", kNoExec, "nsdelegate", false},
    {"tmpfs", "/run/lock", kNoExec, "mode=1777,size=5m", false},
}};

struct Link {
  const char* target;
  const char* path;
};
constexpr std::array<Link, 4> kLinks = {{
    {"/proc/self/fd", "/dev/fd"},
    {"/proc/self/fd/0", "/dev/stdin"},
    {"/proc/self/fd/1", "/dev/stdout"},
    {"/proc/self/fd/2", "/dev/stderr"},
}};

// index and redirect_dir off: the upper directory then holds plain files under their own names,
// which `diff` reads and any kernel can mount again; moving a directory of the image is a copy
// (EXDEV), as in every container. metacopy off for the same reason. xino=auto: one device number
// and stable inode numbers wherever the lower inodes leave room for it.
constexpr const char* kOverlayOptions =
    "lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/"
    "work,index=off,redirect_dir=off,metacopy=off,xino=auto";

Result<> mount_at(const char* source, const char* target, const char* type, unsigned long flags,
                  const char* options) {
  if (::mount(source, target, type, flags, options) == 0) return {};
  return Error::from_errno("mount " + std::string(type) + " on " + target);
}

// The system call only says EINVAL; what is wrong with a disk stands in the kernel's log.
Error explain(Error error, const std::string& frame) {
  const std::string complaint = last_kernel_complaint();
  if (!complaint.empty())
    error = Error(error.code(), error.text() + " (kernel: " + complaint + ")");
  return std::move(error).with_context(frame);
}

struct Disk {
  const char* role;
  const char* what;  // as people are told of it
  DiskMark mark;
};

Result<std::string> find(const Disk& disk) {
  return MVM_TRY_CTX(find_disk("/sys/block", disk.role, disk.mark),
                     std::string("mounting ") + disk.what);
}

Result<> mount_device(const std::string& device, const char* what, const char* target,
                      const char* type, unsigned long flags) {
  auto done = mount_at(device.c_str(), target, type, flags, nullptr);
  if (!done)
    return explain(done.error(), std::string("mounting ") + what + " " + device + " as " + type);
  return {};
}

Result<> mount_disk(const Disk& which, const char* target, const char* type, unsigned long flags) {
  return mount_device(MVM_TRY(find(which)), which.what, target, type, flags);
}

// The kernel mounts an image whose end is missing and fails much later, file by file.
// Source: the kernel's fs/erofs/erofs_fs.h, struct erofs_super_block.
Result<> check_image_size(const std::string& disk) {
  constexpr off_t kSuperBlock = 1024;
  constexpr std::uint32_t kMagic = 0xe0f5e1e2;
  struct {
    std::uint32_t magic, checksum, features;
    std::uint8_t block_bits, slots;
    std::uint16_t root;
    std::uint64_t inodes, time;
    std::uint32_t time_ns, blocks;
  } super{};
  const sys::UniqueFd file = MVM_TRY(sys::open_file(disk, O_RDONLY));
  std::uint64_t size = 0;
  if (::ioctl(file.get(), BLKGETSIZE64, &size) != 0) return Error::from_errno("size of " + disk);
  const ssize_t got = ::pread(file.get(), &super, sizeof super, kSuperBlock);
  // What is no EROFS at all the kernel tells better.
  if (got != static_cast<ssize_t>(sizeof super) || super.magic != kMagic || super.block_bits > 16)
    return {};
  const std::uint64_t needed = std::uint64_t{super.blocks} << super.block_bits;
  if (size >= needed) return {};
  return Error(Errc::kCorrupt, "mounting image " + disk + " as erofs: it is cut off after " +
                                   std::to_string(size) + " of " + std::to_string(needed) +
                                   " bytes");
}

Result<> mount_image(const RootPlan& plan) {
  std::string device = plan.image_device;
  if (device.empty()) device = MVM_TRY(find({"mvm_root", "image", plan.disks}));
  MVM_TRY(check_image_size(device));
  return mount_device(device, "image", "/lower", "erofs", MS_RDONLY);
}

Result<> mount_scratch(bool disk, DiskMark mark) {
  if (disk) {
    MVM_TRY(mount_disk({"mvm_scratch", "scratch disk", mark}, "/scratch", "ext4", MS_NOATIME));
  } else {
    MVM_TRY_CTX(mount_at("scratch", "/scratch", "tmpfs", 0, "mode=0755,size=50%"),
                "mounting scratch memory");
  }
  for (const char* dir : {"/scratch/upper", "/scratch/work"}) {
    if (::mkdir(dir, 0755) != 0 && errno != EEXIST)
      return Error::from_errno(std::string("make directory ") + dir);
  }
  return {};
}

// A file system that mke2fs has just made holds lost+found alone, which databases that want an
// empty directory refuse, and which e2fsck makes again when it needs it.
Result<> begin_volume(int root, int covered) {
  struct stat st{};
  if (::fstatat(root, "lost+found", &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_nlink != 2) return {};
  if (::fstat(root, &st) != 0 || st.st_nlink != 3) return {};
  for (const std::string& path : sys::children("/proc/self/fd/" + std::to_string(root))) {
    if (!path.ends_with("/lost+found")) return {};
  }
  if (::unlinkat(root, "lost+found", AT_REMOVEDIR) != 0) return {};  // there is something in it
  if (::fstat(covered, &st) != 0 || ::fchown(root, st.st_uid, st.st_gid) != 0 ||
      ::fchmod(root, st.st_mode & 07777) != 0)
    return Error::from_errno("owner and mode");
  return {};
}

void close_disk(int root, const char* what) {
  ::syncfs(root);
  // The scratch disk's has no path any more; "." has.
  if (::fchdir(root) == 0 && ::mount(nullptr, ".", nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0)
    return;
  // Somebody still has a file open for writing: a frozen file system is as clean on the disk.
  if (::ioctl(root, FIFREEZE, 0) != 0)
    say(std::string(what) + " stays dirty; its journal is replayed next time");
}

}  // namespace

Result<std::string> find_disk(const std::string& sys_block, const std::string& role,
                              DiskMark mark) {
  const bool by_serial = mark == DiskMark::kSerial;
  const char* file = by_serial ? "/serial" : "/ro";
  const std::string wanted = by_serial ? role : (role == "mvm_root" ? "1" : "0");
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(sys_block.c_str()), ::closedir);
  std::string seen;
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string name = entry->d_name;
    if (!name.starts_with("vd")) continue;
    const auto found = sys::read_file(sys_block + "/" + name + file, kibibytes(4));
    if (found && found->substr(0, found->find('\n')) == wanted) return "/dev/" + name;
    seen += " " + name;
  }
  return Error(Errc::kNotFound,
               "there is no disk " + role + " (disks:" + (seen.empty() ? " none" : seen) + ")");
}

Result<sys::UniqueFd> open_exchange() {
  return sys::open_file(MVM_TRY(find_disk("/sys/block", "mvm_exchange", DiskMark::kSerial)),
                        O_RDWR | O_DIRECT);
}

Result<> mount_early() {
  for (const Mount& m : kEarly) {
    ::mkdir(m.target, 0755);
    auto done = mount_at(m.type, m.target, m.type, m.flags, m.options);
    if (!done && done.error().errnum() != EBUSY)
      return done;  // some kernels mount devtmpfs themselves
  }
  return {};
}

Result<RootMounts> mount_root(const RootPlan& plan) {
  for (const char* dir : {"/lower", "/scratch", "/newroot"}) ::mkdir(dir, 0755);
  MVM_TRY(mount_image(plan));
  MVM_TRY(mount_scratch(plan.scratch_disk, plan.disks));
  auto overlay = mount_at("overlay", "/newroot", "overlay", 0, kOverlayOptions);
  if (!overlay) return explain(overlay.error(), "mounting the overlay of image and scratch");
  RootMounts out;
  out.on_disk = plan.scratch_disk;
  const int flags = O_RDONLY | O_DIRECTORY;
  out.lower = MVM_TRY(sys::open_file("/lower", flags));
  out.upper = MVM_TRY(sys::open_file("/scratch/upper", flags));
  out.scratch = MVM_TRY(sys::open_file("/scratch", flags));
  return out;
}

Result<> enter_root() {
  for (const Mount& m : kEarly) ::umount2(m.target, MNT_DETACH);
  // MS_MOVE and chroot, not chroot alone: user namespaces are refused to a process whose root is
  // not the namespace's.
  if (::chdir("/newroot") != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 ||
      ::chroot(".") != 0 || ::chdir("/") != 0)
    return Error::from_errno("switch to the image's root");
  for (const Mount& m : kGuest) {
    ::mkdir(m.target, 0755);
    auto done = mount_at(m.type, m.target, m.type, m.flags, m.options);
    if (done) continue;
    if (m.needed) return done;
    if (done.error().errnum() != ENODEV) say(done.error().text());  // ENODEV: not in this kernel
  }
  for (const Link& link : kLinks) [[maybe_unused]]
    const int ignored = ::symlink(link.target, link.path);
  return {};
}

Result<sys::UniqueFd> mount_volume(const wire::VolumeMount& volume) {
  const std::string what = "volume " + volume.name;
  MVM_TRY_CTX(sys::make_dirs(volume.path, 0755), "mounting " + what);
  const sys::UniqueFd covered =
      MVM_TRY_CTX(sys::open_file(volume.path, O_RDONLY | O_DIRECTORY), "mounting " + what);
  MVM_TRY(mount_disk({volume.serial.c_str(), what.c_str(), DiskMark::kSerial}, volume.path.c_str(),
                     "ext4", MS_NOATIME));
  auto root = MVM_TRY(sys::open_file(volume.path, O_RDONLY | O_DIRECTORY));
  MVM_TRY_CTX(begin_volume(root.get(), covered.get()), "preparing " + what);
  return root;
}

void close_mounts(const RootMounts& mounts) {
  ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY, nullptr);
  for (const sys::UniqueFd& volume : mounts.volumes) close_disk(volume.get(), "a volume's disk");
  if (mounts.on_disk) close_disk(mounts.scratch.get(), "scratch disk");
}

}  // namespace mvm::agent
