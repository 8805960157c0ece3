// SPDX-License-Identifier: Apache-2.0
#include "image/export/erofs_reader.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/codec.h"
#include "sys/io.h"

namespace mvm::image {
namespace {

constexpr std::uint64_t kSuperBlock = 1024;
constexpr std::uint32_t kMagic = 0xe0f5e1e2;
constexpr std::uint64_t kSlot = 32;  // of which a nid is the number
constexpr std::uint64_t kCompactSize = 32;
constexpr std::uint64_t kExtendedSize = 64;
constexpr std::uint64_t kAttributeHead = 12;
constexpr std::uint64_t kEntryHead = 4;
constexpr std::uint64_t kDirent = 12;
constexpr std::uint64_t kLargestDirectory = std::uint64_t{256} << 20;
constexpr unsigned kPlain = 0;
constexpr unsigned kInline = 2;

Error corrupt(const std::string& what) { return Error(Errc::kCorrupt, "the image's " + what); }

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Source: fs/erofs/xattr.h, the name indexes.
Result<std::string> prefix_of(unsigned index) {
  switch (index) {
    case 1:
      return std::string("user.");
    case 2:
      return std::string("system.posix_acl_access");
    case 3:
      return std::string("system.posix_acl_default");
    case 4:
      return std::string("trusted.");
    case 6:
      return std::string("security.");
    default:
      return corrupt("attributes are of an unknown kind: " + std::to_string(index));
  }
}

}  // namespace

Result<> ErofsReader::read_at(std::uint64_t offset, std::span<std::byte> into) const {
  if (offset > size_ || into.size() > size_ - offset) return corrupt("file is cut off");
  while (!into.empty()) {
    const ssize_t got = ::pread(file_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno("read the image");
    if (got == 0) return corrupt("file is cut off");
    into = into.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<ErofsReader> ErofsReader::open(const std::string& path) {
  sys::UniqueFd file = MVM_TRY(sys::open_file(path, O_RDONLY));
  struct stat st{};
  if (::fstat(file.get(), &st) != 0) return Error::from_errno("stat " + path);
  ErofsReader out(std::move(file), static_cast<std::uint64_t>(st.st_size));
  std::array<std::byte, 128> bytes;
  MVM_TRY_CTX(out.read_at(kSuperBlock, bytes), path);
  ByteReader in(bytes);
  if (in.number<std::uint32_t>() != kMagic)
    return Error(Errc::kCorrupt, path + " is no EROFS file");
  (void)in.number<std::uint32_t>();  // checksum
  (void)in.number<std::uint32_t>();  // compatible features
  const auto block_bits = in.number<std::uint8_t>();
  (void)in.number<std::uint8_t>();  // slots of the super block
  out.root_ = in.number<std::uint16_t>();
  for (int i = 0; i < 2; ++i) (void)in.number<std::uint64_t>();  // inodes, time
  (void)in.number<std::uint32_t>();                              // its nanoseconds
  (void)in.number<std::uint32_t>();                              // blocks
  const auto inodes = in.number<std::uint32_t>();
  const auto shared = in.number<std::uint32_t>();
  for (int i = 0; i < 4; ++i) (void)in.number<std::uint64_t>();  // UUID, volume's name
  const auto incompatible = in.number<std::uint32_t>();
  if (block_bits < 9 || block_bits > 16) return corrupt("blocks have no possible size");
  if (incompatible != 0)
    return Error(Errc::kUnsupported, "the image has EROFS features that mvm does not make: " +
                                         std::to_string(incompatible));
  out.block_ = std::uint64_t{1} << block_bits;
  out.inodes_at_ = inodes * out.block_;
  out.shared_at_ = shared * out.block_;
  return out;
}

Result<ErofsInode> ErofsReader::inode(std::uint64_t nid) const {
  if (nid > size_ / kSlot) return corrupt("directory names a file outside of it");
  const std::uint64_t at = inodes_at_ + nid * kSlot;
  std::array<std::byte, kExtendedSize> bytes{};
  MVM_TRY(read_at(at, std::span(bytes).first(kCompactSize)));
  const auto format = static_cast<unsigned>(bytes[0]) | static_cast<unsigned>(bytes[1]) << 8;
  const bool extended = (format & 1) != 0;
  if (extended) MVM_TRY(read_at(at, bytes));
  ByteReader in(bytes);
  (void)in.number<std::uint16_t>();
  const auto attribute_count = in.number<std::uint16_t>();
  ErofsInode out;
  out.nid = nid;
  out.mode = in.number<std::uint16_t>();
  std::uint32_t where = 0;
  if (extended) {
    (void)in.number<std::uint16_t>();
    out.size = in.number<std::uint64_t>();
    where = in.number<std::uint32_t>();
    (void)in.number<std::uint32_t>();  // its number for stat(2)
    out.uid = in.number<std::uint32_t>();
    out.gid = in.number<std::uint32_t>();
    out.mtime_s = in.number<std::int64_t>();
    out.mtime_ns = in.number<std::uint32_t>();
    out.links = in.number<std::uint32_t>();
  } else {
    out.links = in.number<std::uint16_t>();
    out.size = in.number<std::uint32_t>();
    (void)in.number<std::uint32_t>();
    where = in.number<std::uint32_t>();
    (void)in.number<std::uint32_t>();
    out.uid = in.number<std::uint16_t>();
    out.gid = in.number<std::uint16_t>();
  }
  if (out.size > size_) return corrupt("file is larger than the image");
  out.attributes = at + (extended ? kExtendedSize : kCompactSize);
  if (attribute_count > 0)
    out.attributes_size = kAttributeHead + kEntryHead * (attribute_count - std::uint64_t{1});
  if (S_ISCHR(out.mode) || S_ISBLK(out.mode)) {
    out.device = where;
    return out;
  }
  const unsigned layout = format >> 1 & 7;
  if (layout != kPlain && layout != kInline)
    return Error(Errc::kUnsupported, "the image holds a file in a layout that mvm does not make: " +
                                         std::to_string(layout));
  out.data = where * block_;
  if (layout == kInline && out.size > 0) {
    const std::uint64_t whole = (out.size - 1) / block_ * block_;
    out.tail = out.attributes + out.attributes_size;
    out.tail_size = out.size - whole;
  }
  return out;
}

Result<> ErofsReader::read(const ErofsInode& inode, std::uint64_t offset,
                           std::span<std::byte> into) const {
  if (offset > inode.size || into.size() > inode.size - offset)
    return corrupt("file ends before what is read of it");
  const std::uint64_t whole = inode.size - inode.tail_size;
  if (offset < whole) {
    const auto part = into.first(std::min<std::uint64_t>(into.size(), whole - offset));
    MVM_TRY(read_at(inode.data + offset, part));
    into = into.subspan(part.size());
    offset = whole;
  }
  if (into.empty()) return {};
  return read_at(inode.tail + (offset - whole), into);
}

Result<std::string> ErofsReader::link_target(const ErofsInode& inode) const {
  if (inode.size > PATH_MAX) return corrupt("symbolic link is too long");
  std::string out(inode.size, '\0');
  MVM_TRY(read(inode, 0, std::as_writable_bytes(std::span(out))));
  return out;
}

Result<std::vector<ErofsEntry>> ErofsReader::directory(const ErofsInode& inode) const {
  if (inode.size > kLargestDirectory) return corrupt("directory is too large");
  std::vector<ErofsEntry> out;
  std::vector<std::byte> bytes(block_);
  for (std::uint64_t at = 0; at < inode.size; at += block_) {
    const auto block = std::span(bytes).first(std::min(block_, inode.size - at));
    MVM_TRY(read(inode, at, block));
    const std::string_view text(reinterpret_cast<const char*>(block.data()), block.size());
    ByteReader first(block);
    (void)first.number<std::uint64_t>();
    const std::uint64_t names_at = first.number<std::uint16_t>();
    if (!first.ok() || names_at % kDirent != 0 || names_at == 0 || names_at > block.size())
      return corrupt("directory is not as it should be");
    std::uint64_t name_at = names_at;
    for (std::uint64_t entry = 0; entry < names_at; entry += kDirent) {
      ByteReader in(block.subspan(entry));
      ErofsEntry found;
      found.nid = in.number<std::uint64_t>();
      name_at = in.number<std::uint16_t>();
      std::uint64_t end = block.size();
      if (entry + kDirent < names_at) {
        ByteReader next(block.subspan(entry + kDirent));
        (void)next.number<std::uint64_t>();
        end = next.number<std::uint16_t>();
      }
      if (name_at < names_at || name_at >= end || end > block.size())
        return corrupt("directory is not as it should be");
      found.name = text.substr(name_at, end - name_at);
      // The last name of a block may be followed by zeros.
      found.name.resize(std::min(found.name.find('\0'), found.name.size()));
      if (found.name.empty() || found.name.find('/') != std::string::npos)
        return corrupt("directory has a name that is none");
      if (found.name != "." && found.name != "..") out.push_back(std::move(found));
    }
  }
  return out;
}

Result<ExtendedAttribute> ErofsReader::attribute_at(std::uint64_t offset, std::uint64_t limit,
                                                    std::uint64_t& end) const {
  std::array<std::byte, kEntryHead> head;
  MVM_TRY(read_at(offset, head));
  ByteReader in(head);
  const auto name_size = in.number<std::uint8_t>();
  const auto index = in.number<std::uint8_t>();
  const auto value_size = in.number<std::uint16_t>();
  if (offset + kEntryHead + name_size + value_size > limit)
    return corrupt("attributes are cut off");
  std::string text(std::size_t{name_size} + value_size, '\0');
  MVM_TRY(read_at(offset + kEntryHead, std::as_writable_bytes(std::span(text))));
  ExtendedAttribute out;
  out.name = MVM_TRY(prefix_of(index)) + text.substr(0, name_size);
  out.value = text.substr(name_size);
  end = round_up(offset + kEntryHead + text.size(), kEntryHead);
  return out;
}

Result<std::vector<ExtendedAttribute>> ErofsReader::attributes(const ErofsInode& inode) const {
  std::vector<ExtendedAttribute> out;
  if (inode.attributes_size == 0) return out;
  const std::uint64_t limit = inode.attributes + inode.attributes_size;
  std::array<std::byte, kAttributeHead> head;
  MVM_TRY(read_at(inode.attributes, head));
  const auto shared = static_cast<std::uint64_t>(head[4]);
  std::uint64_t at = inode.attributes + kAttributeHead;
  if (at + shared * kEntryHead > limit) return corrupt("attributes are cut off");
  for (std::uint64_t i = 0; i < shared; ++i, at += kEntryHead) {
    std::array<std::byte, kEntryHead> number;
    MVM_TRY(read_at(at, number));
    std::uint64_t end = 0;
    out.push_back(MVM_TRY(attribute_at(
        shared_at_ + ByteReader(number).number<std::uint32_t>() * kEntryHead, size_, end)));
  }
  while (at + kEntryHead <= limit) out.push_back(MVM_TRY(attribute_at(at, limit, at)));
  std::ranges::sort(out, {}, &ExtendedAttribute::name);
  return out;
}

}  // namespace mvm::image
