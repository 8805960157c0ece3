// SPDX-License-Identifier: Apache-2.0
// An ELF vmlinux. Its physical addresses are where the kernel wants to be.
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/checked.h"
#include "vmm/loader/formats.h"

namespace mvm::vmm {
namespace {

// Linux has five program headers; these bounds only keep hostile files short.
constexpr std::size_t kMaxHeaders = 64;
constexpr std::uint64_t kMaxNotes = 64 * 1024;
constexpr std::uint32_t kXenPhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY
// COMMAND_LINE_SIZE of x86 and the limit that its boot protocol gives for initrds.
constexpr std::size_t kCommandLineLimit = 2048;
constexpr Gpa kInitrdMax = 0x7fff'ffff;

Result<std::vector<Elf64_Phdr>> read_program_headers(const LoaderFile& file,
                                                     const Elf64_Ehdr& header) {
  if (header.e_phentsize != sizeof(Elf64_Phdr))
    return file.corrupt("ELF program headers of " + std::to_string(header.e_phentsize) + " bytes");
  if (header.e_phnum == 0 || header.e_phnum > kMaxHeaders)
    return file.corrupt("ELF with " + std::to_string(header.e_phnum) + " program headers");
  std::vector<Elf64_Phdr> out(header.e_phnum);
  MVM_TRY(file.read(header.e_phoff, std::as_writable_bytes(std::span(out))));
  return out;
}

Result<> check_header(const LoaderFile& file, const Elf64_Ehdr& header) {
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
    return Error(Errc::kUnsupported, file.name() + ": is not a 64-bit little-endian ELF file");
  if (header.e_machine != EM_X86_64)
    return Error(Errc::kUnsupported, file.name() + ": is for ELF machine " +
                                         std::to_string(header.e_machine) +
                                         ", not for x86_64 (62)");
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
    return file.corrupt("is no executable (ELF type " + std::to_string(header.e_type) + ")");
  return {};
}

// A segment of no size takes no part in anything, whatever else its header says.
bool is_loaded(const Elf64_Phdr& header) { return header.p_type == PT_LOAD && header.p_memsz != 0; }

// Checks one segment against the file, RAM and the segments before.
Result<> check_segment(const GuestMemory& memory, const LoaderFile& file,
                       std::span<const Elf64_Phdr> headers, std::size_t index) {
  const Elf64_Phdr& segment = headers[index];
  const std::string which = "ELF segment " + std::to_string(index);
  if (segment.p_filesz > segment.p_memsz || !file.has(segment.p_offset, segment.p_filesz))
    return file.corrupt(which + " lies outside of the file");
  const auto end = checked_add(segment.p_paddr, segment.p_memsz);
  if (!end || segment.p_paddr < kKernelMinimum)
    return file.corrupt(which + " has physical address " + std::to_string(segment.p_paddr) +
                        " and size " + std::to_string(segment.p_memsz));
  if (!memory.slice(segment.p_paddr, segment.p_memsz))
    return Error(Errc::kLimit, file.name() + ": needs memory up to " + format_size(Bytes{*end}) +
                                   ", the guest has " + format_size(memory.size()))
        .with_hint("give the guest more memory");
  for (std::size_t i = 0; i < index; ++i) {
    const Elf64_Phdr& other = headers[i];
    if (is_loaded(other) && other.p_paddr < *end && segment.p_paddr < other.p_paddr + other.p_memsz)
      return file.corrupt(which + " overlaps segment " + std::to_string(i));
  }
  return {};
}

// Returns the first address above all segments.
Result<Gpa> load_segments(const GuestMemory& memory, const LoaderFile& file,
                          std::span<const Elf64_Phdr> headers) {
  Gpa end = 0;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (!is_loaded(headers[i])) continue;
    MVM_TRY(check_segment(memory, file, headers, i));
    end = std::max(end, headers[i].p_paddr + headers[i].p_memsz);
  }
  if (end == 0) return file.corrupt("ELF without a segment to load");
  for (const Elf64_Phdr& segment : headers)
    if (is_loaded(segment))
      MVM_TRY(file.load(memory, segment.p_paddr, segment.p_offset, segment.p_filesz));
  return end;
}

std::optional<std::uint64_t> pvh_entry_of(std::span<const std::byte> notes, std::uint64_t align) {
  const auto up = [align](std::uint64_t value) { return (value + align - 1) & ~(align - 1); };
  for (std::uint64_t at = 0; notes.size() - at >= sizeof(Elf64_Nhdr);) {
    Elf64_Nhdr note{};
    std::memcpy(&note, notes.data() + at, sizeof note);
    const std::uint64_t name = at + sizeof note;
    const std::uint64_t content = up(name + note.n_namesz);
    const std::uint64_t next = up(content + note.n_descsz);
    if (content + note.n_descsz > notes.size()) return std::nullopt;
    if (note.n_type == kXenPhys32Entry && note.n_namesz == 4 &&
        std::memcmp(notes.data() + name, "Xen", 4) == 0 &&
        (note.n_descsz == 4 || note.n_descsz == 8)) {
      std::uint64_t entry = 0;
      std::memcpy(&entry, notes.data() + content, note.n_descsz);
      return entry;
    }
    if (next > notes.size()) return std::nullopt;
    at = next;
  }
  return std::nullopt;
}

Result<std::optional<std::uint64_t>> find_pvh_entry(const LoaderFile& file,
                                                    std::span<const Elf64_Phdr> headers) {
  for (const Elf64_Phdr& header : headers) {
    if (header.p_type != PT_NOTE) continue;
    if (header.p_filesz > kMaxNotes || !file.has(header.p_offset, header.p_filesz))
      return file.corrupt("ELF notes lie outside of the file or are too large");
    std::vector<std::byte> notes(header.p_filesz);
    MVM_TRY(file.read(header.p_offset, notes));
    const auto entry = pvh_entry_of(notes, header.p_align == 8 ? 8 : 4);
    if (entry) return entry;
  }
  return std::optional<std::uint64_t>();
}

bool inside_a_segment(std::span<const Elf64_Phdr> headers, Gpa gpa) {
  return std::any_of(headers.begin(), headers.end(), [gpa](const Elf64_Phdr& segment) {
    return is_loaded(segment) && gpa >= segment.p_paddr && gpa - segment.p_paddr < segment.p_filesz;
  });
}

}  // namespace

Result<LoadedKernel> load_elf(const GuestMemory& memory, const LoaderFile& file) {
  const auto header = MVM_TRY(file.read_object<Elf64_Ehdr>(0));
  MVM_TRY(check_header(file, header));
  const auto headers = MVM_TRY(read_program_headers(file, header));
  const auto pvh = MVM_TRY(find_pvh_entry(file, headers));
  LoadedKernel out;
  out.protocol = pvh ? BootProtocol::kPvh : BootProtocol::kLinux64;
  out.entry = pvh.value_or(header.e_entry);
  if (!inside_a_segment(headers, out.entry) || (pvh && out.entry > UINT32_MAX))
    return file.corrupt("entry point " + std::to_string(out.entry) + " is in no loaded segment");
  out.end = MVM_TRY(load_segments(memory, file, headers));
  out.initrd_max = kInitrdMax;
  out.command_line_limit = kCommandLineLimit;
  return out;
}

}  // namespace mvm::vmm
