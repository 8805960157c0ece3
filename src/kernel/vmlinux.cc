// SPDX-License-Identifier: Apache-2.0
#include "kernel/vmlinux.h"

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>

namespace mvm::kernel {
namespace {

constexpr std::size_t kMaxVmlinux = std::size_t{1} << 30;
constexpr std::size_t kMaxReleaseLength = 64;  // __NEW_UTS_LEN

// The only way fields are read: by copy, after a bounds check. Out of range reads as nothing.
template <class T>
std::optional<T> read_at(std::string_view bytes, std::size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

bool inside(std::string_view bytes, std::uint64_t offset, std::uint64_t length) {
  return offset <= bytes.size() && length <= bytes.size() - offset;
}

Error corrupt(std::string message) { return Error(Errc::kCorrupt, std::move(message)); }

struct ArchiveFree {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Reader = std::unique_ptr<archive, ArchiveFree>;

Reader make_reader() {
  Reader reader(archive_read_new());
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_lzma(reader.get());
  archive_read_support_filter_bzip2(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_filter_lz4(reader.get());
  archive_read_support_format_raw(reader.get());
  return reader;
}

Error unpack_error(archive* a) {
  const char* text = archive_error_string(a);
  return corrupt(std::string("compressed data is damaged: ") +
                 (text != nullptr ? text : "no reason given"));
}

struct Segment {
  std::uint32_t type;
  std::uint64_t offset;
  std::uint64_t size;
};

// Program header number `index`, if it and its bytes lie inside the file.
std::optional<Segment> segment(std::string_view elf, const Elf64_Ehdr& header, unsigned index) {
  if (header.e_phoff > elf.size()) return std::nullopt;
  const auto ph =
      read_at<Elf64_Phdr>(elf, header.e_phoff + std::size_t{index} * sizeof(Elf64_Phdr));
  if (!ph || !inside(elf, ph->p_offset, ph->p_filesz)) return std::nullopt;
  return Segment{ph->p_type, ph->p_offset, ph->p_filesz};
}

bool notes_hold_pvh(std::string_view notes) {
  constexpr std::uint32_t kPhys32Entry = 18;
  std::size_t at = 0;
  while (const auto note = read_at<Elf64_Nhdr>(notes, at)) {
    at += sizeof *note;
    const std::uint64_t name_size = (std::uint64_t{note->n_namesz} + 3) & ~std::uint64_t{3};
    const std::uint64_t desc_size = (std::uint64_t{note->n_descsz} + 3) & ~std::uint64_t{3};
    if (!inside(notes, at, name_size + desc_size)) return false;
    if (note->n_type == kPhys32Entry &&
        notes.substr(at, note->n_namesz) == std::string_view("Xen\0", 4))
      return true;
    at += name_size + desc_size;
  }
  return false;
}

}  // namespace

std::string_view arch_name(spec::Arch arch) {
  return arch == spec::Arch::kAarch64 ? "aarch64" : "x86_64";
}

ImageFormat detect_format(std::string_view bytes) {
  if (bytes.starts_with("\x7f"
                        "ELF"))
    return ImageFormat::kElf;
  if (read_at<std::uint16_t>(bytes, 0x1fe) == 0xaa55 && inside(bytes, 0x202, 4) &&
      bytes.substr(0x202, 4) == "HdrS")
    return ImageFormat::kBzImage;
  if (inside(bytes, 56, 4) && bytes.substr(56, 4) == "ARM\x64") return ImageFormat::kArm64Image;
  if (bytes.starts_with("\x1f\x8b")) return ImageFormat::kGzip;
  return ImageFormat::kUnknown;
}

Result<std::string> decompress(std::string_view packed, std::size_t limit) {
  const Reader reader = make_reader();
  if (archive_read_open_memory(reader.get(), packed.data(), packed.size()) != ARCHIVE_OK)
    return unpack_error(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK)
    return unpack_error(reader.get());
  if (archive_filter_count(reader.get()) < 2)
    return corrupt("compressed data is in no known format");
  std::string out;
  out.reserve(std::min(limit, packed.size() * 4));
  const auto chunk = std::make_unique<std::array<char, 1 << 18>>();
  for (;;) {
    const la_ssize_t n = archive_read_data(reader.get(), chunk->data(), chunk->size());
    if (n < 0) return unpack_error(reader.get());
    if (n == 0) return out;
    if (static_cast<std::size_t>(n) > limit - out.size())
      return Error(Errc::kLimit, "compressed data is larger than " + format_size(Bytes{limit}) +
                                     " when unpacked");
    out.append(chunk->data(), static_cast<std::size_t>(n));
  }
}

Result<std::string> extract_vmlinux(std::string_view bzimage) {
  if (detect_format(bzimage) != ImageFormat::kBzImage)
    return corrupt("no bzImage: the boot header is missing");
  const auto version = read_at<std::uint16_t>(bzimage, 0x206);
  if (version.value_or(0) < 0x0208)
    return Error(Errc::kUnsupported,
                 "bzImage speaks a boot protocol older than 2.08 and does not tell its payload");
  const auto setup_sects = read_at<std::uint8_t>(bzimage, 0x1f1).value_or(0);
  const std::uint64_t setup_size =
      (std::uint64_t{setup_sects == 0 ? std::uint8_t{4} : setup_sects} + 1) * 512;
  const auto offset = read_at<std::uint32_t>(bzimage, 0x248);
  const auto length = read_at<std::uint32_t>(bzimage, 0x24c);
  if (!offset || !length || *length < 8 || !inside(bzimage, setup_size + *offset, *length))
    return corrupt("bzImage is cut short: its payload lies outside the file");
  std::string_view payload = bzimage.substr(setup_size + *offset, *length);
  const auto size = *read_at<std::uint32_t>(payload, payload.size() - 4);
  if (size == 0 || size > kMaxVmlinux) return corrupt("bzImage payload tells an absurd size");
  // gzip ends with the size by itself; to the other formats the kernel's build appends it.
  if (!payload.starts_with("\x1f\x8b")) payload.remove_suffix(4);
  std::string vmlinux = MVM_TRY_CTX(decompress(payload, size), "unpacking the bzImage payload");
  if (vmlinux.size() != size) return corrupt("bzImage payload is shorter than it says");
  MVM_TRY_CTX(check_elf(vmlinux), "the bzImage payload");
  return vmlinux;
}

Result<spec::Arch> check_elf(std::string_view elf) {
  const auto header = read_at<Elf64_Ehdr>(elf, 0);
  if (!header || !elf.starts_with("\x7f"
                                  "ELF"))
    return corrupt("no ELF file");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
    return Error(Errc::kUnsupported, "the kernel is not 64-bit little-endian");
  if (header->e_machine != EM_X86_64 && header->e_machine != EM_AARCH64)
    return Error(Errc::kUnsupported, "the kernel is for ELF machine " +
                                         std::to_string(header->e_machine) +
                                         ", not x86_64 or aarch64");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
    return corrupt("the ELF file is no executable");
  if (header->e_phnum == 0 || header->e_phentsize != sizeof(Elf64_Phdr))
    return corrupt("the ELF file has no usable program headers");
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    if (!segment(elf, *header, i))
      return corrupt("the ELF file is cut short: segment " + std::to_string(i));
  }
  return header->e_machine == EM_AARCH64 ? spec::Arch::kAarch64 : spec::Arch::kX86_64;
}

bool has_pvh_entry(std::string_view elf) {
  const auto header = read_at<Elf64_Ehdr>(elf, 0);
  if (!header || header->e_phentsize != sizeof(Elf64_Phdr)) return false;
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const auto s = segment(elf, *header, i);
    if (s && s->type == PT_NOTE && notes_hold_pvh(elf.substr(s->offset, s->size))) return true;
  }
  return false;
}

std::optional<std::string> find_release(std::string_view image) {
  constexpr std::string_view kBanner = "Linux version ";
  for (std::size_t at = image.find(kBanner); at != std::string_view::npos;
       at = image.find(kBanner, at + 1)) {
    const std::string_view rest = image.substr(at + kBanner.size(), kMaxReleaseLength + 1);
    const std::size_t end = rest.find_first_not_of(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-+_~");
    if (end == 0 || end == std::string_view::npos || rest[end] != ' ') continue;
    if (rest[0] < '0' || rest[0] > '9') continue;  // the format string "%s"
    return std::string(rest.substr(0, end));
  }
  return std::nullopt;
}

}  // namespace mvm::kernel
