// SPDX-License-Identifier: Apache-2.0
// Snapshots: how long a machine takes to come back, and to be written down.
//
// Restores are warm: the files have just been read or written, so they are in the page cache.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench_vmm.h"
#include "sys/io.h"
#include "sys/random.h"

namespace mvm::bench {
namespace {

constexpr std::array<std::uint64_t, 3> kSizes = {128, 512, 2048};
// What a guest that is filled keeps for itself. Units: MiB.
constexpr const char* kKept = "24";

struct SnapshotFiles {
  std::string state;
  std::string memory;
};

SnapshotFiles files_at(const Parts& parts, const std::string& name) {
  return {parts.work_dir + "/" + name + ".state", parts.work_dir + "/" + name + ".memory"};
}

// Units: ms.
double write_snapshot(Guest& guest, const SnapshotFiles& files) {
  guest.api("PATCH", "/vm", R"({"state": "Paused"})");
  const nlohmann::json create = {{"snapshot_path", files.state}, {"mem_file_path", files.memory}};
  const double took = time_ms([&] { guest.api("PUT", "/snapshot/create", create.dump()); });
  guest.api("PATCH", "/vm", R"({"state": "Resumed"})");
  return took;
}

void remove(const SnapshotFiles& files) {
  ::unlink(files.state.c_str());
  ::unlink(files.memory.c_str());
}

double boot_of(const Parts& parts, std::uint64_t mib) {
  Wanted wanted;
  wanted.memory_mib = mib;
  std::unique_ptr<Guest> guest;
  return time_ms([&] {
    guest = std::make_unique<Guest>(parts, wanted);
    guest->wait_ready();
  });
}

double restore_of(const Parts& parts, const SnapshotFiles& files) {
  std::unique_ptr<Guest> guest;
  return time_ms([&] {
    guest = Guest::restored(parts, files.state, files.memory);
    guest->wait_ready();
  });
}

SnapshotFiles prepare_snapshot(const Parts& parts, std::uint64_t mib) {
  SnapshotFiles files = files_at(parts, "restore-" + std::to_string(mib));
  Wanted wanted;
  wanted.memory_mib = mib;
  Guest guest(parts, wanted);
  guest.wait_ready();
  write_snapshot(guest, files);
  // Its pages went past the cache.
  const sys::UniqueFd fd = must(sys::open_file(files.memory, O_RDONLY));
  std::vector<std::byte> block(1 << 20);
  while (must(sys::read_some(fd.get(), block)) > 0) {
  }
  return files;
}

double data_mb(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) die("no " + path);
  return static_cast<double>(info.st_blocks) * 512 / 1e6;
}

// Memory with content, as large as a guest's: one block written again and again would be read from
// the processor's cache.
class Content {
 public:
  explicit Content(std::size_t size) : size_(size) {
    void* memory = nullptr;
    if (::posix_memalign(&memory, 2 << 20, size) != 0) die("memory");
    bytes_.reset(static_cast<std::byte*>(memory));
    const auto random = sys::random_bytes(1 << 20);
    for (std::size_t at = 0; at < size; at += random.size())
      std::copy_n(random.begin(), std::min(random.size(), size - at), bytes_.get() + at);
  }
  std::span<const std::byte> bytes() const { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::size_t size_;
};

// So many bytes past the page cache, then fsync, as any program would. Units: MB/s.
double disk_speed(const Parts& parts, const Content& content, double megabytes) {
  const std::string path = parts.work_dir + "/sequential";
  constexpr std::size_t kBlock = 4 << 20;
  const auto blocks = static_cast<std::size_t>(megabytes * 1e6 / kBlock);
  const sys::UniqueFd fd =
      must(sys::open_file(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600));
  const double ms = time_ms([&] {
    for (std::size_t i = 0; i < blocks; ++i) {
      const auto block = content.bytes().subspan(i * kBlock % content.bytes().size(), kBlock);
      if (auto put = sys::write_full(fd.get(), block); !put) die(put.error().text());
    }
    ::fsync(fd.get());
  });
  ::unlink(path.c_str());
  return static_cast<double>(blocks * kBlock) / 1e3 / ms;
}

}  // namespace

void bench_restore(const Parts& parts, Report& report) {
  std::array<SnapshotFiles, kSizes.size()> files;
  std::array<Samples, kSizes.size()> restores;
  std::array<Samples, kSizes.size()> boots;
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    files[i] = prepare_snapshot(parts, kSizes[i]);
    restore_of(parts, files[i]);
  }
  const int count = rounds(12);
  for (int round = 0; round < count; ++round) {
    for (std::size_t step = 0; step < kSizes.size(); ++step) {
      // Each size comes first in its turn: what ran before matters.
      const std::size_t i = (step + static_cast<std::size_t>(round)) % kSizes.size();
      restores[i].values.push_back(restore_of(parts, files[i]));
      if (round % 3 == 0) boots[i].values.push_back(boot_of(parts, kSizes[i]));
    }
  }
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    report.add({.name = "restore, warm, " + std::to_string(kSizes[i]) + " MiB",
                .unit = "ms",
                .ours = restores[i],
                .floor = boots[i],
                .floor_name = "its cold boot",
                .ratio_at_most = 0.15});
    remove(files[i]);
  }
  for (const std::size_t i : {1U, 2U}) {
    report.add({.name = "restore, " + std::to_string(kSizes[i]) + " MiB to 128 MiB",
                .unit = "ms",
                .ours = restores[i],
                .floor = restores[0],
                .floor_name = "restore of 128 MiB (bar also >= 0.90 x)",
                .ratio_at_most = 1.1,
                .ratio_at_least = 0.9});
  }
}

void bench_snapshot(const Parts& parts, Report& report) {
  Wanted wanted;
  wanted.memory_mib = 512;
  const SnapshotFiles files = files_at(parts, "write");
  Samples sparse_ms;
  Samples sparse_mb;
  {
    Guest idle(parts, wanted);
    idle.wait_ready();
    for (int round = 0; round < rounds(4); ++round) {
      sparse_ms.values.push_back(write_snapshot(idle, files));
      sparse_mb.values.push_back(data_mb(files.memory));
      remove(files);
    }
  }
  Guest guest(parts, wanted);
  guest.wait_ready();
  guest.put_load(parts);
  guest.run_to_line({"/tmp/load", "fill", kKept});
  double size = 512;
  const auto ours = [&] {
    const double ms = write_snapshot(guest, files);
    size = data_mb(files.memory);
    remove(files);
    return size / ms * 1e3;
  };
  ours();
  const Content content(512 << 20);
  const Pair pair = alternate(rounds(4), ours, [&] { return disk_speed(parts, content, size); });
  report.add({.name = "snapshot of 512 MiB, filled",
              .unit = "MB/s",
              .ours = pair.ours,
              .floor = pair.floor,
              .floor_name = "sequential O_DIRECT write and fsync",
              .ratio_at_least = 0.8});
  report.add({.name = "snapshot of 512 MiB, idle", .unit = "ms", .ours = sparse_ms});
  report.add({.name = "its size on disk", .unit = "MB", .ours = sparse_mb});
}

}  // namespace mvm::bench
