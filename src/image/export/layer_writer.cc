// SPDX-License-Identifier: Apache-2.0
#include "image/export/layer_writer.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "image/archive_reader.h"
#include "image/archive_writer.h"
#include "image/export/erofs_reader.h"

namespace mvm::image {
namespace {

constexpr std::size_t kChunk = std::size_t{256} << 10;
constexpr std::size_t kDeepest = 1024;

class LayerWriter {
 public:
  LayerWriter(const ErofsReader& image, std::string path)
      : image_(image), path_(std::move(path)), handle_(archive_write_new()) {}

  Result<> write() {
    // Not "restricted": that leaves out the fractions of times.
    archive_write_set_format_pax(handle_.get());
    archive_write_add_filter_none(handle_.get());
    if (archive_write_open_filename(handle_.get(), path_.c_str()) != ARCHIVE_OK) return failure();
    MVM_TRY(entry("./", image_.root(), 0));
    if (archive_write_close(handle_.get()) != ARCHIVE_OK) return failure();
    return {};
  }

 private:
  Error failure() const { return writer_error(handle_.get(), path_); }

  Result<> entry(const std::string& name, std::uint64_t nid, std::size_t depth) {
    const ErofsInode inode = MVM_TRY_CTX(image_.inode(nid), name);
    const bool directory = S_ISDIR(inode.mode);
    if (depth > kDeepest || name.size() > PATH_MAX)
      return Error(Errc::kCorrupt, "the image's directories are too deep");
    // A file has one inode under all its names, a directory has one name.
    if (directory && !directories_.insert(nid).second)
      return Error(Errc::kCorrupt, "the image's directory " + name + " lies in itself");
    MVM_TRY_CTX(header(name, inode), name);
    if (!directory) return {};
    for (const ErofsEntry& below : MVM_TRY_CTX(image_.directory(inode), name)) {
      const std::string path = (name == "./" ? "" : name + "/") + below.name;
      MVM_TRY(entry(path, below.nid, depth + 1));
    }
    return {};
  }

  Result<> header(const std::string& name, const ErofsInode& inode) {
    const Utf8Scope utf8;
    const EntryHandle out(archive_entry_new());
    archive_entry_set_pathname(out.get(), name.c_str());
    archive_entry_set_mode(out.get(), inode.mode);
    archive_entry_set_uid(out.get(), inode.uid);
    archive_entry_set_gid(out.get(), inode.gid);
    archive_entry_set_mtime(out.get(), inode.mtime_s, inode.mtime_ns);
    archive_entry_set_size(out.get(), 0);
    const auto known = S_ISDIR(inode.mode) ? names_.end() : names_.find(inode.nid);
    if (known != names_.end()) {
      archive_entry_set_hardlink(out.get(), known->second.c_str());
      return put(out.get());
    }
    if (inode.links > 1 && !S_ISDIR(inode.mode)) names_.emplace(inode.nid, name);
    for (const ExtendedAttribute& attribute : MVM_TRY(image_.attributes(inode)))
      archive_entry_xattr_add_entry(out.get(), attribute.name.c_str(), attribute.value.data(),
                                    attribute.value.size());
    if (S_ISLNK(inode.mode))
      archive_entry_set_symlink(out.get(), MVM_TRY(image_.link_target(inode)).c_str());
    if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) {
      // Source: include/linux/kdev_t.h, new_decode_dev().
      const unsigned minor = (inode.device & 0xff) | (inode.device >> 12 & 0xfff00);
      archive_entry_set_rdev(out.get(), ::makedev((inode.device & 0xfff00) >> 8, minor));
    }
    if (!S_ISREG(inode.mode)) return put(out.get());
    archive_entry_set_size(out.get(), static_cast<la_int64_t>(inode.size));
    MVM_TRY(put(out.get()));
    return content(inode);
  }

  Result<> put(archive_entry* out) {
    if (archive_write_header(handle_.get(), out) != ARCHIVE_OK) return failure();
    return {};
  }

  Result<> content(const ErofsInode& inode) {
    for (std::uint64_t at = 0; at < inode.size; at += kChunk) {
      const auto part = std::span(buffer_).first(std::min<std::uint64_t>(kChunk, inode.size - at));
      MVM_TRY(image_.read(inode, at, part));
      if (archive_write_data(handle_.get(), part.data(), part.size()) < 0) return failure();
    }
    return {};
  }

  const ErofsReader& image_;
  std::string path_;
  WriterHandle handle_;
  std::map<std::uint64_t, std::string> names_;  // the first of each file that has several
  std::set<std::uint64_t> directories_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(kChunk);
};

}  // namespace

Result<> write_layer(const std::string& image, const std::string& output) {
  const ErofsReader reader = MVM_TRY(ErofsReader::open(image));
  return LayerWriter(reader, output).write();
}

}  // namespace mvm::image
