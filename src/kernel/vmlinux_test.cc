// SPDX-License-Identifier: Apache-2.0
#include "kernel/vmlinux.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/testing_kernels.h"

namespace mvm::kernel {
namespace {

using namespace testing_kernels;
using testing::HasSubstr;

class PackedWith : public testing::TestWithParam<int (*)(archive*)> {};

TEST_P(PackedWith, PayloadIsUnpacked) {
  const std::string elf = make_elf();
  const auto vmlinux =
      extract_vmlinux(make_bzimage(pack(elf, GetParam()) + size_suffix(elf.size())));
  ASSERT_TRUE(vmlinux) << vmlinux.error().text();
  EXPECT_EQ(*vmlinux, elf);
}

INSTANTIATE_TEST_SUITE_P(Formats, PackedWith,
                         testing::Values(archive_write_add_filter_xz, archive_write_add_filter_zstd,
                                         archive_write_add_filter_bzip2,
                                         archive_write_add_filter_lz4));

TEST(BzImage, GzipPayloadEndsWithItsOwnSize) {
  const std::string elf = make_elf();
  const auto vmlinux = extract_vmlinux(make_bzimage(gzip(elf)));
  ASSERT_TRUE(vmlinux) << vmlinux.error().text();
  EXPECT_EQ(*vmlinux, elf);
}

TEST(BzImage, RefusesPayloadOutsideTheFile) {
  std::string image = make_bzimage(gzip(make_elf()));
  put(image, 0x24c, std::uint32_t{0x7fffffff});
  EXPECT_THAT(extract_vmlinux(image).error().text(), HasSubstr("cut short"));
}

TEST(BzImage, RefusesOldBootProtocol) {
  std::string image = make_bzimage(gzip(make_elf()));
  put(image, 0x206, std::uint16_t{0x0207});
  EXPECT_EQ(extract_vmlinux(image).error().code(), Errc::kUnsupported);
}

TEST(BzImage, RefusesSizeThatDoesNotFit) {
  const std::string elf = make_elf();
  const std::string packed = pack(elf, archive_write_add_filter_xz);
  EXPECT_EQ(extract_vmlinux(make_bzimage(packed + size_suffix(elf.size() - 1))).error().code(),
            Errc::kLimit);
  EXPECT_EQ(extract_vmlinux(make_bzimage(packed + size_suffix(elf.size() + 1))).error().code(),
            Errc::kCorrupt);
  EXPECT_EQ(extract_vmlinux(make_bzimage(packed + size_suffix(0))).error().code(), Errc::kCorrupt);
}

TEST(BzImage, RefusesPayloadThatIsNoElf) {
  EXPECT_THAT(extract_vmlinux(make_bzimage(gzip(std::string(500, 'x')))).error().text(),
              HasSubstr("no ELF file"));
}

TEST(BzImage, RefusesPayloadInNoKnownFormat) {
  EXPECT_EQ(extract_vmlinux(make_bzimage(std::string(500, 'x') + size_suffix(400))).error().code(),
            Errc::kCorrupt);
}

TEST(BzImage, RefusesDamagedPayload) {
  const std::string elf = make_elf();
  std::string packed = pack(elf, archive_write_add_filter_xz);
  packed[packed.size() / 2] = static_cast<char>(packed[packed.size() / 2] ^ 0x55);
  EXPECT_EQ(extract_vmlinux(make_bzimage(packed + size_suffix(elf.size()))).error().code(),
            Errc::kCorrupt);
}

TEST(BzImage, EveryTruncationIsAnErrorAndNoCrash) {
  const std::string image = make_bzimage(gzip(make_elf()));
  for (std::size_t n = 0; n + 64 < image.size(); ++n)
    EXPECT_FALSE(extract_vmlinux(image.substr(0, n)));
}

TEST(Elf, TellsTheArchitecture) {
  EXPECT_EQ(*check_elf(make_elf(EM_X86_64)), spec::Arch::kX86_64);
  EXPECT_EQ(*check_elf(make_elf(EM_AARCH64)), spec::Arch::kAarch64);
}

TEST(Elf, RefusesOtherMachinesByNumber) {
  EXPECT_THAT(check_elf(make_elf(EM_RISCV)).error().text(), HasSubstr("machine 243"));
}

TEST(Elf, RefusesSegmentOutsideTheFile) {
  std::string elf = make_elf();
  put(elf, sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz), ~std::uint64_t{0});
  EXPECT_THAT(check_elf(elf).error().text(), HasSubstr("cut short"));
}

TEST(Elf, RefusesProgramHeadersOutsideTheFile) {
  std::string elf = make_elf();
  put(elf, offsetof(Elf64_Ehdr, e_phoff), ~std::uint64_t{0} - 8);
  EXPECT_EQ(check_elf(elf).error().code(), Errc::kCorrupt);
}

TEST(Elf, FindsThePvhNote) {
  EXPECT_TRUE(has_pvh_entry(make_elf()));
  std::string other = make_elf();
  put(other, 128, Elf64_Nhdr{4, 4, 17});
  EXPECT_FALSE(has_pvh_entry(other));
}

TEST(Elf, NoteWithAbsurdSizesIsNoPvhNote) {
  std::string elf = make_elf();
  put(elf, 128, Elf64_Nhdr{~0u, ~0u, 18});
  EXPECT_FALSE(has_pvh_entry(elf));
}

TEST(Release, IsReadFromTheBannerAndNotFromTheFormatString) {
  EXPECT_EQ(find_release(make_elf()), "6.1.0-test");
}

TEST(Release, AbsentBannerIsNothing) {
  EXPECT_EQ(find_release("no kernel"), std::nullopt);
  EXPECT_EQ(find_release("Linux version 6.1"), std::nullopt);
}

TEST(Decompress, StopsAtTheLimit) {
  EXPECT_EQ(decompress(gzip(std::string(1 << 20, 'a')), 1000).error().code(), Errc::kLimit);
}

TEST(Format, EmptyAndShortFilesAreUnknown) {
  EXPECT_EQ(detect_format(""), ImageFormat::kUnknown);
  EXPECT_EQ(detect_format("\x7f"), ImageFormat::kUnknown);
}

}  // namespace
}  // namespace mvm::kernel
