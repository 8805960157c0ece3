// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>

#include "sys/io.h"
#include "vmm/snapshot/fields.h"

namespace mvm::vmm {
namespace {

constexpr std::string_view kMagic = "mvmstate";
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kArchAt = 12;
constexpr std::size_t kLengthAt = 16;
constexpr std::size_t kCountAt = 24;
constexpr std::size_t kReservedAt = 28;
constexpr std::size_t kMemoryIdAt = 32;
constexpr std::size_t kMemorySizeAt = 48;
constexpr std::size_t kProgramAt = 56;
constexpr std::size_t kProgramSize = 40;
constexpr std::size_t kHeaderDigestAt = 96;
constexpr std::size_t kHeaderSize = 128;

// Of a table entry.
constexpr std::size_t kEntrySize = 144;
constexpr std::size_t kEntryVersionAt = 88;
constexpr std::size_t kEntryReservedAt = 92;
constexpr std::size_t kEntryOffsetAt = 96;
constexpr std::size_t kEntryLengthAt = 104;
constexpr std::size_t kEntryDigestAt = 112;

bool allowed_in_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '/' ||
         c == '-';
}

bool allowed_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxSectionName &&
         std::all_of(name.begin(), name.end(), allowed_in_name);
}

// Text up to its padding, or nothing when something follows the padding.
std::optional<std::string> padded_text(std::span<const std::byte> field) {
  const auto end = std::find(field.begin(), field.end(), std::byte{0});
  if (!all_zero(std::span(end, field.end()))) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(field.data()),
                     static_cast<std::size_t>(end - field.begin()));
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out(text.substr(0, limit));
  std::replace_if(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

std::string arch_name(std::uint32_t arch) {
  if (arch == static_cast<std::uint32_t>(SnapshotArch::kX86_64)) return "x86_64";
  if (arch == static_cast<std::uint32_t>(SnapshotArch::kAarch64)) return "aarch64";
  return "an unknown architecture";
}

Digest header_digest(std::span<const std::byte> file, std::size_t count) {
  return digest_of({file.first(kHeaderDigestAt), file.subspan(kHeaderSize, count * kEntrySize)});
}

}  // namespace

Result<> SnapshotWriter::add(std::string_view name, std::uint32_t version,
                             std::vector<std::byte> content) {
  if (!allowed_name(name))
    return Error(Errc::kInvalidArgument,
                 "\"" + printable(name, 100) + "\" cannot name a section of a snapshot");
  const auto same = [&](const Section& section) { return section.name == name; };
  if (std::any_of(sections_.begin(), sections_.end(), same))
    return Error(Errc::kAlreadyExists,
                 "the snapshot has a section " + std::string(name) + " already");
  if (sections_.size() == kMaxSections)
    return Error(Errc::kLimit,
                 "a snapshot has at most " + std::to_string(kMaxSections) + " sections");
  const std::uint64_t header = kHeaderSize + (sections_.size() + 1) * kEntrySize;
  if (content.size() > kMaxStateSize.count ||
      header + content_size_ + content.size() > kMaxStateSize.count)
    return Error(Errc::kLimit, "the state of the vm, with section " + std::string(name) +
                                   ", is larger than " + format_size(kMaxStateSize));
  content_size_ += content.size();
  sections_.push_back({std::string(name), version, std::move(content)});
  return {};
}

std::vector<std::byte> SnapshotWriter::encode() const {
  std::size_t offset = kHeaderSize + sections_.size() * kEntrySize;
  std::vector<std::byte> file(offset + content_size_);
  store_bytes(file, 0, std::as_bytes(std::span(kMagic)));
  store(std::span(file), kVersionAt, kStateFormatVersion);
  store(std::span(file), kArchAt, static_cast<std::uint32_t>(info_.arch));
  store(std::span(file), kLengthAt, std::uint64_t{file.size()});
  store(std::span(file), kCountAt, static_cast<std::uint32_t>(sections_.size()));
  store_bytes(file, kMemoryIdAt, info_.memory_id.bytes);
  store(std::span(file), kMemorySizeAt, info_.memory_size.count);
  const std::string program = printable(info_.program, kProgramSize);
  store_bytes(file, kProgramAt, std::as_bytes(std::span(program)));
  std::span<std::byte> entry = std::span(file).subspan(kHeaderSize);
  for (const Section& section : sections_) {
    store_bytes(entry, 0, std::as_bytes(std::span(section.name)));
    store(entry, kEntryVersionAt, section.version);
    store(entry, kEntryOffsetAt, std::uint64_t{offset});
    store(entry, kEntryLengthAt, std::uint64_t{section.content.size()});
    store_bytes(entry, kEntryDigestAt, digest_of({section.content}));
    store_bytes(file, offset, section.content);
    offset += section.content.size();
    entry = entry.subspan(kEntrySize);
  }
  store_bytes(file, kHeaderDigestAt, header_digest(file, sections_.size()));
  return file;
}

Result<PendingFile> SnapshotWriter::prepare(const std::string& path) const {
  PendingFile file = MVM_TRY(PendingFile::create(path));
  MVM_TRY_CTX(sys::write_full(file.fd(), encode()), "writing " + path);
  MVM_TRY(file.sync());
  return file;
}

Result<SnapshotReader> SnapshotReader::open(const std::string& path, SnapshotArch arch) {
  // Opening must not wait for the other end of a pipe.
  const sys::UniqueFd fd = MVM_TRY(sys::open_file(path, O_RDONLY | O_NONBLOCK));
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno("stat " + path);
  if (!S_ISREG(st.st_mode))
    return Error(Errc::kCorrupt, path + " is not a snapshot: it is not a regular file");
  const auto size = static_cast<std::uint64_t>(st.st_size);
  if (size > kMaxStateSize.count)
    return Error(Errc::kCorrupt,
                 path + " is not a snapshot: it is larger than " + format_size(kMaxStateSize));
  std::vector<std::byte> bytes(size);
  const std::size_t got = MVM_TRY_CTX(sys::read_full(fd.get(), bytes), "reading " + path);
  bytes.resize(got);
  return parse(path, std::move(bytes), arch);
}

Result<SnapshotReader> SnapshotReader::parse(std::string name, std::vector<std::byte> bytes,
                                             SnapshotArch arch) {
  SnapshotReader reader(std::move(name), std::move(bytes));
  const std::size_t count = MVM_TRY(reader.check_header(arch));
  std::size_t offset = kHeaderSize + count * kEntrySize;
  reader.entries_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    MVM_TRY(reader.check_section(i, offset));
    offset += reader.entries_.back().length;
  }
  if (offset != reader.bytes_.size()) return reader.corrupt("bytes follow its last section");
  return reader;
}

Error SnapshotReader::corrupt(std::string_view why) const {
  return Error(Errc::kCorrupt, path_ + " is damaged: " + std::string(why));
}

// Everything but the sections themselves; returns how many there are.
Result<std::size_t> SnapshotReader::check_header(SnapshotArch arch) {
  const std::span<const std::byte> file(bytes_);
  // What is too short for its magic may still be the start of one.
  const auto magic = std::as_bytes(std::span(kMagic)).first(std::min(kMagic.size(), file.size()));
  if (!std::equal(magic.begin(), magic.end(), file.begin()))
    return Error(Errc::kCorrupt, path_ + " is not a snapshot");
  if (file.size() < kHeaderSize)
    return Error(Errc::kCorrupt,
                 path_ + " is truncated: " + std::to_string(file.size()) + " bytes");
  const auto version = load<std::uint32_t>(file, kVersionAt);
  if (version != kStateFormatVersion)
    return Error(Errc::kUnsupported, path_ + " was made by format version " +
                                         std::to_string(version) + ", this program reads " +
                                         std::to_string(kStateFormatVersion));
  const auto length = load<std::uint64_t>(file, kLengthAt);
  if (file.size() < length)
    return Error(Errc::kCorrupt, path_ + " is truncated: " + std::to_string(file.size()) + " of " +
                                     std::to_string(length) + " bytes");
  if (file.size() > length) return corrupt("bytes follow its end");
  const std::size_t count = load<std::uint32_t>(file, kCountAt);
  if (count > kMaxSections || kHeaderSize + count * kEntrySize > file.size())
    return corrupt("it cannot have so many sections");
  if (load_bytes<32>(file, kHeaderDigestAt) != header_digest(file, count))
    return corrupt("its header is not what was written");
  const auto made_for = load<std::uint32_t>(file, kArchAt);
  if (made_for != static_cast<std::uint32_t>(arch))
    return Error(Errc::kUnsupported, path_ + " is for " + arch_name(made_for) +
                                         ", this machine is " +
                                         arch_name(static_cast<std::uint32_t>(arch)));
  const auto program = padded_text(file.subspan(kProgramAt, kProgramSize));
  if (!program || load<std::uint32_t>(file, kReservedAt) != 0)
    return corrupt("its header is not as the format wants it");
  info_ = {.arch = arch,
           .program = printable(*program, kProgramSize),
           .memory_id = {load_bytes<16>(file, kMemoryIdAt)},
           .memory_size = Bytes{load<std::uint64_t>(file, kMemorySizeAt)}};
  return count;
}

Result<> SnapshotReader::check_section(std::size_t index, std::size_t offset) {
  const std::span<const std::byte> file(bytes_);
  const auto entry = file.subspan(kHeaderSize + index * kEntrySize, kEntrySize);
  const auto name = padded_text(entry.first(kMaxSectionName));
  if (!name || !allowed_name(*name) || find(*name))
    return corrupt("entry " + std::to_string(index) + " of its table has no usable name");
  const auto length = load<std::uint64_t>(entry, kEntryLengthAt);
  if (load<std::uint64_t>(entry, kEntryOffsetAt) != offset || length > file.size() - offset ||
      load<std::uint32_t>(entry, kEntryReservedAt) != 0)
    return corrupt("section " + *name + " is not where it should be");
  const auto content = file.subspan(offset, length);
  if (load_bytes<32>(entry, kEntryDigestAt) != digest_of({content}))
    return Error(Errc::kCorrupt, "section " + *name + " of " + path_ + " is damaged");
  entries_.push_back({*name, load<std::uint32_t>(entry, kEntryVersionAt), offset, length});
  return {};
}

std::vector<std::string_view> SnapshotReader::names() const {
  std::vector<std::string_view> out;
  for (const Entry& entry : entries_) out.emplace_back(entry.name);
  return out;
}

std::optional<SnapshotReader::Section> SnapshotReader::find(std::string_view name) const {
  for (const Entry& entry : entries_) {
    if (entry.name == name)
      return Section{entry.version, std::span(bytes_).subspan(entry.offset, entry.length)};
  }
  return std::nullopt;
}

Result<SnapshotReader::Section> SnapshotReader::section(std::string_view name,
                                                        std::uint32_t newest) const {
  const auto found = find(name);
  if (!found) return corrupt("it has no section " + std::string(name));
  if (found->version > newest)
    return Error(Errc::kUnsupported, "section " + std::string(name) + " of " + path_ +
                                         " is of version " + std::to_string(found->version) +
                                         ", this program reads " + std::to_string(newest));
  return *found;
}

}  // namespace mvm::vmm
