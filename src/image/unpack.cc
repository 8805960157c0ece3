// SPDX-License-Identifier: Apache-2.0
#include "image/unpack.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checked.h"
#include "image/archive_reader.h"
#include "image/entry_path.h"
#include "image/tree_writer.h"
#include "sys/io.h"

namespace mvm::image {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

Error archive_failure(archive* handle, std::string_view what) {
  const char* text = archive_error_string(handle);
  return Error(Errc::kCorrupt,
               std::string(what) + ": " + (text == nullptr ? "damaged archive" : text));
}

// Times outside what EROFS and file systems keep are pulled to the nearest end.
timespec mtime_of(archive_entry* entry) {
  constexpr std::int64_t kLatest = 0x3'7fff'ffff;  // ext4's last second, year 2446
  std::int64_t seconds = archive_entry_mtime_is_set(entry) != 0 ? archive_entry_mtime(entry) : 0;
  if (seconds < 0 || seconds > kLatest) return timespec{seconds < 0 ? 0 : kLatest, 0};
  const long nanos = archive_entry_mtime_nsec(entry);
  return timespec{seconds, nanos < 0 || nanos > 999'999'999 ? 0 : nanos};
}

Result<std::uint32_t> owner_id(std::int64_t id, const std::string& path) {
  if (id < 0 || id >= 0xffff'ffff) {
    return Error(Errc::kCorrupt,
                 "entry " + shown(path) + " has the impossible owner " + std::to_string(id));
  }
  return static_cast<std::uint32_t>(id);
}

// Attributes that mean something in a guest. Labels of security modules and overlayfs marks of the
// machine that built the image do not.
bool wanted_xattr(std::string_view name) {
  return (name.starts_with("user.") && name.size() > 5 && name.size() <= kMaxNameLength) ||
         name == "security.capability";
}

Result<> read_xattrs(archive_entry* entry, const std::string& path, Metadata& meta) {
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    if (name == nullptr || !wanted_xattr(name)) continue;
    if (size > kMaxXattrSize || meta.xattrs.size() >= kMaxXattrsPerEntry) {
      return Error(Errc::kLimit, "entry " + shown(path) + ": attribute " + shown(name) +
                                     " is over the limit of 64 of 64 KiB each");
    }
    meta.xattrs[name] = std::string(static_cast<const char*>(value), size);
  }
  return {};
}

Result<Metadata> metadata_of(archive_entry* entry, const std::string& path) {
  Metadata meta;
  meta.mode = archive_entry_perm(entry) & 07777;
  meta.uid = MVM_TRY(owner_id(archive_entry_uid(entry), path));
  meta.gid = MVM_TRY(owner_id(archive_entry_gid(entry), path));
  meta.mtime = mtime_of(entry);
  MVM_TRY(read_xattrs(entry, path, meta));
  return meta;
}

Result<std::string> name_of(archive_entry* entry) {
  const char* name = archive_entry_pathname(entry);
  if (name == nullptr) return Error(Errc::kCorrupt, "an entry has a name that cannot be read");
  return entry_path(name);
}

}  // namespace

struct Unpacker::State {
  TreeWriter writer;
  UnpackLimits limits;
  std::string tree;
  std::uint64_t entries = 0;
  Bytes total;

  Result<> add_entries(archive* handle, bool whiteouts);
  Result<> add_entry(archive* handle, archive_entry* entry, bool whiteouts);
  Result<> add_file(archive* handle, archive_entry* entry, const std::string& path);
  Result<> add_special(archive_entry* entry, const std::string& path);
  Result<> write_content(archive* handle, int fd, std::uint64_t size, const std::string& path);
  Result<> count(archive_entry* entry);
  Error write_failure(const std::string& path, int errnum) const;
};

Result<> Unpacker::State::count(archive_entry* entry) {
  if (++entries > limits.entries) {
    return Error(Errc::kLimit,
                 "more than " + std::to_string(limits.entries) + " entries in the image");
  }
  const std::int64_t size = archive_entry_size_is_set(entry) != 0 ? archive_entry_size(entry) : 0;
  const auto sum = checked_add(total.count, static_cast<std::uint64_t>(size));
  if (size < 0 || !sum || Bytes{*sum} > limits.total) {
    return Error(Errc::kLimit, "the image unpacks to more than " + format_size(limits.total));
  }
  total = Bytes{*sum};
  return {};
}

Error Unpacker::State::write_failure(const std::string& path, int errnum) const {
  const std::string where =
      errnum == ENOSPC || errnum == EDQUOT ? "no room below " + tree + " for " : "write ";
  Error error = Error::from_errno(where + shown(path), errnum);
  return std::move(error).with_hint(
      "free some space, or set MVM_HOME to a directory on a larger disk");
}

Result<> Unpacker::State::write_content(archive* handle, int fd, std::uint64_t size,
                                        const std::string& path) {
  const void* block = nullptr;
  std::size_t length = 0;
  la_int64_t offset = 0;
  std::uint64_t end = 0;
  for (;;) {
    const int code = archive_read_data_block(handle, &block, &length, &offset);
    if (code == ARCHIVE_EOF) break;
    if (code != ARCHIVE_OK) return archive_failure(handle, "content of " + shown(path));
    const auto block_end =
        checked_add(static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length));
    if (offset < 0 || !block_end || *block_end > size) {
      return Error(Errc::kCorrupt, "entry " + shown(path) + " holds more than its size says");
    }
    const std::span bytes(static_cast<const std::byte*>(block), length);
    if (auto done = sys::write_at(fd, bytes, static_cast<std::size_t>(offset)); !done)
      return write_failure(path, done.error().errnum());
    end = *block_end;
  }
  if (end < size && ::ftruncate(fd, static_cast<off_t>(size)) != 0)
    return write_failure(path, errno);
  return {};
}

Result<> Unpacker::State::add_file(archive* handle, archive_entry* entry, const std::string& path) {
  const Metadata meta = MVM_TRY(metadata_of(entry, path));
  sys::UniqueFd file = MVM_TRY(writer.open_new_file(path));
  const auto size = static_cast<std::uint64_t>(archive_entry_size(entry));
  MVM_TRY(write_content(handle, file.get(), size, path));
  return writer.finish_file(path, std::move(file), meta);
}

Result<> Unpacker::State::add_special(archive_entry* entry, const std::string& path) {
  const Metadata meta = MVM_TRY(metadata_of(entry, path));
  switch (archive_entry_filetype(entry)) {
    case AE_IFDIR:
      return writer.make_directory(path, meta);
    case AE_IFLNK: {
      const char* target = archive_entry_symlink(entry);
      if (target == nullptr || *target == '\0') {
        return Error(Errc::kCorrupt, "entry " + shown(path) + " is a symbolic link to nothing");
      }
      return writer.make_symlink(path, target, meta);
    }
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO: {
      const auto device = ::makedev(static_cast<unsigned>(archive_entry_rdevmajor(entry)),
                                    static_cast<unsigned>(archive_entry_rdevminor(entry)));
      return writer.make_node(path, archive_entry_filetype(entry), device, meta);
    }
    default:
      return Error(Errc::kCorrupt, "entry " + shown(path) + " is of an unknown kind");
  }
}

Result<> Unpacker::State::add_entry(archive* handle, archive_entry* entry, bool whiteouts) {
  MVM_TRY(count(entry));
  const std::string path = MVM_TRY(name_of(entry));
  const auto [parent, name] = split_path(path);
  if (whiteouts && name == kOpaque) return writer.hide_children(std::string(parent));
  if (whiteouts && name.starts_with(kWhiteout)) {
    const std::string hidden = MVM_TRY(entry_path(name.substr(kWhiteout.size())));
    if (hidden.empty())
      return Error(Errc::kCorrupt, "entry " + shown(path) + " is a whiteout of nothing");
    return writer.hide(parent.empty() ? hidden : std::string(parent) + "/" + hidden);
  }
  if (const char* target = archive_entry_hardlink(entry); target != nullptr) {
    if (path.empty()) return Error(Errc::kCorrupt, "the top directory is a hard link");
    return writer.make_hard_link(path, MVM_TRY(hard_link_path(path, target)));
  }
  const bool directory = archive_entry_filetype(entry) == AE_IFDIR;
  if (path.empty() && !directory)
    return Error(Errc::kCorrupt, "the top directory is not a directory");
  if (archive_entry_filetype(entry) == AE_IFREG) return add_file(handle, entry, path);
  return add_special(entry, path);
}

Result<> Unpacker::State::add_entries(archive* handle, bool whiteouts) {
  const Utf8Scope utf8;
  writer.begin_layer();
  for (;;) {
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(handle, &entry);
    if (code == ARCHIVE_EOF) return {};
    // A warning is about a name or number that could not be represented: what we cannot read we do
    // not guess.
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
      return archive_failure(handle, "reading the archive");
    MVM_TRY(add_entry(handle, entry, whiteouts));
  }
}

Unpacker::Unpacker(std::unique_ptr<State> state) : state_(std::move(state)) {}
Unpacker::Unpacker(Unpacker&&) noexcept = default;
Unpacker& Unpacker::operator=(Unpacker&&) noexcept = default;
Unpacker::~Unpacker() = default;

Result<Unpacker> Unpacker::create(const std::string& tree, const UnpackLimits& limits) {
  return Unpacker(std::unique_ptr<State>(new State{
      .writer = MVM_TRY(TreeWriter::create(tree)), .limits = limits, .tree = tree, .total = {}}));
}

Result<> Unpacker::add_layer(const LayerFile& layer, Progress& progress) {
  const std::string frame = "layer " + (layer.digest.empty() ? layer.path : layer.digest);
  ArchiveHandle handle = MVM_TRY(new_archive_reader());
  LayerStream stream = MVM_TRY(LayerStream::open(layer, progress));
  auto added = stream.attach(handle.get());
  if (added.has_value()) added = state_->add_entries(handle.get(), layer.whiteouts);
  if (!added.has_value()) {
    // A digest mismatch explains a damaged archive, so it is the better error.
    if (added.error().code() == Errc::kCorrupt) MVM_TRY(stream.verify());
    return std::move(added).error().with_context(frame);
  }
  return stream.verify();
}

Result<> Unpacker::add_layer_bytes(std::span<const std::byte> archive, bool whiteouts) {
  ArchiveHandle handle = MVM_TRY(new_archive_reader());
  if (archive_read_open_memory(handle.get(), archive.data(), archive.size()) != ARCHIVE_OK) {
    return archive_failure(handle.get(), "not a tar archive in a known compression");
  }
  return state_->add_entries(handle.get(), whiteouts);
}

Result<> Unpacker::finish() { return state_->writer.finish(); }

}  // namespace mvm::image
