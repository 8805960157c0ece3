// SPDX-License-Identifier: Apache-2.0
#include "image/tar_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "image/archive_reader.h"
#include "image/archive_writer.h"
#include "image/tree_remove.h"
#include "sys/io.h"

namespace mvm::image {
namespace {

constexpr std::size_t kCopySize = std::size_t{256} << 10;
constexpr mode_t kPermissions = 0777 | S_ISVTX;

Result<std::string> link_target(const std::string& path) {
  std::array<char, PATH_MAX> buffer;
  const ssize_t length = ::readlink(path.c_str(), buffer.data(), buffer.size());
  if (length < 0) return Error::from_errno("readlink " + path);
  return std::string(buffer.data(), static_cast<std::size_t>(length));
}

}  // namespace

struct TarFile::State {
  std::string path;
  WriterHandle handle{archive_write_new()};
  std::vector<char> buffer = std::vector<char>(kCopySize);
};

TarFile::TarFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
TarFile::TarFile(TarFile&&) noexcept = default;
TarFile::~TarFile() = default;

Result<TarFile> TarFile::create(const std::string& path) {
  TarFile tar(std::make_unique<State>());
  tar.state_->path = path;
  archive* handle = tar.state_->handle.get();
  archive_write_set_format_pax_restricted(handle);
  archive_write_add_filter_none(handle);
  if (archive_write_open_filename(handle, path.c_str()) != ARCHIVE_OK) return tar.failure();
  return tar;
}

Error TarFile::failure() const { return writer_error(state_->handle.get(), state_->path); }

Result<> TarFile::header(const std::string& path, mode_t type, mode_t mode,
                         const std::string& target, std::uint64_t size) {
  const Utf8Scope utf8;
  const EntryHandle entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), path.c_str());
  archive_entry_set_filetype(entry.get(), type);
  archive_entry_set_perm(entry.get(), mode & kPermissions);
  archive_entry_set_mtime(entry.get(), 0, 0);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size));
  if (type == AE_IFLNK) archive_entry_set_symlink(entry.get(), target.c_str());
  if (archive_write_header(state_->handle.get(), entry.get()) != ARCHIVE_OK) return failure();
  return {};
}

Result<> TarFile::directory(const std::string& path, mode_t mode) {
  return header(path, AE_IFDIR, mode, {}, 0);
}

Result<> TarFile::file(const std::string& path, mode_t mode, std::string_view text) {
  MVM_TRY(header(path, AE_IFREG, mode, {}, text.size()));
  if (!text.empty() && archive_write_data(state_->handle.get(), text.data(), text.size()) < 0)
    return failure();
  return {};
}

Result<> TarFile::symlink(const std::string& path, const std::string& target) {
  return header(path, AE_IFLNK, 0777, target, 0);
}

Result<> TarFile::file_from(const std::string& path, mode_t mode, const std::string& source) {
  const sys::UniqueFd file = MVM_TRY(sys::open_file(source, O_RDONLY));
  struct stat st;
  if (::fstat(file.get(), &st) != 0) return Error::from_errno("stat " + source);
  auto left = static_cast<std::uint64_t>(st.st_size);
  MVM_TRY(header(path, AE_IFREG, mode, {}, left));
  while (left > 0) {
    const ssize_t count = ::read(file.get(), state_->buffer.data(),
                                 std::min<std::uint64_t>(left, state_->buffer.size()));
    if (count < 0) return Error::from_errno("read " + source);
    if (count == 0) return Error(Errc::kIo, source + " became shorter while it was read");
    if (archive_write_data(state_->handle.get(), state_->buffer.data(),
                           static_cast<std::size_t>(count)) != count)
      return failure();
    left -= static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<> TarFile::walk(const std::string& path, const std::string& source, const std::string& below,
                       const std::function<bool(const std::string&)>& leave_out) {
  struct stat st;
  if (::lstat(source.c_str(), &st) != 0) return Error::from_errno("open " + source);
  switch (st.st_mode & S_IFMT) {
    case S_IFREG:
      return file_from(path, st.st_mode, source);
    case S_IFLNK:
      return symlink(path, MVM_TRY(link_target(source)));
    case S_IFDIR:
      break;
    default:
      return Error(Errc::kUnsupported, source + " is neither file, directory nor symbolic link");
  }
  MVM_TRY(directory(path.empty() ? "./" : path, st.st_mode));
  const sys::UniqueFd dir = MVM_TRY(sys::open_file(source, O_RDONLY | O_DIRECTORY));
  const std::string prefix = path.empty() ? "" : path + "/";
  for (const std::string& name : MVM_TRY_CTX(names_in(dir.get()), source)) {
    const std::string inner = (below.empty() ? "" : below + "/") + name;
    if (leave_out && leave_out(inner)) continue;
    MVM_TRY(walk(prefix + name, source + "/" + name, inner, leave_out));
  }
  return {};
}

Result<> TarFile::tree(const std::string& path, const std::string& source,
                       const std::function<bool(const std::string&)>& leave_out) {
  return walk(path, source, "", leave_out);
}

Result<> TarFile::close() {
  if (archive_write_close(state_->handle.get()) != ARCHIVE_OK) return failure();
  return {};
}

}  // namespace mvm::image
