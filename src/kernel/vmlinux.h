// SPDX-License-Identifier: Apache-2.0
// Kernel image files: what they are, and the uncompressed kernel inside a bzImage.
//
// Everything here reads bytes that may come from anybody; nothing is believed before it is checked.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "spec/vm_spec.h"

namespace mvm::kernel {

enum class ImageFormat {
  kElf,         // uncompressed vmlinux, x86_64 or aarch64
  kBzImage,     // x86 boot protocol; the compressed vmlinux is inside
  kArm64Image,  // flat aarch64 Image, booted as it is
  kGzip,        // a compressed aarch64 Image (Image.gz)
  kUnknown,
};

ImageFormat detect_format(std::string_view bytes);

// The ELF file inside a bzImage.
// Source: Linux Documentation/arch/x86/boot.rst, payload_offset and payload_length (protocol 2.08).
// Errors: kCorrupt says which field is wrong; kUnsupported for a protocol older than 2.08.
Result<std::string> extract_vmlinux(std::string_view bzimage);

// Unpacks gzip, xz, lzma, bzip2, zstd or lz4 data (the legacy lz4 frame included).
// Errors: kCorrupt; kLimit when the result is larger than `limit` bytes.
Result<std::string> decompress(std::string_view packed, std::size_t limit);

// Checks an ELF kernel (64 bit, little endian, an executable whose segments lie inside the file)
// and tells its architecture. Errors: kCorrupt; kUnsupported for another machine, by number.
Result<spec::Arch> check_elf(std::string_view elf);

// Whether an x86 ELF kernel can be entered by PVH, which is how QEMU starts it without firmware.
// Source: Linux arch/x86/platform/pvh, XEN_ELFNOTE_PHYS32_ENTRY.
bool has_pvh_entry(std::string_view elf);

// "6.1.0-56-cloud-amd64" from the "Linux version ..." banner, if the image has one.
std::optional<std::string> find_release(std::string_view image);

// "x86_64" or "aarch64".
std::string_view arch_name(spec::Arch arch);

}  // namespace mvm::kernel
