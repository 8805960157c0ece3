// SPDX-License-Identifier: Apache-2.0
// Tar archives for the tests of image/, made entry by entry, hostile ones included.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace mvm::image {

class TarBuilder {
 public:
  TarBuilder() : buffer_(std::size_t{1} << 20), handle_(archive_write_new()) {
    archive_write_set_format_pax_restricted(handle_);
    archive_write_add_filter_none(handle_);
    archive_write_open_memory(handle_, buffer_.data(), buffer_.size(), &used_);
  }
  TarBuilder(const TarBuilder&) = delete;
  TarBuilder& operator=(const TarBuilder&) = delete;
  ~TarBuilder() { archive_write_free(handle_); }

  TarBuilder& file(const std::string& path, const std::string& text, unsigned mode = 0644) {
    archive_entry* entry = start(path, AE_IFREG, mode);
    archive_entry_set_size(entry, static_cast<la_int64_t>(text.size()));
    archive_entry_xattr_add_entry(entry, "user.test", "v", 1);
    archive_write_header(handle_, entry);
    archive_write_data(handle_, text.data(), text.size());
    archive_entry_free(entry);
    return *this;
  }
  TarBuilder& directory(const std::string& path, unsigned mode = 0755) {
    return put(start(path, AE_IFDIR, mode));
  }
  TarBuilder& fifo(const std::string& path) { return put(start(path, AE_IFIFO, 0600)); }
  TarBuilder& symlink(const std::string& path, const std::string& target) {
    archive_entry* entry = start(path, AE_IFLNK, 0777);
    archive_entry_set_symlink(entry, target.c_str());
    return put(entry);
  }
  TarBuilder& hard_link(const std::string& path, const std::string& target) {
    archive_entry* entry = start(path, AE_IFREG, 0644);
    archive_entry_set_hardlink(entry, target.c_str());
    return put(entry);
  }
  TarBuilder& owner(long uid, long gid) {
    uid_ = uid;
    gid_ = gid;
    return *this;
  }

  // Closes the archive; the bytes live as long as the builder.
  std::span<const std::byte> bytes() {
    archive_write_close(handle_);
    return std::span(buffer_).first(used_);
  }

 private:
  archive_entry* start(const std::string& path, unsigned type, unsigned mode) const {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, path.c_str());
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, mode);
    archive_entry_set_uid(entry, uid_);
    archive_entry_set_gid(entry, gid_);
    archive_entry_set_mtime(entry, 1'600'000'000, 0);
    return entry;
  }
  TarBuilder& put(archive_entry* entry) {
    archive_write_header(handle_, entry);
    archive_entry_free(entry);
    return *this;
  }

  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;
  archive* handle_;
  long uid_ = 0;
  long gid_ = 0;
};

}  // namespace mvm::image
