// SPDX-License-Identifier: Apache-2.0
#include "workflow/machines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "sys/files.h"
#include "sys/io.h"
#include "workflow/config.h"
#include "workflow/scratch.h"

namespace mvm::workflow {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using wire::VmPhase;

class Machines : public testing::Test {
 protected:
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-machines-").value();
  store::Layout layout_{dir_.path() + "/data", dir_.path() + "/cache", dir_.path() + "/config",
                        dir_.path() + "/run"};
  std::string lock_path() const { return layout_.vm_run_dir("0123456789abcdef") + "/lock"; }

  store::VmRecord record(bool removed_when_done = false) {
    store::VmRecord out;
    out.id = "0123456789abcdef";
    out.name = "web";
    out.removed_when_done = removed_when_done;
    return out;
  }
  // A machine as its supervisor leaves it on disk.
  void add(VmPhase phase, bool removed_when_done = false) {
    const store::VmRecord r = record(removed_when_done);
    ASSERT_TRUE(store::Catalog::open(layout_).value().insert_vm(r));
    ASSERT_TRUE(sys::make_dirs(layout_.vm_dir(r.id)));
    ASSERT_TRUE(sys::make_dirs(layout_.vm_run_dir(r.id)));
    ASSERT_TRUE(sys::write_file(lock_path(), ""));
    supervisor::Status status;
    status.phase = phase;
    ASSERT_TRUE(supervisor::write_status(layout_.vm_dir(r.id), status));
  }
  std::string state() { return observe(layout_, record()).value().state; }
};

TEST_F(Machines, AreWhatTheirStatusSaysWhileTheLockIsHeld) {
  add(VmPhase::kReady);
  const sys::FileLock lock = sys::FileLock::acquire(lock_path()).value();
  EXPECT_EQ(state(), "running");
  EXPECT_TRUE(observe(layout_, record()).value().alive);
}

TEST_F(Machines, AreStartingBeforeTheirFirstStatus) {
  ASSERT_TRUE(sys::make_dirs(layout_.vm_run_dir(record().id)));
  const sys::FileLock lock = sys::FileLock::acquire(lock_path()).value();
  EXPECT_EQ(state(), "starting");
}

TEST_F(Machines, AreStoppedOrFailedWhenTheirLastWordSaysSo) {
  add(VmPhase::kStopped);
  EXPECT_EQ(state(), "stopped");
  supervisor::Status failed;
  failed.phase = VmPhase::kFailed;
  ASSERT_TRUE(supervisor::write_status(layout_.vm_dir(record().id), failed));
  EXPECT_EQ(state(), "failed");
}

TEST_F(Machines, HaveCrashedWhenNobodyHoldsTheLockOfARunningOne) {
  add(VmPhase::kReady);
  const Machine machine = observe(layout_, record()).value();
  EXPECT_EQ(machine.state, "crashed");
  EXPECT_FALSE(machine.alive);
  EXPECT_EQ(machine.status.hint, "mvmctl rm web");
}

TEST_F(Machines, HaveCrashedWhenTheHostWasRebooted) {
  add(VmPhase::kReady);
  ASSERT_TRUE(sys::remove_tree(layout_.run_dir));
  EXPECT_EQ(state(), "crashed");
}

TEST_F(Machines, AreListedWithoutTheLeftoversOfAKilledRun) {
  add(VmPhase::kReady, true);
  EXPECT_THAT(list_machines(layout_).value(), SizeIs(0));
  EXPECT_FALSE(sys::path_exists(layout_.vm_dir(record().id)));
  EXPECT_FALSE(sys::path_exists(layout_.vm_run_dir(record().id)));
  EXPECT_EQ(find_machine(layout_, "web").error().code(), Errc::kNotFound);
}

TEST_F(Machines, AreListedWhenTheyAreARunThatStillLives) {
  add(VmPhase::kReady, true);
  const sys::FileLock lock = sys::FileLock::acquire(lock_path()).value();
  EXPECT_THAT(list_machines(layout_).value(), SizeIs(1));
}

TEST_F(Machines, AreNotRemovedWhileTheyRun) {
  add(VmPhase::kReady);
  const sys::FileLock lock = sys::FileLock::acquire(lock_path()).value();
  const Error error = remove_machine(layout_, find_machine(layout_, "web").value()).error();
  EXPECT_EQ(error.code(), Errc::kBusy);
  EXPECT_EQ(error.hint(), "mvmctl stop web");
  EXPECT_TRUE(sys::path_exists(layout_.vm_dir(record().id)));
}

TEST_F(Machines, AreRemovedWithEverythingWhenTheyHaveEnded) {
  add(VmPhase::kStopped);
  ASSERT_TRUE(remove_machine(layout_, find_machine(layout_, "web").value()));
  EXPECT_FALSE(sys::path_exists(layout_.vm_dir(record().id)));
  EXPECT_THAT(list_machines(layout_).value(), SizeIs(0));
}

TEST_F(Machines, TellTheirStateToWhoWantsToConnect) {
  add(VmPhase::kStopped);
  const Error error = connect(layout_, find_machine(layout_, "web").value()).error();
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_THAT(error.text(), HasSubstr("machine 'web' is stopped"));
}

class ConfigTest : public Machines {};

TEST_F(ConfigTest, IsEmptyWithoutAFile) {
  EXPECT_EQ(Config::load(layout_).value().get("memory"), std::nullopt);
}

TEST_F(ConfigTest, ComesBackAsItWasSaved) {
  Config config;
  ASSERT_TRUE(config.set("memory", "1G"));
  ASSERT_TRUE(config.set("image", "debian:\"odd\""));
  ASSERT_TRUE(config.save(layout_));
  const Config again = Config::load(layout_).value();
  EXPECT_EQ(again.get("memory"), "1G");
  EXPECT_EQ(again.get("image"), "debian:\"odd\"");
}

TEST_F(ConfigTest, RefusesWhatIsNotPrintableAscii) {
  Config config;
  EXPECT_EQ(config.set("image", "a\nb").error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(Config::parse("image = \"\\u00e9\"", "c").error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(Config::parse("# \xc3\xa9", "c").error().code(), Errc::kInvalidArgument);
}

TEST_F(ConfigTest, ForgetsAKeyThatIsSetToNothing) {
  Config config;
  ASSERT_TRUE(config.set("cpus", "4"));
  ASSERT_TRUE(config.set("cpus", ""));
  EXPECT_EQ(config.get("cpus"), std::nullopt);
}

TEST_F(ConfigTest, NamesLineAndColumnOfASyntaxError) {
  const Error error = Config::parse("memory = \"1G\"\ncpus == 2\n", "config.toml").error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), testing::StartsWith("config.toml:2:"));
}

TEST_F(ConfigTest, NamesTheLineOfAnUnknownKeyAndTheKeysThereAre) {
  const Error error = Config::parse("\ncolour = \"red\"\n", "config.toml").error();
  EXPECT_THAT(error.text(), HasSubstr("config.toml:2"));
  EXPECT_THAT(error.text(), HasSubstr("'colour'"));
  EXPECT_THAT(error.hint(), HasSubstr("memory"));
}

TEST_F(ConfigTest, RefusesValuesThatAreNone) {
  Config config;
  for (const auto& [key, value] :
       {std::pair("memory", "lots"), std::pair("cpus", "two"), std::pair("cpus", "-1"),
        std::pair("network", "bridge"), std::pair("isolation", "none"), std::pair("disk", "1X")})
    EXPECT_EQ(config.set(key, value).error().code(), Errc::kInvalidArgument) << key << "=" << value;
  EXPECT_FALSE(Config::parse("memory = [1]", "c").has_value());
  EXPECT_FALSE(Config::parse("memory = true", "c").has_value());
}

TEST_F(ConfigTest, TakesANumberForAText) {
  EXPECT_EQ(Config::parse("cpus = 2", "c").value().get("cpus"), "2");
}

class Scratch : public Machines {
 protected:
  ScratchRequest request() {
    return {dir_.path() + "/scratch.img", layout_.scratch_template_dir(), mebibytes(128), true};
  }
};

TEST_F(Scratch, IsASparseExt4FileOfTheAskedSize) {
  ASSERT_TRUE(make_scratch(request()));
  struct stat st{};
  ASSERT_EQ(::stat(request().path.c_str(), &st), 0);
  EXPECT_EQ(st.st_size, 128 << 20);
  EXPECT_LT(st.st_blocks * 512, 16 << 20);
  const std::string start =
      sys::read_file(request().path, mebibytes(256)).value().substr(1024 + 56, 2);
  EXPECT_EQ(start, "\x53\xef");
}

TEST_F(Scratch, IsMadeFromItsTemplateTheSecondTime) {
  ASSERT_TRUE(make_scratch(request()));
  ScratchRequest second = request();
  second.path += "2";
  ::setenv("PATH", "/nowhere", 1);
  EXPECT_TRUE(make_scratch(second));
  ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
}

TEST_F(Scratch, HasAMinimumSize) {
  ScratchRequest small = request();
  small.size = mebibytes(1);
  const Error error = make_scratch(small).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.hint(), HasSubstr("64M"));
  EXPECT_FALSE(sys::path_exists(small.path));
}

TEST_F(Scratch, DoesNotReplaceAFileThatIsThere) {
  ASSERT_TRUE(sys::write_file(request().path, "mine"));
  EXPECT_EQ(make_scratch(request()).error().code(), Errc::kAlreadyExists);
  EXPECT_EQ(sys::read_file(request().path).value(), "mine");
}

}  // namespace
}  // namespace mvm::workflow
