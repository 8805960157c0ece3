// SPDX-License-Identifier: Apache-2.0
// A bzImage by the 64-bit protocol: the protected-mode part goes to memory as it is and unpacks
// itself there.
#include <algorithm>
#include <array>
#include <cstring>

#include "core/checked.h"
#include "vmm/loader/formats.h"

namespace mvm::vmm {
namespace {

// Offsets into the file. Source: Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel
// Header".
constexpr std::size_t kSetupSects = 0x1f1;
constexpr std::size_t kSysSize = 0x1f4;
constexpr std::size_t kBootFlag = 0x1fe;
constexpr std::size_t kJumpOffset = 0x201;
constexpr std::size_t kMagic = 0x202;
constexpr std::size_t kVersion = 0x206;
constexpr std::size_t kLoadFlags = 0x211;
constexpr std::size_t kInitrdAddrMax = 0x22c;
constexpr std::size_t kXLoadFlags = 0x236;
constexpr std::size_t kCmdlineSize = 0x238;
constexpr std::size_t kPrefAddress = 0x258;
constexpr std::size_t kInitSize = 0x260;
constexpr std::size_t kHeaderEnd = 0x264;  // of the fields that are read here

constexpr std::uint16_t kFirst64BitVersion = 0x20c;  // 2.12, Linux 3.8
constexpr std::uint8_t kLoadedHigh = 1;
constexpr std::uint16_t kHas64BitEntry = 1;
constexpr Gpa kEntryOffset = 0x200;
constexpr std::size_t kMaxCommandLine = 0x1'0000;

using Header = std::array<std::byte, kHeaderEnd>;

template <class T>
T field(const Header& header, std::size_t offset) {
  T out;
  std::memcpy(&out, header.data() + offset, sizeof out);
  return out;
}

Result<> check_protocol(const LoaderFile& file, const Header& header) {
  if (field<std::uint16_t>(header, kBootFlag) != 0xaa55)
    return file.corrupt("bzImage without its boot flag");
  const auto version = field<std::uint16_t>(header, kVersion);
  if (version < kFirst64BitVersion)
    return Error(Errc::kUnsupported, file.name() + ": boot protocol " +
                                         std::to_string(version >> 8) + "." +
                                         std::to_string(version & 0xff) +
                                         " has no 64-bit entry, 2.12 is the first that may")
        .with_hint("give the kernel as an uncompressed vmlinux");
  if ((field<std::uint8_t>(header, kLoadFlags) & kLoadedHigh) == 0 ||
      (field<std::uint16_t>(header, kXLoadFlags) & kHas64BitEntry) == 0)
    return Error(Errc::kUnsupported, file.name() + ": has no 64-bit entry")
        .with_hint("give the kernel as an uncompressed vmlinux");
  return {};
}

Result<std::vector<std::byte>> read_setup_header(const LoaderFile& file, const Header& header) {
  const std::size_t end = kMagic + field<std::uint8_t>(header, kJumpOffset);
  if (end < kHeaderEnd) return file.corrupt("setup header ends at " + std::to_string(end));
  std::vector<std::byte> out(std::min(end - kSetupSects, kSetupHeaderRoom));
  MVM_TRY(file.read(kSetupSects, out));
  return out;
}

struct Payload {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

Result<Payload> find_payload(const LoaderFile& file, const Header& header) {
  const auto sectors = field<std::uint8_t>(header, kSetupSects);
  Payload out;
  out.offset = (std::uint64_t{sectors == 0 ? std::uint8_t{4} : sectors} + 1) * 512;
  out.size = std::uint64_t{field<std::uint32_t>(header, kSysSize)} * 16;
  if (out.size <= kEntryOffset || !file.has(out.offset, out.size))
    return file.corrupt("protected-mode code of " + std::to_string(out.size) +
                        " bytes lies outside of the file");
  return out;
}

}  // namespace

Result<LoadedKernel> load_bzimage(const GuestMemory& memory, const LoaderFile& file) {
  const auto header = MVM_TRY(file.read_object<Header>(0));
  MVM_TRY(check_protocol(file, header));
  LoadedKernel out;
  out.setup_header = MVM_TRY(read_setup_header(file, header));
  const Payload payload = MVM_TRY(find_payload(file, header));
  // A relocatable kernel may be loaded elsewhere, but still unpacks itself here or above: a place
  // below would not make it fit where this one does not.
  const auto load_at = field<std::uint64_t>(header, kPrefAddress);
  const std::uint64_t room =
      std::max<std::uint64_t>(payload.size, field<std::uint32_t>(header, kInitSize));
  const auto end = checked_add(load_at, room);
  if (load_at < kKernelMinimum || !end)
    return file.corrupt("preferred address " + std::to_string(load_at));
  if (!memory.slice(load_at, room))
    return Error(Errc::kLimit, file.name() + ": needs memory up to " + format_size(Bytes{*end}) +
                                   ", the guest has " + format_size(memory.size()))
        .with_hint("give the guest more memory");
  MVM_TRY(file.load(memory, load_at, payload.offset, payload.size));
  out.protocol = BootProtocol::kLinux64;
  out.entry = load_at + kEntryOffset;
  out.end = *end;
  out.initrd_max = field<std::uint32_t>(header, kInitrdAddrMax);
  out.command_line_limit =
      std::min<std::size_t>(field<std::uint32_t>(header, kCmdlineSize), kMaxCommandLine - 1) + 1;
  return out;
}

}  // namespace mvm::vmm
