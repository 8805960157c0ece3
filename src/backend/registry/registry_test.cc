// SPDX-License-Identifier: Apache-2.0
#include "backend/registry/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

namespace mvm::backend {
namespace {

TEST(Registry, FindsEveryBackendUnderItsName) {
  for (const std::string_view name : backend_names())
    EXPECT_EQ(find_backend(name).value()->name(), name);
  EXPECT_THAT(backend_names(),
              testing::ElementsAre("firecracker", "mvm-vmm", "qemu", "docker", "fake"));
}

TEST(Registry, ListsTheNamesWhenThereIsNoSuchBackend) {
  const Error error = find_backend("bhyve").error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_EQ(error.text(), "there is no backend 'bhyve'");
  EXPECT_EQ(error.hint(), "choose one of firecracker, mvm-vmm, qemu, docker, fake");
}

TEST(Registry, NamesWhoHasWhatABackendHasNot) {
  const std::array needs = {&Capabilities::pause, &Capabilities::volumes};
  const Error error = require(*find_backend("docker").value(), needs).error();
  EXPECT_EQ(error.code(), Errc::kUnsupported);
  EXPECT_EQ(error.text(), "the docker backend has no volumes");
  EXPECT_EQ(error.hint(), "--backend with it: mvm-vmm, qemu");
  EXPECT_TRUE(require(*find_backend("qemu").value(), needs));
}

TEST(Registry, EveryCapabilityHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (const Feature& feature : features()) EXPECT_TRUE(names.insert(feature.name).second);
}

}  // namespace
}  // namespace mvm::backend
