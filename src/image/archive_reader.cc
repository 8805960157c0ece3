// SPDX-License-Identifier: Apache-2.0
#include "image/archive_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "sys/io.h"

namespace mvm::image {
namespace {

constexpr std::size_t kReadSize = std::size_t{1} << 18;

}  // namespace

Result<ArchiveHandle> new_archive_reader() {
  ArchiveHandle handle(archive_read_new());
  if (handle == nullptr) return Error(Errc::kIo, "out of memory for the archive reader");
  archive* raw = handle.get();
  archive_read_support_format_tar(raw);
  archive_read_support_filter_gzip(raw);
  archive_read_support_filter_bzip2(raw);
  archive_read_support_filter_xz(raw);
  archive_read_support_filter_lzma(raw);
  archive_read_support_filter_zstd(raw);
  archive_read_support_filter_lz4(raw);
  return handle;
}

Utf8Scope::Utf8Scope() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
  before_ = locale_ == nullptr ? nullptr : ::uselocale(locale_);
}

Utf8Scope::~Utf8Scope() {
  if (locale_ == nullptr) return;
  ::uselocale(before_);
  ::freelocale(locale_);
}

LayerStream::LayerStream(const LayerFile& layer, Progress& progress, sys::UniqueFd fd)
    : layer_(&layer), progress_(&progress), fd_(std::move(fd)), buffer_(kReadSize) {}

Result<LayerStream> LayerStream::open(const LayerFile& layer, Progress& progress) {
  sys::UniqueFd fd = MVM_TRY(sys::open_file(layer.path, O_RDONLY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno("stat " + layer.path);
  if (S_ISDIR(st.st_mode))
    return Error(Errc::kInvalidArgument, layer.path + " is a directory, not an archive");
  LayerStream stream(layer, progress, std::move(fd));
  stream.total_ = Bytes{static_cast<std::uint64_t>(st.st_size)};
  return stream;
}

Result<std::size_t> LayerStream::fill() {
  const std::size_t got =
      MVM_TRY_CTX(sys::read_some(fd_.get(), buffer_), "reading " + layer_->path);
  read_.count += got;
  if (read_ > kMaxLayerSize)
    return Error(Errc::kLimit, "layer " + layer_->path + " is larger than 64 GiB");
  if (!layer_->digest.empty()) {
    if (read_ > layer_->size) {
      return Error(Errc::kCorrupt, "layer " + layer_->digest + " is longer than its " +
                                       std::to_string(layer_->size.count) + " bytes");
    }
    hash_.update(std::span(buffer_).first(got));
  }
  progress_->update("unpacking", read_, total_);
  return got;
}

la_ssize_t LayerStream::read_callback(archive* handle, void* self, const void** out) {
  auto* stream = static_cast<LayerStream*>(self);
  const auto got = stream->fill();
  if (!got.has_value()) {
    archive_set_error(handle, EIO, "%s", got.error().text().c_str());
    return ARCHIVE_FATAL;
  }
  *out = stream->buffer_.data();
  return static_cast<la_ssize_t>(*got);
}

Result<> LayerStream::attach(archive* handle) {
  if (archive_read_open(handle, this, nullptr, &LayerStream::read_callback, nullptr) == ARCHIVE_OK)
    return {};
  return Error(Errc::kCorrupt, layer_->path + " is not a tar archive in a known compression: " +
                                   std::string(archive_error_string(handle)));
}

Result<> LayerStream::verify() {
  if (layer_->digest.empty()) return {};
  while (MVM_TRY(fill()) > 0) {
  }
  if (read_ != layer_->size) {
    return Error(Errc::kCorrupt, "layer " + layer_->digest + " has " + std::to_string(read_.count) +
                                     " bytes, its descriptor says " +
                                     std::to_string(layer_->size.count));
  }
  const std::string actual = "sha256:" + hash_.finish();
  if (actual == layer_->digest) return {};
  return Error(Errc::kCorrupt,
               "digest mismatch: layer " + layer_->digest + " has the content of " + actual)
      .with_hint("the image is damaged or was tampered with; fetch it again");
}

}  // namespace mvm::image
