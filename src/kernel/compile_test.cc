// SPDX-License-Identifier: Apache-2.0
#include "kernel/compile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernel/testing_kernels.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::kernel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr spec::Arch kX86 = spec::Arch::kX86_64;

TEST(KernelConfig, ALaterLineReplacesAnEarlierOne) {
  EXPECT_EQ(merge_configs("# why\nCONFIG_A=y\nCONFIG_B=y\n", "CONFIG_B=n\nCONFIG_C=\"x y\"\n"),
            "# why\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=\"x y\"\n");
  EXPECT_EQ(merge_configs("CONFIG_A=y\n", "# CONFIG_A is not set\n"), "CONFIG_A=n\n");
}

TEST(KernelConfig, WhatTheSourceDoesNotHaveIsNamed) {
  const char* wanted = "# c\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_D=n\n";
  EXPECT_THAT(missing_options(wanted, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n"),
              ElementsAre("CONFIG_C=y"));
  EXPECT_THAT(missing_options(wanted, "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n"),
              ElementsAre("CONFIG_B=n"));
}

TEST(KernelConfig, OursHasWhatTheAgentNeeds) {
  const std::string ours = *sys::read_file(MVM_SOURCE_DIR "/src/kernel/config/x86_64.config");
  const char* needed =
      "CONFIG_VIRTIO_MMIO=y\nCONFIG_VIRTIO_CONSOLE=y\nCONFIG_VIRTIO_VSOCKETS=y\n"
      "CONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_NET=y\nCONFIG_EROFS_FS=y\nCONFIG_EXT4_FS=y\n"
      "CONFIG_OVERLAY_FS=y\nCONFIG_DM_VERITY=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_PVH=y\n"
      "CONFIG_BLK_DEV_INITRD=y\nCONFIG_MODULES=n\n";
  EXPECT_THAT(missing_options(needed, ours + "# CONFIG_MODULES"), ElementsAre("CONFIG_MODULES=n"));
}

// Runs compile() against apt, dpkg-deb and make written as shell scripts; tar and xz are real.
class CompileTest : public testing::Test {
 protected:
  void SetUp() override {
    old_path_ = std::getenv("PATH");
    ASSERT_TRUE(sys::make_dirs(at("bin")));
    ASSERT_TRUE(sys::make_dirs(at("source/linux-source-9.9")));
    ASSERT_TRUE(sys::write_file(at("elf"), testing_kernels::make_elf(EM_X86_64, "9.9.1-mvm")));
    ASSERT_TRUE(sys::write_file(at("source/linux-source-9.9/Makefile"), "real"));
    run({"tar", "-C", at("source"), "-cJf", at("linux-source-9.9.tar.xz"), "linux-source-9.9"});
    tool("apt-cache", "echo '  Depends: linux-source-9.9'");
    tool("apt-get",
         "case \"$*\" in *--print-uris*) echo \"'http://x' linux-source-9.9_9.9.1-1_all.deb 1 "
         "SHA256:x\";; *) echo > linux-source-9.9_9.9.1-1_all.deb;; esac");
    tool("dpkg-deb",
         "mkdir -p \"$3/usr/src\"; cp '" + at("linux-source-9.9.tar.xz") + "' \"$3/usr/src\"");
    tool("make", "cat Makefile | grep -q real || exit 7\necho \"$*\" >> '" + at("calls") +
                     "'\nfor word in \"$@\"; do case $word in KCONFIG_ALLCONFIG=*) cp "
                     "\"${word#*=}\" .config;; vmlinux) env > '" +
                     at("environment") + "'; cp '" + at("elf") + "' vmlinux;; esac; done");
    for (const char* name : {"gcc", "flex", "bison", "bc"}) tool(name, "echo " + std::string(name));
    ::setenv("PATH", (at("bin") + ":" + old_path_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", old_path_.c_str(), 1); }

  std::string at(const std::string& name) const { return dir_.path() + "/" + name; }
  void tool(const std::string& name, const std::string& script) {
    ASSERT_TRUE(sys::write_file(at("bin/" + name), "#!/bin/sh\n" + script + "\n", 0755));
  }
  static void run(std::vector<std::string> argv) {
    sys::Command command;
    command.argv = std::move(argv);
    ASSERT_TRUE(sys::run_checked(std::move(command)));
  }
  Result<Kernel> build(const std::string& config = "CONFIG_A=y\n", bool force = false) {
    CompileOptions options;
    options.config = config;
    options.force = force;
    options.log_path = at("log");
    return compile(at("cache"), kX86, options);
  }
  std::string calls() const { return sys::read_file(at("calls")).value_or(""); }

  sys::TempDir dir_ = *sys::TempDir::create("/tmp", "mvm-compile-");
  std::string old_path_;
};

TEST_F(CompileTest, MakesAKernelThatIsFoundByName) {
  const auto kernel = build();
  ASSERT_TRUE(kernel) << kernel.error().text();
  EXPECT_EQ(kernel->release, "9.9.1-mvm");
  EXPECT_THAT(kernel->package, testing::StartsWith("linux-source-9.9_9.9.1-1_mvm-"));
  EXPECT_EQ(kernel->modules_dir, "");
  EXPECT_EQ(find(at("cache"), "9.9.1-mvm")->digest, kernel->digest);
  EXPECT_EQ(*sys::read_file(kernel->vmlinux_path), *sys::read_file(at("elf")));
  EXPECT_FALSE(find_cached(at("cache"), kX86)) << "it is not in use unless that is wanted";
  ASSERT_TRUE(use(at("cache"), kernel->package));
  EXPECT_EQ(find_cached(at("cache"), kX86)->release, "9.9.1-mvm");
  EXPECT_FALSE(sys::path_exists(at("log")));
}

TEST_F(CompileTest, BuildsOnceForTheSameInputs) {
  const auto first = build();
  ASSERT_TRUE(first);
  const std::string called = calls();
  EXPECT_EQ(build()->package, first->package);
  EXPECT_EQ(calls(), called);
  EXPECT_NE(build("CONFIG_A=y\nCONFIG_B=y\n")->package, first->package);
  ASSERT_TRUE(build("CONFIG_A=y\n", true));
  EXPECT_NE(calls(), called);
}

TEST_F(CompileTest, NothingOfThisHostGoesIn) {
  ASSERT_TRUE(build());
  const std::string environment = *sys::read_file(at("environment"));
  EXPECT_THAT(environment, HasSubstr("KBUILD_BUILD_HOST=mvm\n"));
  EXPECT_THAT(environment, HasSubstr("KBUILD_BUILD_USER=mvm\n"));
  EXPECT_THAT(environment, HasSubstr("KBUILD_BUILD_TIMESTAMP=Thu Jan  1"));
}

TEST_F(CompileTest, AnOptionThatTheSourceDoesNotHaveIsNamed) {
  tool("make", "echo CONFIG_A=y > .config");
  const auto kernel = build("CONFIG_A=y\nCONFIG_NONE=y\n");
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().code(), Errc::kUnsupported);
  EXPECT_THAT(kernel.error().text(), HasSubstr("CONFIG_NONE=y"));
}

TEST_F(CompileTest, AFailureShowsWhatMakeHasSaidAndKeepsTheLog) {
  tool("make",
       "case \"$*\" in *vmlinux*) echo 'x.c:1: error: no such thing' >&2; exit 2;; "
       "*) echo CONFIG_A=y > .config;; esac");
  const auto kernel = build();
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().text(), HasSubstr("error: no such thing"));
  EXPECT_THAT(kernel.error().hint(), HasSubstr(at("log")));
  EXPECT_TRUE(sys::path_exists(at("log")));
  for (const std::string& left : sys::children(at("cache")))
    EXPECT_THAT(left, testing::Not(HasSubstr(kCompilePrefix)));
}

TEST_F(CompileTest, WhatAKilledBuildLeftIsRemoved) {
  ASSERT_TRUE(sys::make_dirs(at("cache/.compile-dead/source")));
  ASSERT_TRUE(build());
  EXPECT_FALSE(sys::path_exists(at("cache/.compile-dead")));
}

TEST_F(CompileTest, AMissingToolNamesItsPackage) {
  ::setenv("PATH", at("none").c_str(), 1);
  const auto kernel = build();
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().code(), Errc::kUnavailable);
  EXPECT_THAT(kernel.error().hint(), HasSubstr("apt-get install"));
}

TEST_F(CompileTest, AnUnknownKernelIsNotUsed) {
  EXPECT_EQ(use(at("cache"), "7.7").error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace mvm::kernel
