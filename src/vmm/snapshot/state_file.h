// SPDX-License-Identifier: Apache-2.0
// The state file of a snapshot: named sections, each under a digest.
// The format is docs/formats/snapshot.md.
//
// Threads: none of its own; an object belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "vmm/snapshot/pending_file.h"
#include "vmm/snapshot/snapshot_id.h"

namespace mvm::vmm {

constexpr std::uint32_t kStateFormatVersion = 1;
constexpr std::size_t kMaxSections = 512;
constexpr std::size_t kMaxSectionName = 88;
constexpr Bytes kMaxStateSize = mebibytes(64);

enum class SnapshotArch : std::uint32_t { kX86_64 = 1, kAarch64 = 2 };
// That of this program.
#if defined(__x86_64__)
constexpr SnapshotArch kHostArch = SnapshotArch::kX86_64;
#else
constexpr SnapshotArch kHostArch = SnapshotArch::kAarch64;
#endif

struct SnapshotInfo {
  SnapshotArch arch = kHostArch;
  std::string program;   // "mvm-vmm 0.1.0": at most 40 printable characters, no more is kept
  SnapshotId memory_id;  // of the memory file
  Bytes memory_size;     // of guest memory
};

class SnapshotWriter {
 public:
  explicit SnapshotWriter(SnapshotInfo info) : info_(std::move(info)) {}

  // Errors: kInvalidArgument for a name the format does not allow, kAlreadyExists for a second
  // section of that name, kLimit for too many sections or bytes.
  Result<> add(std::string_view name, std::uint32_t version, std::vector<std::byte> content);

  // The whole file.
  std::vector<std::byte> encode() const;
  // Writes and syncs everything; the file gets its name by commit(). Errors: kNoSpace.
  Result<PendingFile> prepare(const std::string& path) const;

 private:
  struct Section {
    std::string name;
    std::uint32_t version;
    std::vector<std::byte> content;
  };
  SnapshotInfo info_;
  std::vector<Section> sections_;
  std::uint64_t content_size_ = 0;
};

class SnapshotReader {
 public:
  struct Section {
    std::uint32_t version = 0;
    std::span<const std::byte> content;  // valid while the reader lives
  };

  // Reads and checks all of it. Errors: kCorrupt ("PATH is not a snapshot", "PATH is truncated: 10
  // of 4711 bytes", "section vcpu0 of PATH is damaged"), kUnsupported for another format version
  // or architecture, those of open.
  static Result<SnapshotReader> open(const std::string& path, SnapshotArch arch = kHostArch);
  // The same for bytes that are there; `name` is what errors call them.
  static Result<SnapshotReader> parse(std::string name, std::vector<std::byte> bytes,
                                      SnapshotArch arch = kHostArch);

  const SnapshotInfo& info() const { return info_; }
  const std::string& path() const { return path_; }
  // In the order of the file.
  std::vector<std::string_view> names() const;
  std::optional<Section> find(std::string_view name) const;
  // Errors: kCorrupt when it is missing, kUnsupported when it is newer than `newest`.
  Result<Section> section(std::string_view name, std::uint32_t newest) const;

 private:
  struct Entry {
    std::string name;
    std::uint32_t version = 0;
    std::size_t offset = 0;
    std::size_t length = 0;
  };
  SnapshotReader(std::string path, std::vector<std::byte> bytes)
      : path_(std::move(path)), bytes_(std::move(bytes)) {}
  Error corrupt(std::string_view why) const;
  Result<std::size_t> check_header(SnapshotArch arch);
  Result<> check_section(std::size_t index, std::size_t offset);

  std::string path_;
  std::vector<std::byte> bytes_;
  SnapshotInfo info_;
  std::vector<Entry> entries_;
};

}  // namespace mvm::vmm
