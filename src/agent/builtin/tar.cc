// SPDX-License-Identifier: Apache-2.0
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "agent/builtin/builtins.h"
#include "sys/io.h"
#include "tar/tar_pipe.h"

namespace mvm::agent::builtin {
namespace {

using tar::TarPipeReader;
using tar::TarPipeWriter;

constexpr std::size_t kBlock = 128 * 1024;
// Names are bytes to us: the agent has no locale to translate them with.
constexpr const char* kBinaryNames = "hdrcharset=BINARY";

using Reader = std::unique_ptr<archive, int (*)(archive*)>;
using Writer = std::unique_ptr<archive, int (*)(archive*)>;
using Entry = std::unique_ptr<archive_entry, void (*)(archive_entry*)>;

Error archive_failure(archive* a, const std::string& what) {
  const int number = ::archive_errno(a);
  const char* text = ::archive_error_string(a);
  // libarchive numbers its own complaints with EFTYPE, here EILSEQ, and with negative values.
  const std::string message =
      what + ": " + (text != nullptr ? text : "the archive cannot be processed");
  if (number > 0 && number != EILSEQ) return Error::from_errno(message, number);
  return Error(Errc::kCorrupt, message);
}

Result<> make_parents(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST)
      return Error::from_errno("make directory " + part);
    if (at != std::string::npos) ++at;
  }
  return {};
}

Result<> copy_data(archive* in, archive* out, const std::string& name) {
  const void* data = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  for (;;) {
    const int got = ::archive_read_data_block(in, &data, &size, &offset);
    if (got == ARCHIVE_EOF) return {};
    if (got < ARCHIVE_WARN) return archive_failure(in, "reading " + name);
    // A full disk is ARCHIVE_WARN to libarchive; a file without its content is a failure to us.
    if (::archive_write_data_block(out, data, size, offset) < ARCHIVE_OK)
      return archive_failure(out, "writing " + name);
  }
}

Result<> unpack_content(archive* in, TarPipeReader& pipe, archive* out, archive_entry* entry,
                        const std::string& name) {
  const la_int64_t size = ::archive_entry_size(entry);
  if (size <= 0) return {};
  sys::UniqueFd file;  // that libarchive has just made
  if (tar::is_large(entry) && pipe.can_move())
    file = sys::UniqueFd(::open(name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (file) {
    // Known from the start, the size lets a file system in memory take large pages.
    if (::ftruncate(file.get(), size) != 0) return Error::from_errno("writing " + name);
    MVM_TRY_CTX(pipe.move_to(file.get(), size), "writing " + name);
    return {};
  }
  pipe.expect(tar::stored_size(entry));
  return copy_data(in, out, name);
}

Result<> unpack_entry(archive* in, TarPipeReader& pipe, archive* out, archive_entry* entry,
                      const Owner& owner) {
  const char* path = ::archive_entry_pathname(entry);
  const std::string name = path != nullptr ? path : "";
  if (name.empty()) return Error(Errc::kCorrupt, "tar member without a name");
  if (owner.set) {
    ::archive_entry_set_uid(entry, owner.uid);
    ::archive_entry_set_gid(entry, owner.gid);
  }
  if (::archive_write_header(out, entry) < ARCHIVE_WARN)
    return archive_failure(out, "unpacking " + name);
  MVM_TRY(unpack_content(in, pipe, out, entry, name));
  if (::archive_write_finish_entry(out) < ARCHIVE_WARN)
    return archive_failure(out, "unpacking " + name);
  return {};
}

bool is_pseudo(int fd) {
  struct statfs fs;
  if (::fstatfs(fd, &fs) != 0) return false;
  switch (static_cast<unsigned long>(fs.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case 0x19800202:  // mqueue; not in linux/magic.h
      return true;
    default:
      return false;
  }
}

// Walks a tree and writes it out. Hard links are told by libarchive's resolver.
class TreeWriter {
 public:
  TreeWriter(archive* disk, archive* out, TarPipeWriter& pipe)
      : disk_(disk),
        out_(out),
        pipe_(pipe),
        links_(::archive_entry_linkresolver_new(), ::archive_entry_linkresolver_free) {
    ::archive_entry_linkresolver_set_strategy(links_.get(), ::archive_format(out));
  }

  Result<> add(const std::string& path, const std::string& name, bool follow) {
    struct stat st;
    if ((follow ? ::stat : ::lstat)(path.c_str(), &st) != 0)
      return Error::from_errno("stat " + path);
    if (S_ISSOCK(st.st_mode)) return {};
    sys::UniqueFd file;
    // Only what has content is opened: opening a device or a fifo has effects.
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
      file = MVM_TRY(sys::open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    MVM_TRY(write_entry(path, name, st, file.get()));
    if (!S_ISDIR(st.st_mode) || (depth_ > 0 && is_pseudo(file.get()))) return {};
    return add_children(path, name, file.get());
  }

 private:
  Result<> write_entry(const std::string& path, const std::string& name, const struct stat& st,
                       int fd) {
    Entry entry(::archive_entry_new(), ::archive_entry_free);
    ::archive_entry_copy_pathname(entry.get(), name.c_str());
    ::archive_entry_copy_sourcepath(entry.get(), path.c_str());
    if (::archive_read_disk_entry_from_file(disk_, entry.get(), fd, &st) < ARCHIVE_WARN)
      return archive_failure(disk_, "reading " + path);
    ::archive_entry_unset_atime(entry.get());
    ::archive_entry_unset_ctime(entry.get());
    archive_entry* linked = entry.get();
    archive_entry* spare = nullptr;
    ::archive_entry_linkify(links_.get(), &linked, &spare);
    if (::archive_write_header(out_, linked) < ARCHIVE_WARN)
      return archive_failure(out_, "packing " + path);
    const la_int64_t size = ::archive_entry_size(linked);
    if (!S_ISREG(st.st_mode) || size <= 0) return {};
    if (tar::is_large(linked)) return pipe_.move_from(out_, fd, size);
    return write_content(fd, path);
  }

  // Holes are read as zeros; the writer leaves them out again by the entry's map.
  Result<> write_content(int fd, const std::string& path) {
    buffer_.resize(kBlock);
    for (;;) {
      const std::size_t n = MVM_TRY_CTX(sys::read_some(fd, buffer_), path);
      if (n == 0) return {};
      const la_ssize_t taken = ::archive_write_data(out_, buffer_.data(), n);
      if (taken < 0) return archive_failure(out_, "packing " + path);
      if (taken == 0) return {};  // the file has grown since its size was taken
    }
  }

  Result<> add_children(const std::string& path, const std::string& name, int fd) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(::fcntl(fd, F_DUPFD_CLOEXEC, 3)),
                                                  ::closedir);
    if (!dir) return Error::from_errno("list " + path);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir.get())) names.emplace_back(entry->d_name);
    std::sort(names.begin(), names.end());
    ++depth_;
    for (const std::string& child : names) {
      if (child == "." || child == "..") continue;
      auto added = add((path == "/" ? "" : path) + "/" + child, name + "/" + child, false);
      if (!added && added.error().errnum() != ENOENT) return added;  // deleted meanwhile is fine
    }
    --depth_;
    return {};
  }

  archive* disk_;
  archive* out_;
  TarPipeWriter& pipe_;
  std::unique_ptr<archive_entry_linkresolver, void (*)(archive_entry_linkresolver*)> links_;
  std::vector<std::byte> buffer_;
  int depth_ = 0;
};

std::string member_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::string last = path.substr(path.find_last_of('/') + 1);
  return last.empty() || last == ".." ? "." : last;
}

}  // namespace

Result<> put(const wire::FileRequest& request, const Owner& owner) {
  MVM_TRY(make_parents(request.path));
  if (::chdir(request.path.c_str()) != 0) return Error::from_errno("unpack into " + request.path);
  TarPipeReader pipe(0);
  const Reader in(::archive_read_new(), ::archive_read_free);
  ::archive_read_support_format_tar(in.get());
  ::archive_read_set_options(in.get(), kBinaryNames);
  const Writer out(::archive_write_disk_new(), ::archive_write_free);
  int flags = ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
              ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
  if (::geteuid() == 0) flags |= ARCHIVE_EXTRACT_OWNER;
  ::archive_write_disk_set_options(out.get(), flags);
  MVM_TRY(pipe.open(in.get()));
  for (;;) {
    archive_entry* entry = nullptr;
    const int got = ::archive_read_next_header(in.get(), &entry);
    if (got == ARCHIVE_EOF) break;
    if (got < ARCHIVE_WARN) return archive_failure(in.get(), "reading the tar stream");
    MVM_TRY(unpack_entry(in.get(), pipe, out.get(), entry, owner));
  }
  // Directory times and modes are set at the end.
  if (::archive_write_close(out.get()) < ARCHIVE_WARN)
    return archive_failure(out.get(), "unpacking into " + request.path);
  return {};
}

Result<> get(const wire::FileRequest& request) {
  const Reader disk(::archive_read_disk_new(), ::archive_read_free);
  ::archive_read_disk_set_behavior(disk.get(),
                                   ARCHIVE_READDISK_NO_ACL | ARCHIVE_READDISK_NO_FFLAGS);
  if (request.follow) ::archive_read_disk_set_symlink_hybrid(disk.get());
  struct stat st;
  if (::lstat(request.path.c_str(), &st) != 0) return Error::from_errno("stat " + request.path);
  TarPipeWriter pipe(1);
  const Writer out(::archive_write_new(), ::archive_write_free);
  // Not "restricted" pax, which drops the fractions of a second.
  ::archive_write_set_format_pax(out.get());
  ::archive_write_set_options(out.get(), kBinaryNames);
  MVM_TRY(pipe.open(out.get()));
  MVM_TRY(TreeWriter(disk.get(), out.get(), pipe)
              .add(request.path, member_name(request.path), request.follow));
  if (::archive_write_close(out.get()) != ARCHIVE_OK)
    return archive_failure(out.get(), "writing the tar stream");
  return {};
}

}  // namespace mvm::agent::builtin
