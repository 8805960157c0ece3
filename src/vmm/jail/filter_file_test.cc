// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/filter_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "vmm/jail/testing_child.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

std::string with_vcpu(const std::string& list) {
  return R"({"setup": ["write"], "main": ["write", "exit_group"], "vcpu": )" + list + "}";
}

std::string refusal(const std::string& text) {
  const auto file = FilterFile::parse(text);
  return file ? "accepted" : file.error().text();
}

TEST(FilterFile, ReplacesThePolicyOfARole) {
  const auto file = FilterFile::parse(with_vcpu(R"(["write", "openat", "exit_group"])")).value();
  const auto filter = file.compile(ThreadRole::kVcpu, SeccompMode::kKill).value();
  const ChildEnd end = in_child([&](int fd) {
    if (!filter.install()) return 2;
    if (::open("/dev/null", O_RDONLY) >= 0) (void)sys::write_full(fd, "opened");
    ::getppid();
    return 0;
  });
  EXPECT_EQ(end.said, "opened");
  EXPECT_EQ(end.status.signal, SIGSYS);
}

TEST(FilterFile, AllowsACallOnlyWithTheListedArguments) {
  const auto file = FilterFile::parse(with_vcpu(
      R"(["exit_group", "write", {"syscall": "ioctl", "argument": 1, "values": [44672]}])"));
  const auto filter = file.value().compile(ThreadRole::kVcpu, SeccompMode::kKill).value();
  const ChildEnd end = in_child([&](int fd) {
    if (!filter.install()) return 2;
    if (::ioctl(-1, KVM_RUN, 0) == -1 && errno == EBADF) (void)sys::write_full(fd, "listed");
    ::ioctl(-1, KVM_GET_REGS, nullptr);
    return 0;
  });
  EXPECT_EQ(end.said, "listed");
  EXPECT_EQ(end.status.signal, SIGSYS);
}

TEST(FilterFile, RefusesWhatIsNotAnObjectOfThreeLists) {
  EXPECT_THAT(refusal(""), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("{\"setup\": []"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(R"({"setup": [], "main": []})"), HasSubstr("no role 'vcpu'"));
  EXPECT_THAT(refusal(R"({"setup": [], "main": [], "vcpu": [], "api": []})"), HasSubstr("other"));
  EXPECT_THAT(refusal(R"({"setup": 1, "main": [], "vcpu": []})"), HasSubstr("role 'setup'"));
}

TEST(FilterFile, RefusesAWrongEntryByItsPlace) {
  EXPECT_EQ(refusal(with_vcpu(R"(["read", "raed"])")),
            "filter file, role 'vcpu': entry 2: there is no system call 'raed'");
  EXPECT_THAT(refusal(with_vcpu("[1]")), HasSubstr("names no system call"));
  EXPECT_THAT(refusal(with_vcpu("[{}]")), HasSubstr("lacks"));
  EXPECT_THAT(refusal(with_vcpu(R"([{"syscall": "ioctl", "argument": 6, "values": [1]}])")),
              HasSubstr("over 5"));
  EXPECT_THAT(refusal(with_vcpu(R"([{"syscall": "ioctl", "argument": 1, "values": [-1]}])")),
              HasSubstr("whole number"));
  EXPECT_THAT(refusal(with_vcpu(R"([{"syscall": "ioctl", "argument": 1, "values": []}])")),
              HasSubstr("list of numbers"));
  EXPECT_THAT(refusal(with_vcpu(R"([{"syscall": "ioctl", "arg": 1, "values": [1]}])")),
              HasSubstr("unknown field 'arg'"));
}

}  // namespace
}  // namespace mvm::vmm
