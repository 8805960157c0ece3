// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/random.h"
#include "vmm/jail/testing_child.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

constexpr const char* kHybrid =
    "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0\n"
    "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
    "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n"
    "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n";

TEST(Cgroup, FindsHierarchiesByTheirMounts) {
  EXPECT_EQ(cgroup1_mount(kHybrid, "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(cgroup1_mount(kHybrid, "pids"), "/sys/fs/cgroup/pids");
  EXPECT_EQ(cgroup1_mount(kHybrid, "pid"), std::nullopt);
  EXPECT_EQ(cgroup2_mount(kHybrid), "/sys/fs/cgroup/unified");
  EXPECT_EQ(cgroup2_mount("cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0"), std::nullopt);
  EXPECT_EQ(cgroup2_mount("cgroup2"), std::nullopt);
}

std::string refusal(const CgroupConfig& config) {
  const auto valid = validate(config);
  return valid ? "valid" : valid.error().text();
}

TEST(Cgroup, RefusesToLeaveTheHierarchy) {
  EXPECT_EQ(refusal({1, "a/b", "id", {{"pids.max", "1"}}}), "valid");
  EXPECT_THAT(refusal({1, "../a", "id", {}}), HasSubstr("not a path below"));
  EXPECT_THAT(refusal({1, "/a", "id", {}}), HasSubstr("not a path below"));
  EXPECT_THAT(refusal({1, "", "id", {}}), HasSubstr("not a path below"));
  EXPECT_THAT(refusal({1, "a", "..", {{"pids.max", "1"}}}), HasSubstr("not a file name"));
  EXPECT_THAT(refusal({1, "a", "b/c", {{"pids.max", "1"}}}), HasSubstr("not a file name"));
  EXPECT_THAT(refusal({1, "a", "id", {{"../pids.max", "1"}}}), HasSubstr("CONTROLLER.NAME"));
  EXPECT_THAT(refusal({1, "a", "id", {{"tasks", "1"}}}), HasSubstr("CONTROLLER.NAME"));
  EXPECT_THAT(refusal({1, "a", "id", {{"pids.max", ""}}}), HasSubstr("no value"));
  EXPECT_THAT(refusal({3, "a", "id", {}}), HasSubstr("neither 1 nor 2"));
}

// The real hierarchies of this host, where there are any that we may change.
class CgroupOfHost : public testing::Test {
 protected:
  void TearDown() override {
    if (!base_.empty()) {
      ::rmdir((base_ + "/" + name_ + "/vm").c_str());
      ::rmdir((base_ + "/" + name_).c_str());
    }
  }
  bool use(const std::optional<std::string>& base) {
    if (!base || ::access(base->c_str(), W_OK) != 0) return false;
    base_ = *base;
    return true;
  }

  std::string mounts_ = sys::read_file("/proc/self/mounts").value();
  std::string name_ = "mvm-test-" + sys::random_hex(4);
  std::string base_;
};

TEST_F(CgroupOfHost, EntersAGroupOfVersion1WithItsLimit) {
  if (!use(cgroup1_mount(mounts_, "pids"))) GTEST_SKIP() << "no writable cgroup v1 with pids";
  const ChildEnd end = in_child([&](int fd) {
    if (!enter_cgroup({1, name_, "vm", {{"pids.max", "37"}}})) return 1;
    (void)sys::write_full(fd, *sys::read_file("/proc/self/cgroup"));
    return *sys::read_file(base_ + "/" + name_ + "/vm/pids.max") == "37\n" ? 0 : 2;
  });
  EXPECT_EQ(end.status.code, 0);
  EXPECT_THAT(end.said, HasSubstr(":pids:/" + name_ + "/vm\n"));
}

TEST_F(CgroupOfHost, GivesAGroupOfCpusetItsParentsNodes) {
  if (!use(cgroup1_mount(mounts_, "cpuset"))) GTEST_SKIP() << "no writable cgroup v1 with cpuset";
  const ChildEnd end =
      in_child([&](int) { return enter_cgroup({1, name_, "vm", {{"cpuset.cpus", "0"}}}) ? 0 : 1; });
  EXPECT_EQ(end.status.code, 0);
  EXPECT_EQ(sys::read_file(base_ + "/" + name_ + "/vm/cpuset.cpus").value(), "0\n");
  EXPECT_EQ(sys::read_file(base_ + "/" + name_ + "/vm/cpuset.mems").value(),
            sys::read_file(base_ + "/cpuset.mems").value());
}

TEST_F(CgroupOfHost, EntersAGroupOfVersion2) {
  if (!use(cgroup2_mount(mounts_))) GTEST_SKIP() << "no writable cgroup v2";
  const ChildEnd end = in_child([&](int fd) {
    if (!enter_cgroup({2, name_, "vm", {{"cgroup.max.depth", "3"}}})) return 1;
    (void)sys::write_full(fd, *sys::read_file("/proc/self/cgroup"));
    return 0;
  });
  EXPECT_EQ(end.status.code, 0);
  EXPECT_THAT(end.said, HasSubstr("0::/" + name_ + "/vm\n"));
  EXPECT_EQ(sys::read_file(base_ + "/" + name_ + "/vm/cgroup.max.depth").value(), "3\n");
}

TEST_F(CgroupOfHost, Version2WithoutSettingsEntersTheParentIfItExists) {
  if (!use(cgroup2_mount(mounts_))) GTEST_SKIP() << "no writable cgroup v2";
  const auto where = [&](int fd) {
    const bool entered = enter_cgroup({2, name_, "vm", {}}).has_value();
    (void)sys::write_full(fd, *sys::read_file("/proc/self/cgroup"));
    return entered ? 0 : 1;
  };
  const ChildEnd without = in_child(where);
  EXPECT_EQ(without.status.code, 0);
  EXPECT_EQ(without.said.find(name_), std::string::npos);
  ASSERT_TRUE(sys::make_dirs(base_ + "/" + name_, 0755));
  EXPECT_THAT(in_child(where).said, HasSubstr("0::/" + name_ + "\n"));
}

TEST_F(CgroupOfHost, NamesAControllerThatIsNotThere) {
  const auto entered = enter_cgroup({1, name_, "vm", {{"mvmnone.max", "1"}}});
  ASSERT_FALSE(entered);
  EXPECT_EQ(entered.error().code(), Errc::kUnavailable);
  EXPECT_THAT(entered.error().text(), HasSubstr("'mvmnone'"));
}

}  // namespace
}  // namespace mvm::vmm
