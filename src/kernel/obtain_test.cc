// SPDX-License-Identifier: Apache-2.0
#include "kernel/obtain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "kernel/package.h"
#include "kernel/testing_kernels.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::kernel {
namespace {

using namespace testing_kernels;
using testing::HasSubstr;
using testing::SizeIs;

constexpr spec::Arch kX86 = spec::Arch::kX86_64;

// Runs obtain() against apt-cache, apt-get, dpkg-deb and depmod written as shell scripts.
class ObtainTest : public testing::Test {
 protected:
  void SetUp() override {
    old_path_ = std::getenv("PATH");
    ASSERT_TRUE(sys::make_dirs(dir_.path() + "/bin"));
    ASSERT_TRUE(sys::write_file(dir_.path() + "/vmlinuz", make_bzimage(gzip(make_elf()))));
    tool("apt-cache", "echo 'linux-image-cloud-amd64'; echo '  Depends: linux-image-6.1.0-test'");
    tool("apt-get", "echo x >> '" + dir_.path() +
                        "/downloads'\necho dlstatus:1:50.0:x >&3\n"
                        "echo > linux-image-6.1.0-test_1_amd64.deb");
    tool("dpkg-deb",
         "mkdir -p \"$3/boot\" \"$3/lib/modules/6.1.0-test\"\ncp '" + dir_.path() +
             "/vmlinuz' \"$3/boot/vmlinuz-6.1.0-test\"\necho C > \"$3/boot/config-6.1.0-test\"");
    tool("depmod", "echo > \"$2/lib/modules/$3/modules.dep\"");
    ::setenv("PATH", (dir_.path() + "/bin:" + old_path_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", old_path_.c_str(), 1); }

  void tool(const std::string& name, const std::string& script) {
    ASSERT_TRUE(sys::write_file(dir_.path() + "/bin/" + name, "#!/bin/sh\n" + script + "\n", 0755));
  }
  std::string cache() const { return dir_.path() + "/cache"; }
  std::string file(const std::string& name, const std::string& bytes) {
    EXPECT_TRUE(sys::write_file(dir_.path() + "/" + name, bytes));
    return dir_.path() + "/" + name;
  }
  std::string downloads() const { return sys::read_file(dir_.path() + "/downloads").value_or(""); }

  sys::TempDir dir_ = *sys::TempDir::create("/tmp", "mvm-kernel-");
  std::string old_path_;
};

TEST_F(ObtainTest, UnpacksTheKernelAndKeepsOnlyWhatIsNeeded) {
  const auto kernel = obtain(cache(), kX86);
  ASSERT_TRUE(kernel) << kernel.error().text();
  EXPECT_EQ(kernel->release, "6.1.0-test");
  EXPECT_EQ(kernel->package, "linux-image-6.1.0-test_1_amd64");
  EXPECT_EQ(*sys::read_file(kernel->vmlinux_path), make_elf());
  EXPECT_TRUE(sys::path_exists(kernel->modules_dir + "/modules.dep"));
  EXPECT_FALSE(sys::path_exists(cache() + "/" + kernel->package + "/boot"));
}

TEST_F(ObtainTest, SecondCallReadsTheCache) {
  const auto first = obtain(cache(), kX86);
  const auto second = obtain(cache(), kX86);
  EXPECT_EQ(downloads(), "x\n");
  EXPECT_EQ(second->vmlinux_path, first->vmlinux_path);
  EXPECT_EQ(second->modules_dir, first->modules_dir);
  EXPECT_EQ(second->digest, first->digest);
}

TEST_F(ObtainTest, ForceReplacesTheSamePackage) {
  ASSERT_TRUE(obtain(cache(), kX86));
  ASSERT_TRUE(obtain(cache(), kX86, {.progress = {}, .force = true}));
  EXPECT_EQ(downloads(), "x\nx\n");
  EXPECT_THAT(*list(cache()), SizeIs(1));
}

TEST_F(ObtainTest, ImageOfAnotherSizeIsFetchedAgain) {
  const auto first = obtain(cache(), kX86);
  ASSERT_TRUE(sys::write_file(first->vmlinux_path, "cut"));
  EXPECT_EQ(*sys::read_file(obtain(cache(), kX86)->vmlinux_path), make_elf());
}

TEST_F(ObtainTest, ManyAtOnceDownloadOnce) {
  std::vector<std::thread> threads;
  std::vector<std::string> digests(6);
  for (std::string& digest : digests)
    threads.emplace_back([&] { digest = obtain(cache(), kX86).value_or(Kernel{}).digest; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(downloads(), "x\n");
  EXPECT_THAT(digests, testing::Each(SizeIs(64)));
}

TEST_F(ObtainTest, ProgressNamesThePackageAndThePercentage) {
  std::vector<std::string> steps;
  ObtainOptions options;
  options.progress = [&](const Progress& p) {
    steps.push_back(p.step + " " + std::to_string(p.percent));
  };
  ASSERT_TRUE(obtain(cache(), kX86, options));
  EXPECT_THAT(steps, testing::Contains("downloading linux-image-6.1.0-test 50"));
}

TEST_F(ObtainTest, UnknownPackageSaysRunUpdate) {
  tool("apt-cache", "echo 'E: No packages found' >&2; exit 100");
  const auto kernel = obtain(cache(), kX86);
  EXPECT_EQ(kernel.error().code(), Errc::kNotFound);
  EXPECT_THAT(kernel.error().hint(), HasSubstr("apt-get update"));
}

TEST_F(ObtainTest, FailedDownloadQuotesAptAndLeavesNothing) {
  tool("apt-get", "echo 'E: Failed to fetch http://x  Could not resolve' >&2; exit 100");
  const auto kernel = obtain(cache(), kX86);
  EXPECT_EQ(kernel.error().code(), Errc::kIo);
  EXPECT_THAT(kernel.error().text(), HasSubstr("Could not resolve"));
  EXPECT_THAT(*list(cache()), SizeIs(0));
}

TEST_F(ObtainTest, FullDiskIsNamed) {
  tool("dpkg-deb", "echo 'dpkg-deb: error: cannot copy: No space left on device' >&2; exit 2");
  EXPECT_EQ(obtain(cache(), kX86).error().code(), Errc::kNoSpace);
}

TEST_F(ObtainTest, MissingToolNamesItsPackage) {
  ::setenv("PATH", "/nonexistent", 1);
  tool("apt-get", "exit 1");
  const auto kernel = fetch_package(dir_.path() + "/work", kX86, {});
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().code(), Errc::kUnavailable);
  EXPECT_THAT(kernel.error().hint(), HasSubstr("--kernel FILE"));
}

TEST_F(ObtainTest, LeftoversOfACrashAreSwept) {
  ASSERT_TRUE(sys::make_dirs(cache() + "/.fetch-dead/raw"));
  ASSERT_TRUE(obtain(cache(), kX86));
  EXPECT_FALSE(sys::path_exists(cache() + "/.fetch-dead"));
}

TEST_F(ObtainTest, RemoveForgetsTheKernel) {
  ASSERT_TRUE(obtain(cache(), kX86));
  ASSERT_TRUE(remove(cache(), "6.1.0-test"));
  EXPECT_THAT(*list(cache()), SizeIs(0));
  EXPECT_FALSE(find_cached(cache(), kX86));
  EXPECT_EQ(remove(cache(), "6.1.0-test").error().code(), Errc::kNotFound);
}

TEST_F(ObtainTest, ElfFileIsUsedInPlace) {
  const std::string path = file("my-vmlinux", make_elf());
  const auto kernel = use_file(cache(), path, kX86);
  ASSERT_TRUE(kernel) << kernel.error().text();
  EXPECT_EQ(kernel->vmlinux_path, path);
  EXPECT_EQ(kernel->modules_dir, "")
      << "no default kernel is cached, so modules are taken as built in";
}

TEST_F(ObtainTest, BzImageFileIsUnpackedIntoTheCache) {
  const std::string path = file("bz", make_bzimage(gzip(make_elf())));
  const auto kernel = use_file(cache(), path, kX86);
  ASSERT_TRUE(kernel) << kernel.error().text();
  EXPECT_EQ(*sys::read_file(kernel->vmlinux_path), make_elf());
  EXPECT_EQ(use_file(cache(), path, kX86)->vmlinux_path, kernel->vmlinux_path);
}

TEST_F(ObtainTest, FileOfTheSameReleaseBorrowsTheModules) {
  const auto standard = obtain(cache(), kX86);
  EXPECT_EQ(use_file(cache(), file("same", make_elf()), kX86)->modules_dir, standard->modules_dir);
  EXPECT_EQ(use_file(cache(), file("other", make_elf(EM_X86_64, "6.2.0")), kX86)->modules_dir, "");
}

TEST_F(ObtainTest, ChangedFileIsExaminedAgain) {
  const std::string path = file("k", make_elf());
  ASSERT_TRUE(use_file(cache(), path, kX86));
  file("k", make_elf(EM_X86_64, "6.9.9"));
  EXPECT_EQ(use_file(cache(), path, kX86)->release, "6.9.9");
}

TEST_F(ObtainTest, FileThatIsNoKernelIsCorrupt) {
  EXPECT_EQ(use_file(cache(), file("text", "hello"), kX86).error().code(), Errc::kCorrupt);
  EXPECT_EQ(use_file(cache(), file("empty", ""), kX86).error().code(), Errc::kCorrupt);
  EXPECT_EQ(use_file(cache(), "/bin/sh", kX86).error().code(), Errc::kCorrupt);
}

TEST_F(ObtainTest, FileForAnotherArchitectureIsNamed) {
  const auto kernel = use_file(cache(), file("arm", make_elf(EM_AARCH64)), kX86);
  EXPECT_EQ(kernel.error().code(), Errc::kUnsupported);
  EXPECT_THAT(kernel.error().text(), HasSubstr("is for aarch64, not for x86_64"));
}

TEST_F(ObtainTest, MissingFileIsNotFound) {
  EXPECT_EQ(use_file(cache(), "/nonexistent/vmlinux", kX86).error().code(), Errc::kNotFound);
}

TEST_F(ObtainTest, DirectoryIsNoKernel) { EXPECT_FALSE(use_file(cache(), dir_.path(), kX86)); }

TEST(KernelNote, RefusesAnotherSchemaNamingBoth) {
  const auto kernel = from_json(R"({"schema": 7})", "/x");
  EXPECT_EQ(kernel.error().code(), Errc::kUnsupported);
  EXPECT_THAT(kernel.error().text(), HasSubstr("schema 7, this mvm reads 1"));
}

TEST(KernelNote, RefusesNonsense) {
  EXPECT_EQ(from_json("", "/x").error().code(), Errc::kCorrupt);
  EXPECT_EQ(from_json("[1]", "/x").error().code(), Errc::kCorrupt);
  EXPECT_EQ(from_json(R"({"schema": 1, "arch": "vax"})", "/x").error().code(), Errc::kCorrupt);
  EXPECT_EQ(from_json(R"({"schema": 1, "arch": "x86_64"})", "/x").error().code(), Errc::kCorrupt);
}

TEST(AptOutput, FirstKernelDependencyIsTaken) {
  EXPECT_EQ(first_kernel_dependency("m\n  Depends: linux-image-6.1.0-56-cloud-amd64\n"),
            "linux-image-6.1.0-56-cloud-amd64");
  EXPECT_EQ(first_kernel_dependency("E: No packages found\n"), "");
}

}  // namespace
}  // namespace mvm::kernel
