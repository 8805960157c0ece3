// SPDX-License-Identifier: Apache-2.0
#include "vmm/loader/loader.h"

#include <fcntl.h>
#include <glob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "sys/io.h"
#include "vmm/loader/testing_kernels.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;
using testing_kernels::BzImage;
using testing_kernels::Elf;
using testing_kernels::kElfPaddr;
using testing_kernels::put;

class Loader : public testing::Test {
 protected:
  GuestMemory memory_ = *GuestMemory::create(mebibytes(64));

  static sys::UniqueFd file(const std::string& bytes) {
    return std::move(*sys::memory_file("kernel", bytes));
  }
  Result<LoadedKernel> load(const std::string& bytes) const {
    return load_kernel(memory_, file(bytes).get(), "/k/vmlinux");
  }
  std::string text_at(Gpa gpa, std::size_t size) const {
    std::string out(size, '?');
    EXPECT_TRUE(memory_.read(gpa, std::as_writable_bytes(std::span(out))));
    return out;
  }
  void expect_refused(const std::string& bytes, Errc code, const std::string& part) const {
    const auto result = load(bytes);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code(), code) << result.error().text();
    EXPECT_THAT(result.error().text(), HasSubstr(part));
    EXPECT_THAT(result.error().text(), HasSubstr("/k/vmlinux"));
  }
};

TEST_F(Loader, PutsElfSegmentsAtTheirPhysicalAddresses) {
  const auto kernel = load(Elf().bytes());

  ASSERT_TRUE(kernel.has_value()) << kernel.error().text();
  EXPECT_EQ(text_at(kElfPaddr, 6), "KERNEL");
  EXPECT_EQ(kernel->end, kElfPaddr + 0x3000);
  EXPECT_EQ(kernel->command_line_limit, 2048U);
  EXPECT_TRUE(kernel->setup_header.empty());
}

TEST_F(Loader, EntersAnElfWithTheXenNoteByPvh) {
  const auto kernel = load(Elf().pvh(kElfPaddr + 4).bytes());

  ASSERT_TRUE(kernel.has_value()) << kernel.error().text();
  EXPECT_EQ(kernel->protocol, BootProtocol::kPvh);
  EXPECT_EQ(kernel->entry, kElfPaddr + 4);
}

TEST_F(Loader, EntersAnElfWithoutTheNoteByTheLinuxProtocol) {
  const auto kernel = load(Elf().bytes());

  ASSERT_TRUE(kernel.has_value()) << kernel.error().text();
  EXPECT_EQ(kernel->protocol, BootProtocol::kLinux64);
  EXPECT_EQ(kernel->entry, kElfPaddr);
}

TEST_F(Loader, RefusesAnElfForAnotherMachine) {
  Elf elf;
  elf.header.e_machine = EM_AARCH64;
  expect_refused(elf.bytes(), Errc::kUnsupported, "machine 183");
}

TEST_F(Loader, RefusesASegmentBeyondTheFile) {
  Elf elf;
  elf.load.p_filesz = elf.load.p_memsz = 0x100'0000;
  expect_refused(elf.bytes(), Errc::kCorrupt, "segment 0 lies outside of the file");
}

TEST_F(Loader, RefusesASegmentWhoseOffsetOverflows) {
  Elf elf;
  elf.load.p_offset = UINT64_MAX - 1;
  expect_refused(elf.bytes(), Errc::kCorrupt, "outside of the file");
}

TEST_F(Loader, RefusesASegmentOverTheBootData) {
  Elf elf;
  elf.load.p_paddr = 0x7000;
  elf.header.e_entry = 0x7000;
  expect_refused(elf.bytes(), Errc::kCorrupt, "physical address 28672");
}

TEST_F(Loader, RefusesASegmentWhoseEndOverflows) {
  Elf elf;
  elf.load.p_memsz = UINT64_MAX;
  expect_refused(elf.bytes(), Errc::kCorrupt, "physical address");
}

TEST_F(Loader, RefusesAnElfLargerThanMemory) {
  Elf elf;
  elf.load.p_memsz = gibibytes(1).count;
  expect_refused(elf.bytes(), Errc::kLimit, "the guest has 64M");
}

TEST_F(Loader, RefusesOverlappingSegments) {
  Elf elf;
  elf.second_load = elf.load;
  elf.second_load.p_paddr += 0x1000;
  expect_refused(elf.bytes(), Errc::kCorrupt, "segment 1 overlaps segment 0");
}

TEST_F(Loader, RefusesAnEntryOutsideOfTheSegments) {
  expect_refused(Elf().pvh(kElfPaddr + 0x10'0000).bytes(), Errc::kCorrupt, "entry point");
}

TEST_F(Loader, RefusesAnEntryInASegmentThatIsNotLoaded) {
  Elf elf;
  elf.second_load.p_type = PT_LOAD;
  elf.second_load.p_paddr = 0x200'0000;
  elf.second_load.p_filesz = 0x1000;
  elf.header.e_entry = 0x200'0000;
  expect_refused(elf.bytes(), Errc::kCorrupt, "entry point");
}

TEST_F(Loader, RefusesTooManyProgramHeaders) {
  Elf elf;
  elf.header.e_phnum = 0xffff;
  expect_refused(elf.bytes(), Errc::kCorrupt, "65535 program headers");
}

TEST_F(Loader, RefusesAnElfCutInItsHeader) {
  expect_refused(Elf().bytes().substr(0, 40), Errc::kCorrupt, "ends at byte 40");
}

TEST_F(Loader, IgnoresNotesThatEndEarly) {
  Elf elf;
  elf.pvh(kElfPaddr);
  elf.note.p_filesz = 18;
  const auto kernel = load(elf.bytes());

  ASSERT_TRUE(kernel.has_value()) << kernel.error().text();
  EXPECT_EQ(kernel->protocol, BootProtocol::kLinux64);
}

TEST_F(Loader, EntersABzImageAtItsSixtyFourBitEntry) {
  const auto kernel = load(BzImage().bytes());

  ASSERT_TRUE(kernel.has_value()) << kernel.error().text();
  EXPECT_EQ(kernel->protocol, BootProtocol::kLinux64);
  EXPECT_EQ(kernel->entry, 0x100'0200U);
  EXPECT_EQ(kernel->end, 0x100'0000U + 0x80'0000U);
  EXPECT_EQ(kernel->command_line_limit, 2048U);
  EXPECT_EQ(kernel->setup_header.size(), 0x7bU);
  EXPECT_EQ(text_at(0x100'0000, 7), "PAYLOAD");
}

TEST_F(Loader, RefusesABzImageWithoutSixtyFourBitEntry) {
  BzImage image;
  put<std::uint16_t>(image.file, 0x236, 0);
  expect_refused(image.bytes(), Errc::kUnsupported, "no 64-bit entry");
}

TEST_F(Loader, RefusesAnOldBootProtocol) {
  BzImage image;
  put<std::uint16_t>(image.file, 0x206, 0x0206);
  expect_refused(image.bytes(), Errc::kUnsupported, "boot protocol 2.6");
}

TEST_F(Loader, RefusesABzImageCutShort) {
  const std::string bytes = BzImage().bytes();
  expect_refused(bytes.substr(0, bytes.size() - 1), Errc::kCorrupt, "outside of the file");
}

TEST_F(Loader, RefusesABzImageThatUnpacksBeyondMemory) {
  BzImage image;
  put<std::uint32_t>(image.file, 0x260, 0x8000'0000);
  expect_refused(image.bytes(), Errc::kLimit, "the guest has 64M");
}

TEST_F(Loader, RefusesABzImageOverTheBootData) {
  BzImage image;
  put<std::uint64_t>(image.file, 0x258, 0x7000);
  expect_refused(image.bytes(), Errc::kCorrupt, "preferred address");
}

TEST_F(Loader, RefusesWhatIsNoKernel) {
  expect_refused("#!/bin/sh\n", Errc::kUnsupported, "neither an ELF vmlinux nor a bzImage");
  expect_refused("", Errc::kUnsupported, "neither");
}

TEST_F(Loader, RefusesADirectory) {
  const auto directory = sys::open_file("/", O_RDONLY);
  const auto kernel = load_kernel(memory_, directory->get(), "/");

  ASSERT_FALSE(kernel.has_value());
  EXPECT_EQ(kernel.error().code(), Errc::kInvalidArgument);
}

TEST_F(Loader, LeavesHolesOfTheFileAlone) {
  Elf elf;
  const std::string bytes = elf.bytes();
  const sys::UniqueFd sparse = file(bytes);
  // The second page of the segment becomes a hole; memory shows whether it was read.
  ASSERT_EQ(::fallocate(sparse.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x2000, 0x1000),
            0);
  ASSERT_TRUE(memory_.write_object<std::uint32_t>(kElfPaddr + 0x1000, 0x1234));

  ASSERT_TRUE(load_kernel(memory_, sparse.get(), "sparse").has_value());

  EXPECT_EQ(memory_.read_object<std::uint32_t>(kElfPaddr + 0x1000), 0x1234U);
  EXPECT_EQ(text_at(kElfPaddr, 6), "KERNEL");
}

TEST_F(Loader, PutsTheInitrdAtTheEndOfMemory) {
  auto kernel = load(Elf().bytes());
  const std::string initrd(5000, 'i');

  const auto done = load_initrd(memory_, file(initrd).get(), "/k/initrd", *kernel);

  ASSERT_TRUE(done.has_value()) << done.error().text();
  ASSERT_TRUE(kernel->initrd.has_value());
  EXPECT_EQ(kernel->initrd->gpa, mebibytes(64).count - 0x2000);
  EXPECT_EQ(kernel->initrd->size, 5000U);
  EXPECT_EQ(text_at(kernel->initrd->gpa, 5000), initrd);
}

TEST_F(Loader, PutsTheInitrdBelowWhatTheHeaderPermits) {
  BzImage image;
  put<std::uint32_t>(image.file, 0x22c, 0x2ff'ffff);
  auto kernel = load(image.bytes());

  ASSERT_TRUE(load_initrd(memory_, file("initrd").get(), "/k/initrd", *kernel).has_value());

  EXPECT_EQ(kernel->initrd->gpa, 0x2ff'f000U);
}

TEST_F(Loader, RefusesAnInitrdThatDoesNotFitAboveTheKernel) {
  Elf elf;
  elf.load.p_memsz = mebibytes(64).count - kElfPaddr - 0x2000;
  auto kernel = load(elf.bytes());

  const auto done =
      load_initrd(memory_, file(std::string(0x2001, 'i')).get(), "/k/initrd", *kernel);

  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Errc::kLimit);
  EXPECT_THAT(done.error().text(), HasSubstr("/k/initrd: has 8K, but 8K of memory"));
}

TEST_F(Loader, TakesAnEmptyInitrdAsNone) {
  auto kernel = load(Elf().bytes());

  ASSERT_TRUE(load_initrd(memory_, file("").get(), "/k/initrd", *kernel).has_value());

  EXPECT_FALSE(kernel->initrd.has_value());
}

TEST_F(Loader, LoadsDebiansKernel) {
  const char* home = std::getenv("HOME");
  glob_t found{};
  ::glob((std::string(home != nullptr ? home : "") + "/.cache/mvm/kernels/*/vmlinux").c_str(), 0,
         nullptr, &found);
  const std::string path = found.gl_pathc > 0 ? found.gl_pathv[0] : "";
  ::globfree(&found);
  if (path.empty()) GTEST_SKIP() << "no Debian kernel in the cache";
  const auto memory = *GuestMemory::create(mebibytes(128));
  const auto fd = sys::open_file(path, O_RDONLY);

  const auto kernel = load_kernel(memory, fd->get(), path);

  ASSERT_TRUE(kernel.has_value()) << kernel.error().text();
  EXPECT_EQ(kernel->protocol, BootProtocol::kPvh);
  EXPECT_NE(memory.read_object<std::uint32_t>(kernel->entry), 0U);
}

}  // namespace
}  // namespace mvm::vmm
