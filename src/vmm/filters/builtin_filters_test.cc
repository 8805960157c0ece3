// SPDX-License-Identifier: Apache-2.0
#include "vmm/filters/builtin_filters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/jail/testing_child.h"

namespace mvm::vmm {
namespace {

using testing::ElementsAreArray;

class BuiltinFilter : public testing::TestWithParam<ThreadRole> {};

TEST_P(BuiltinFilter, IsWhatTheLibraryMakesOfThePolicy) {
  const SeccompFilter compiled = SeccompFilter::compile(GetParam(), SeccompMode::kKill).value();

  EXPECT_THAT(builtin_filter(GetParam()).program(), ElementsAreArray(compiled.program()));
}

TEST_P(BuiltinFilter, NamesTheProcessThatAsksForIt) {
  const ChildEnd end = in_child([parent = ::getpid()](int fd) {
    if (!builtin_filter(GetParam()).install()) return 2;
    (void)sys::write_full(fd, ::kill(::getpid(), 0) == 0 ? "may signal itself" : "may not");
    ::kill(parent, 0);
    return 0;
  });

  EXPECT_EQ(end.said, "may signal itself");
  EXPECT_EQ(end.status.signal, SIGSYS) << end.status.text();
}

TEST_P(BuiltinFilter, EndsTheProcessThatMakesAnotherCall) {
  const ChildEnd end = in_child([](int fd) {
    if (!builtin_filter(GetParam()).install()) return 2;
    (void)sys::write_full(fd, "installed");
    ::execl("/bin/true", "true", nullptr);
    return 0;
  });

  EXPECT_EQ(end.said, "installed");
  EXPECT_EQ(end.status.signal, SIGSYS) << end.status.text();
}

INSTANTIATE_TEST_SUITE_P(Roles, BuiltinFilter,
                         testing::Values(ThreadRole::kSetup, ThreadRole::kMain, ThreadRole::kVcpu),
                         [](const auto& given) { return std::string(role_name(given.param)); });

}  // namespace
}  // namespace mvm::vmm
