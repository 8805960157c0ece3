// SPDX-License-Identifier: Apache-2.0
#include "kernel/cpio.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <memory>

namespace mvm::kernel {
namespace {

struct WriterFree {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct EntryFree {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

Error write_error(archive* a) {
  const int errnum = archive_errno(a);
  if (errnum > 0) return Error::from_errno("write cpio archive", errnum);
  const char* text = archive_error_string(a);
  return Error(Errc::kIo,
               std::string("write cpio archive: ") + (text != nullptr ? text : "no reason given"));
}

Result<> write_entry(archive* a, const CpioEntry& from, int inode) {
  const std::unique_ptr<archive_entry, EntryFree> entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), from.path.c_str());
  archive_entry_set_mode(entry.get(), static_cast<__LA_MODE_T>(from.mode));
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(from.data.size()));
  archive_entry_set_uid(entry.get(), 0);
  archive_entry_set_gid(entry.get(), 0);
  archive_entry_set_mtime(entry.get(), 0, 0);
  archive_entry_set_ino64(entry.get(), inode);
  archive_entry_set_nlink(entry.get(), 1);
  if (archive_write_header(a, entry.get()) != ARCHIVE_OK) return write_error(a);
  if (from.data.empty()) return {};
  const la_ssize_t n = archive_write_data(a, from.data.data(), from.data.size());
  if (n < 0 || static_cast<std::size_t>(n) != from.data.size()) return write_error(a);
  return {};
}

}  // namespace

Result<> write_cpio(int fd, const std::vector<CpioEntry>& entries) {
  const std::unique_ptr<archive, WriterFree> writer(archive_write_new());
  archive_write_set_format_cpio_newc(writer.get());
  archive_write_set_bytes_per_block(writer.get(), 1 << 16);
  archive_write_set_bytes_in_last_block(writer.get(), 512);
  if (archive_write_open_fd(writer.get(), fd) != ARCHIVE_OK) return write_error(writer.get());
  int inode = 1;
  for (const CpioEntry& entry : entries)
    MVM_TRY_CTX(write_entry(writer.get(), entry, inode++), entry.path);
  if (archive_write_close(writer.get()) != ARCHIVE_OK) return write_error(writer.get());
  return {};
}

}  // namespace mvm::kernel
