// SPDX-License-Identifier: Apache-2.0
// Tiny kernels for the tests of this module.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>

#include <cstring>
#include <string>
#include <vector>

namespace mvm::kernel::testing_kernels {

template <class T>
void put(std::string& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// A 64-bit ELF executable with a PVH note and a Linux banner.
inline std::string make_elf(std::uint16_t machine = EM_X86_64,
                            const std::string& release = "6.1.0-test") {
  std::string elf(256, '\0');
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident,
              "\x7f"
              "ELF\x02\x01\x01",
              7);
  header.e_type = ET_EXEC;
  header.e_machine = machine;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  put(elf, 0, header);
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = 128;
  note.p_filesz = 20;
  put(elf, sizeof header, note);
  put(elf, 128, Elf64_Nhdr{4, 4, 18});
  std::memcpy(elf.data() + 128 + sizeof(Elf64_Nhdr), "Xen\0", 4);
  return elf + "Linux version %s (x) Linux version " + release + " (debian) #1 SMP\n";
}

inline std::string pack(const std::string& bytes, int (*filter)(archive*)) {
  std::string out(bytes.size() * 2 + 4096, '\0');
  std::size_t used = 0;
  archive* a = archive_write_new();
  filter(a);
  archive_write_set_format_raw(a);
  archive_write_set_bytes_in_last_block(a, 1);
  archive_write_open_memory(a, out.data(), out.size(), &used);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_write_header(a, entry);
  archive_write_data(a, bytes.data(), bytes.size());
  archive_write_close(a);
  archive_entry_free(entry);
  archive_write_free(a);
  out.resize(used);
  return out;
}

inline std::string gzip(const std::string& bytes) {
  return pack(bytes, archive_write_add_filter_gzip);
}

// A bzImage around a packed payload that ends with the unpacked size.
inline std::string make_bzimage(const std::string& payload) {
  std::string image(1024, '\0');
  image[0x1f1] = 1;  // one sector of set-up code after the boot sector
  put(image, 0x1fe, std::uint16_t{0xaa55});
  std::memcpy(image.data() + 0x202, "HdrS", 4);
  put(image, 0x206, std::uint16_t{0x020f});
  put(image, 0x248, std::uint32_t{16});
  put(image, 0x24c, static_cast<std::uint32_t>(payload.size()));
  return image + std::string(16, '\x90') + payload + std::string(64, '\0');
}

inline std::string size_suffix(std::size_t size) {
  std::string out(4, '\0');
  put(out, 0, static_cast<std::uint32_t>(size));
  return out;
}

}  // namespace mvm::kernel::testing_kernels
