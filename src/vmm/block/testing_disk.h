// SPDX-License-Identifier: Apache-2.0
// For the tests of block/: a disk over a file of its own, and its driver.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "sys/files.h"
#include "sys/io.h"
#include "vmm/block/block_device.h"
#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm::testing_disk {

using testing_driver::Buffer;
using testing_driver::Guest;

constexpr std::uint64_t kSectors = 2048;

inline std::string number(auto value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::string header(std::uint32_t type, std::uint64_t sector) {
  return number(type) + number(std::uint32_t{0}) + number(sector);
}

inline std::string range(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags) {
  return number(sector) + number(sectors) + number(flags);
}

// 1 MiB in which each sector is filled with a letter.
inline std::string pattern() {
  std::string out;
  for (std::uint64_t i = 0; i < kSectors; ++i)
    out.append(kSectorSize, static_cast<char>('a' + i % 26));
  return out;
}

inline std::string sector(char letter) { return std::string(kSectorSize, letter); }

// A disk over a file of its own, and its driver.
class Disk {
 public:
  explicit Disk(EngineKind engine, BlockOptions options = {}) {
    EXPECT_TRUE(sys::write_file(path(), pattern()).has_value());
    options.id = options.id.empty() ? "mvm-scratch" : options.id;
    options.path = path();
    options.engine = engine;
    device = BlockDevice::create(std::move(options)).value();
    guest.emplace(*device);
    EXPECT_TRUE(guest->activate().has_value());
  }
  std::string path() const { return directory.path() + "/disk"; }
  std::string content() const { return sys::read_file(path()).value(); }

  // Waits for the answer to one request.
  std::optional<testing_driver::DriverQueue::Used> request(const std::vector<Buffer>& buffers) {
    auto used = guest->request(0, buffers);
    guest->run_until([&] { return used || (used = guest->driver(0).take_used()); });
    return used;
  }
  // The status byte of a request with these data.
  int status_of(const std::string& head, const std::vector<Buffer>& data = {}) {
    std::vector<Buffer> buffers = {guest->readable(head)};
    buffers.insert(buffers.end(), data.begin(), data.end());
    buffers.push_back(guest->writable(1));
    guest->memory().write_object<std::uint8_t>(buffers.back().address, 0x77);
    if (!request(buffers)) return -1;
    return *guest->memory().read_object<std::uint8_t>(buffers.back().address);
  }
  std::string text(const Buffer& buffer) const {
    return guest->text(buffer.address, buffer.length);
  }

  sys::TempDir directory = sys::TempDir::create("/tmp", "block-").value();
  std::unique_ptr<BlockDevice> device;
  std::optional<Guest> guest;
};

}  // namespace mvm::vmm::testing_disk
