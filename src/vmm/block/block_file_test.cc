// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <sys/mman.h>

#include "vmm/block/block_device.h"
#include "vmm/block/testing_disk.h"

namespace mvm::vmm {
namespace {

using namespace testing_disk;
using testing::HasSubstr;

TEST(BlockDevice, RefusesToRestoreOverAFileOfAnotherSize) {
  Disk disk(EngineKind::kSync);
  ByteWriter out;
  disk.device->save(out);
  const auto bytes = out.take();
  ASSERT_EQ(::truncate(disk.path().c_str(), 512), 0);
  ByteReader in(bytes);
  const auto done = BlockDevice::create_empty()->restore(in);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Errc::kCorrupt);
  EXPECT_THAT(done.error().text(), HasSubstr("has 1 sectors, it had 2048"));
}

TEST(BlockDevice, RefusesASavedStateThatIsCutOff) {
  Disk disk(EngineKind::kSync);
  ByteWriter out;
  disk.device->save(out);
  const auto bytes = out.take();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto part = std::span(bytes).first(size);
    ByteReader in(part);
    EXPECT_EQ(BlockDevice::create_empty()->restore(in).error().code(), Errc::kCorrupt) << size;
  }
}

TEST(BlockDevice, AWriteThatTheHostRefusesIsAnErrorAndTheDiskGoesOn) {
  // A sealed file stands for the full disk: writes to it fail.
  sys::UniqueFd memory(::memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_TRUE(sys::write_full(memory.get(), pattern()).has_value());
  ASSERT_EQ(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  BlockOptions options;
  options.id = "full";
  options.path = "memory";
  options.file = std::move(memory);
  const auto device = BlockDevice::create(std::move(options)).value();
  Guest guest(*device);
  ASSERT_TRUE(guest.activate().has_value());
  const Buffer status = guest.writable(1);
  ASSERT_TRUE(
      guest.request(0, {guest.readable(header(VIRTIO_BLK_T_OUT, 0) + sector('X')), status}));
  EXPECT_EQ(guest.text(status.address, 1)[0], VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(device->counters().io_errors, 1U);
  const Buffer data = guest.writable(kSectorSize);
  ASSERT_TRUE(guest.request(0, {guest.readable(header(VIRTIO_BLK_T_IN, 0)), data, status}));
  EXPECT_EQ(guest.text(data.address, kSectorSize), sector('a'));
}

TEST(BlockDevice, TellsItsShapeInTheConfigurationSpace) {
  Disk disk(EngineKind::kSync);
  virtio_blk_config config{};
  disk.device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  EXPECT_EQ(config.capacity, kSectors);
  EXPECT_EQ(config.seg_max, 254U);
  EXPECT_EQ(config.max_discard_seg, kMaxRanges);
  std::uint64_t beyond = 1;
  disk.device->read_config(0xffff'fffc, std::as_writable_bytes(std::span(&beyond, 1)));
  EXPECT_EQ(beyond, 0U);
}

TEST(BlockDevice, IsMadeOfFilesAndBlockDevicesOnly) {
  BlockOptions options;
  options.id = "null";
  options.path = "/dev/null";
  const auto made = BlockDevice::create(std::move(options));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code(), Errc::kInvalidArgument);
  EXPECT_THAT(made.error().text(), HasSubstr("drive null: /dev/null is neither"));
}

TEST(BlockDevice, DoesNotTakeAReadOnlyDescriptorForAWritableDisk) {
  const auto directory = sys::TempDir::create("/tmp", "block-").value();
  const std::string path = directory.path() + "/disk";
  ASSERT_TRUE(sys::write_file(path, pattern()).has_value());
  BlockOptions options;
  options.id = "root";
  options.path = path;
  options.file = sys::open_file(path, O_RDONLY).value();
  const auto made = BlockDevice::create(std::move(options));
  ASSERT_FALSE(made.has_value());
  EXPECT_THAT(made.error().text(), HasSubstr("not open for writing"));
}

TEST(BlockDevice, HidesTheBytesAfterTheLastWholeSector) {
  const auto directory = sys::TempDir::create("/tmp", "block-").value();
  const std::string path = directory.path() + "/disk";
  ASSERT_TRUE(sys::write_file(path, std::string(1300, 'x')).has_value());
  EXPECT_EQ(DiskFile::open(path, true)->sectors(), 2U);
}

}  // namespace
}  // namespace mvm::vmm
