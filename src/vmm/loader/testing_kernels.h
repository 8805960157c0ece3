// SPDX-License-Identifier: Apache-2.0
// Small kernels for the tests of this module, whole by default and changeable field by field.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace mvm::vmm::testing_kernels {

constexpr std::uint64_t kElfPaddr = 0x100'0000;

template <class T>
void put(std::string& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Headers in the first page, then 8 KiB of one segment; a third page of it is BSS.
struct Elf {
  Elf64_Ehdr header{};
  Elf64_Phdr load{};
  Elf64_Phdr second_load{};  // PT_NULL by default
  Elf64_Phdr note{};         // PT_NULL by default
  std::uint64_t pvh_entry = 0;

  Elf() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_entry = kElfPaddr;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    load.p_type = PT_LOAD;
    load.p_offset = 0x1000;
    load.p_paddr = kElfPaddr;
    load.p_filesz = 0x2000;
    load.p_memsz = 0x3000;
  }

  // With a XEN_ELFNOTE_PHYS32_ENTRY note behind another one.
  Elf& pvh(std::uint64_t entry) {
    pvh_entry = entry;
    note.p_type = PT_NOTE;
    note.p_offset = 0x800;
    note.p_filesz = 20 + 24;
    note.p_align = 4;
    return *this;
  }

  std::string bytes() const {
    std::string out(0x3000, '\0');
    put(out, 0, header);
    put(out, sizeof header, load);
    put(out, sizeof header + sizeof load, second_load);
    put(out, sizeof header + 2 * sizeof load, note);
    put(out, 0x800, Elf64_Nhdr{4, 4, 1});
    std::memcpy(out.data() + 0x80c, "GNU", 4);
    put(out, 0x814, Elf64_Nhdr{4, 8, 18});
    std::memcpy(out.data() + 0x820, "Xen", 4);
    put(out, 0x824, pvh_entry);
    std::memcpy(out.data() + 0x1000, "KERNEL", 6);
    return out;
  }
};

// Boot protocol 2.15 with one sector of setup code and 1 KiB of payload.
struct BzImage {
  std::string file = std::string(2 * 512 + 1024, '\0');

  BzImage() {
    put<std::uint8_t>(file, 0x1f1, 1);
    put<std::uint32_t>(file, 0x1f4, 1024 / 16);
    put<std::uint16_t>(file, 0x1fe, 0xaa55);
    put<std::uint8_t>(file, 0x201, 0x26c - 0x202);
    std::memcpy(file.data() + 0x202, "HdrS", 4);
    put<std::uint16_t>(file, 0x206, 0x020f);
    put<std::uint8_t>(file, 0x211, 1);
    put<std::uint32_t>(file, 0x22c, 0x7fff'ffff);
    put<std::uint32_t>(file, 0x230, 0x20'0000);
    put<std::uint8_t>(file, 0x234, 1);
    put<std::uint16_t>(file, 0x236, 1);
    put<std::uint32_t>(file, 0x238, 2047);
    put<std::uint64_t>(file, 0x258, 0x100'0000);
    put<std::uint32_t>(file, 0x260, 0x80'0000);
    std::memcpy(file.data() + 1024, "PAYLOAD", 7);
  }

  std::string bytes() const { return file; }
};

}  // namespace mvm::vmm::testing_kernels
