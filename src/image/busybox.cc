// SPDX-License-Identifier: Apache-2.0
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "image/entry_path.h"
#include "image/host_trees.h"
#include "image/tar_file.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::image {
namespace {

struct Directory {
  const char* path;
  mode_t mode;
};
constexpr std::array<Directory, 19> kDirectories = {{{"bin", 0755},
                                                     {"sbin", 0755},
                                                     {"usr", 0755},
                                                     {"usr/bin", 0755},
                                                     {"usr/sbin", 0755},
                                                     {"etc", 0755},
                                                     {"proc", 0555},
                                                     {"sys", 0555},
                                                     {"dev", 0755},
                                                     {"run", 0755},
                                                     {"tmp", 01777},
                                                     {"root", 0700},
                                                     {"srv", 0755},
                                                     {"home", 0755},
                                                     {"var", 0755},
                                                     {"var/log", 0755},
                                                     {"var/lib", 0755},
                                                     {"var/cache", 0755},
                                                     {"var/tmp", 01777}}};

struct File {
  const char* path;
  const char* text;
};
constexpr std::array<File, 5> kFiles = {
    {{"etc/passwd",
      "root:x:0:0:root:/root:/bin/sh\n"
      "daemon:x:1:1:daemon:/:/bin/false\n"
      "nobody:x:65534:65534:nobody:/:/bin/false\n"},
     {"etc/group", "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"},
     {"etc/shells", "/bin/sh\n"},
     {"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
     {"etc/profile",
      "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
      "export PS1='\\u@\\h:\\w\\$ '\n"}}};

// "usr/bin/awk" and so on, from the program itself; a name outside of the four directories goes to
// bin.
Result<std::set<std::string>> applets(const std::string& busybox) {
  sys::Command command;
  command.die_with_parent = true;
  command.argv = {busybox, "--list-full"};
  const std::string list =
      MVM_TRY_CTX(sys::run_checked(std::move(command)), "listing busybox's applets");
  constexpr std::array<std::string_view, 4> kPlaces = {"bin", "sbin", "usr/bin", "usr/sbin"};
  std::set<std::string> out;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find('\n', at), list.size());
    const std::string path = MVM_TRY(entry_path(list.substr(at, end - at)));
    at = end + 1;
    const SplitPath split = split_path(path);
    const bool known = std::find(kPlaces.begin(), kPlaces.end(), split.parent) != kPlaces.end();
    out.insert(known ? path : "bin/" + std::string(split.name));
  }
  out.erase("bin/busybox");
  return out;
}

}  // namespace

bool is_static_elf(std::string_view image) {
  Elf64_Ehdr header;
  if (image.size() < sizeof header) return false;
  std::memcpy(&header, image.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
    return false;
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (header.e_phoff > image.size() || (i + 1) * sizeof segment > image.size() - header.e_phoff)
      return false;
    std::memcpy(&segment, image.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_type == PT_INTERP) return false;
  }
  return true;
}

spec::Arch host_arch() {
#if defined(__aarch64__)
  return spec::Arch::kAarch64;
#else
  return spec::Arch::kX86_64;
#endif
}

spec::ImageConfig host_tree_config() {
  spec::ImageConfig config;
  config.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  return config;
}

Result<std::string> find_static_busybox() {
  constexpr char kHint[] = "install it with: apt-get install busybox-static";
  const auto program = sys::find_program("busybox");
  if (!program) return Error(Errc::kUnavailable, "busybox is not installed").with_hint(kHint);
  const std::string image = MVM_TRY(sys::read_file(*program));
  if (is_static_elf(image)) return *program;
  return Error(Errc::kUnavailable, *program + " is not statically linked, so it cannot run alone")
      .with_hint(kHint);
}

Result<> write_busybox_tar(const std::string& busybox, const std::string& path) {
  const std::string program = MVM_TRY(sys::read_file(busybox));
  const std::set<std::string> links = MVM_TRY(applets(busybox));
  TarFile tar = MVM_TRY(TarFile::create(path));
  MVM_TRY(tar.directory("./", 0755));
  for (const Directory& directory : kDirectories)
    MVM_TRY(tar.directory(directory.path, directory.mode));
  for (const File& file : kFiles) MVM_TRY(tar.file(file.path, 0644, file.text));
  MVM_TRY(tar.file("bin/busybox", 0755, program));
  for (const std::string& link : links) MVM_TRY(tar.symlink(link, "/bin/busybox"));
  return tar.close();
}

}  // namespace mvm::image
