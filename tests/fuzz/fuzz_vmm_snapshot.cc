// SPDX-License-Identifier: Apache-2.0
// A snapshot's files as a dying disk or another program may have left them. Most inputs would stop
// at a digest, so the digests of what looks like a state file or trailer are made right first.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "vmm/snapshot/fields.h"
#include "vmm/snapshot/memory_trailer.h"
#include "vmm/snapshot/state_file.h"

namespace {

using namespace mvm::vmm;  // NOLINT(google-build-using-namespace): the target of this file
using Bytes = std::vector<std::byte>;

// Offsets of docs/formats/snapshot.md.
constexpr std::size_t kHeader = 128;
constexpr std::size_t kEntry = 144;

void seal_state(Bytes& file) {
  if (file.size() < kHeader) return;
  const std::uint64_t count = load<std::uint32_t>(file, 24);
  if (count > kMaxSections || kHeader + count * kEntry > file.size()) return;
  store(std::span(file), 16, std::uint64_t{file.size()});
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto entry = std::span(file).subspan(kHeader + i * kEntry, kEntry);
    const auto offset = load<std::uint64_t>(entry, 96);
    const auto length = load<std::uint64_t>(entry, 104);
    if (offset > file.size() || length > file.size() - offset) continue;
    store_bytes(entry, 112, digest_of({std::span<const std::byte>(file).subspan(offset, length)}));
  }
  const std::span<const std::byte> all(file);
  store_bytes(file, 96, digest_of({all.first(96), all.subspan(kHeader, count * kEntry)}));
}

void read_state(Bytes file) {
  const auto reader = SnapshotReader::parse("input", file, SnapshotArch::kX86_64);
  if (!reader.has_value()) return;
  // What was accepted is written again as it was.
  SnapshotWriter writer(reader->info());
  for (const auto name : reader->names()) {
    const auto section = reader->section(name, ~std::uint32_t{0});
    if (!section.has_value()) std::abort();
    if (!writer.add(name, section->version, {section->content.begin(), section->content.end()}))
      std::abort();
  }
  if (writer.encode().size() != file.size()) std::abort();
}

void read_trailer(std::span<const std::byte> input, bool seal) {
  std::array<std::byte, kSnapshotPage> page{};
  std::copy_n(input.begin(), std::min(input.size(), page.size()), page.begin());
  if (seal)
    store_bytes(page, kSnapshotPage - 32,
                digest_of({std::span<const std::byte>(page).first(kSnapshotPage - 32)}));
  const auto size = load<std::uint64_t>(page, 16);
  for (const std::uint64_t file_size : {size + kSnapshotPage, size + 2 * kSnapshotPage}) {
    const auto trailer = MemoryTrailer::parse("input", page, file_size);
    if (trailer.has_value() && trailer->file_size() != file_size) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  read_state({bytes.begin(), bytes.end()});
  Bytes sealed(bytes.begin(), bytes.end());
  seal_state(sealed);
  read_state(std::move(sealed));
  read_trailer(bytes, false);
  read_trailer(bytes, true);
  return 0;
}
