// SPDX-License-Identifier: Apache-2.0
#include "agent_client/tar_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>

#include "sys/io.h"
#include "tar/tar_pipe.h"

namespace mvm::agent_client {
namespace {

constexpr std::size_t kBlock = 128 * 1024;

struct FreeArchive {
  void operator()(archive* a) const { archive_free(a); }
};
using Archive = std::unique_ptr<archive, FreeArchive>;

[[noreturn]] void fail(const std::string& text) {
  (void)sys::write_full(2, text + "\n");
  ::_exit(1);
}

void check(archive* a, int rc, const char* what) {
  if (rc == ARCHIVE_OK || rc == ARCHIVE_EOF) return;
  const char* reason = archive_error_string(a);
  if (rc == ARCHIVE_WARN) return;
  fail(std::string(what) + ": " + (reason != nullptr ? reason : "unknown error"));
}

void copy_data(archive* from, archive* to) {
  for (;;) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int rc = archive_read_data_block(from, &block, &size, &offset);
    if (rc == ARCHIVE_EOF) return;
    check(from, rc, "reading");
    if (archive_write_data_block(to, block, size, offset) < ARCHIVE_OK)
      check(to, ARCHIVE_FATAL, "writing");
  }
}

// Tar members have no holes: gaps that the file system reports are written as zeros.
void pack_data(archive* disk, archive* tar, const std::string& path) {
  static char zeros[kBlock];
  la_int64_t at = 0;
  for (;;) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int rc = archive_read_data_block(disk, &block, &size, &offset);
    while (at < offset) {
      const auto gap = std::min<la_int64_t>(offset - at, static_cast<la_int64_t>(sizeof zeros));
      if (archive_write_data(tar, zeros, static_cast<std::size_t>(gap)) < 0)
        check(tar, ARCHIVE_FATAL, "writing");
      at += gap;
    }
    if (rc == ARCHIVE_EOF) return;
    check(disk, rc, path.c_str());
    if (archive_write_data(tar, block, size) < 0) check(tar, ARCHIVE_FATAL, "writing");
    at += static_cast<la_int64_t>(size);
  }
}

// False when the file, which libarchive has open already, cannot be opened a second time.
bool pack_large(archive* tar, tar::TarPipeWriter& pipe, archive_entry* entry,
                const std::string& path) {
  if (!tar::is_large(entry)) return false;
  const sys::UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return false;
  if (auto done = pipe.move_from(tar, file.get(), archive_entry_size(entry)); !done)
    fail(path + ": " + done.error().text());
  return true;
}

bool unpack_large(tar::TarPipeReader& pipe, archive_entry* entry) {
  if (!tar::is_large(entry) || !pipe.can_move()) return false;
  const char* path = archive_entry_pathname(entry);
  const sys::UniqueFd file(::open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return false;
  if (auto done = pipe.move_to(file.get(), archive_entry_size(entry)); !done)
    fail(std::string(path) + ": " + done.error().text());
  return true;
}

void write_member(archive* disk, archive* tar, tar::TarPipeWriter& pipe, archive_entry* entry) {
  const std::string path =
      archive_entry_sourcepath(entry) != nullptr ? archive_entry_sourcepath(entry) : "";
  check(tar, archive_write_header(tar, entry), path.c_str());
  if (archive_entry_size(entry) > 0 && archive_entry_filetype(entry) == AE_IFREG &&
      !pack_large(tar, pipe, entry, path))
    pack_data(disk, tar, path);
}

[[noreturn]] void pack_main(const PackRequest& request) {
  tar::TarPipeWriter pipe(1);
  const Archive disk(archive_read_disk_new());
  const Archive tar(archive_write_new());
  archive_read_disk_set_symlink_physical(disk.get());
  archive_read_disk_set_standard_lookup(disk.get());
  archive_write_set_format_pax_restricted(tar.get());
  if (auto opened = pipe.open(tar.get()); !opened) fail(opened.error().text());
  check(disk.get(), archive_read_disk_open(disk.get(), request.path.c_str()), request.path.c_str());
  archive_entry_linkresolver* links = archive_entry_linkresolver_new();
  archive_entry_linkresolver_set_strategy(links, archive_format(tar.get()));
  for (;;) {
    archive_entry* entry = archive_entry_new();
    const int rc = archive_read_next_header2(disk.get(), entry);
    if (rc == ARCHIVE_EOF) break;
    check(disk.get(), rc, request.path.c_str());
    archive_read_disk_descend(disk.get());
    const std::string path = archive_entry_pathname(entry);
    const std::string member = request.member_name + path.substr(request.path.size());
    archive_entry_copy_sourcepath(entry, path.c_str());
    archive_entry_copy_pathname(entry, member.c_str());
    if (!request.keep_owner) {
      archive_entry_set_uid(entry, 0);
      archive_entry_set_gid(entry, 0);
      archive_entry_set_uname(entry, nullptr);
      archive_entry_set_gname(entry, nullptr);
    }
    archive_entry* spare = nullptr;
    archive_entry_linkify(links, &entry, &spare);
    if (entry != nullptr) write_member(disk.get(), tar.get(), pipe, entry);
    archive_entry_free(entry);
  }
  check(tar.get(), archive_write_close(tar.get()), "closing the stream");
  ::_exit(0);
}

void rebase(archive_entry* entry, const UnpackRequest& request) {
  const char* member = archive_entry_pathname(entry);
  if (member == nullptr) fail("refused a member of the guest's stream without a name");
  const auto name = rebase_member(member, request.rename_to);
  if (!name) fail(std::string("refused a member of the guest's stream: ") + member);
  archive_entry_copy_pathname(entry, name->c_str());
  if (const char* link = archive_entry_hardlink(entry)) {
    const auto target = rebase_member(link, request.rename_to);
    if (!target) fail(std::string("refused a hard link of the guest's stream: ") + link);
    archive_entry_copy_hardlink(entry, target->c_str());
  }
}

[[noreturn]] void unpack_main(const UnpackRequest& request) {
  tar::TarPipeReader pipe(0);
  const Archive tar(archive_read_new());
  const Archive disk(archive_write_disk_new());
  archive_read_support_format_tar(tar.get());
  // The guest is not trusted: no way out of the directory, no set-id bits unless they survive the
  // umask, no owners.
  archive_write_disk_set_options(
      disk.get(), ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                      ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
  if (auto opened = pipe.open(tar.get()); !opened) fail(opened.error().text());
  if (::chdir(request.directory.c_str()) != 0) fail(Error::from_errno(request.directory).text());
  bool any = false;
  bool skipped = false;
  for (;;) {
    archive_entry* entry = nullptr;
    const int rc = archive_read_next_header(tar.get(), &entry);
    if (rc == ARCHIVE_EOF) break;
    check(tar.get(), rc, "reading the guest's stream");
    any = true;
    const auto type = archive_entry_filetype(entry);
    if (archive_entry_hardlink(entry) == nullptr && type != AE_IFREG && type != AE_IFDIR &&
        type != AE_IFLNK) {
      // Once: nobody reads this before the end, and the guest decides how many there are.
      if (!std::exchange(skipped, true))
        (void)sys::write_full(2, "skipped special files of the guest's stream\n");
      continue;
    }
    rebase(entry, request);
    check(disk.get(), archive_write_header(disk.get(), entry), archive_entry_pathname(entry));
    if (archive_entry_size(entry) > 0 && !unpack_large(pipe, entry)) {
      pipe.expect(tar::stored_size(entry));
      copy_data(tar.get(), disk.get());
    }
    check(disk.get(), archive_write_finish_entry(disk.get()), archive_entry_pathname(entry));
  }
  if (!any) fail("the guest sent nothing");
  check(disk.get(), archive_write_close(disk.get()), "writing");
  ::_exit(0);
}

// Forks a child whose descriptor `end` (0 or 1) is one end of a pipe, and whose stderr is
// collected.
Result<TarChild> start(int end, const std::function<void()>& body) {
  sys::Pipe data = MVM_TRY(sys::make_pipe());
  sys::Pipe errors = MVM_TRY(sys::make_pipe());
  sys::UniqueFd& theirs = end == 0 ? data.read_end : data.write_end;
  sys::UniqueFd& ours = end == 0 ? data.write_end : data.read_end;
  (void)::fcntl(ours.get(), F_SETPIPE_SZ, 1 << 20);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return Error::from_errno("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ours.reset();
    ::dup2(theirs.get(), end);
    ::dup2(errors.write_end.get(), 2);
    body();
    ::_exit(1);
  }
  sys::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return TarChild(sys::Child(pid, std::move(pidfd)), std::move(ours), std::move(errors.read_end));
}

}  // namespace

Result<> TarChild::finish() {
  pipe_.reset();
  std::string words = MVM_TRY(sys::read_fd(errors_.get(), mebibytes(1)));
  const sys::ExitStatus status = MVM_TRY(child_.wait());
  while (!words.empty() && words.back() == '\n') words.pop_back();
  if (status.ok()) return {};
  const bool full = words.find("No space left") != std::string::npos;
  return Error(full ? Errc::kNoSpace : Errc::kIo,
               words.empty() ? "copying ended with " + status.text() : words);
}

Result<TarChild> pack(const PackRequest& request) {
  struct stat st;
  if (::lstat(request.path.c_str(), &st) != 0) return Error::from_errno(request.path);
  PackRequest named = request;  // members are named by what follows the path
  while (named.path.size() > 1 && named.path.back() == '/') named.path.pop_back();
  return start(1, [&] { pack_main(named); });
}

Result<TarChild> unpack(const UnpackRequest& request) {
  return start(0, [&] { unpack_main(request); });
}

std::optional<std::string> rebase_member(std::string_view member, std::string_view rename_to) {
  while (member.starts_with("./")) member.remove_prefix(2);
  while (member.ends_with('/')) member.remove_suffix(1);
  if (member.empty() || member.front() == '/') return std::nullopt;
  for (std::size_t at = 0; at <= member.size();) {
    const std::size_t end = std::min(member.find('/', at), member.size());
    if (member.substr(at, end - at) == "..") return std::nullopt;
    at = end + 1;
  }
  const std::size_t slash = member.find('/');
  const std::string_view rest =
      slash == std::string_view::npos ? std::string_view() : member.substr(slash + 1);
  if (rename_to.empty()) return rest.empty() ? "." : std::string(rest);
  return std::string(rename_to) + (rest.empty() ? "" : "/" + std::string(rest));
}

}  // namespace mvm::agent_client
