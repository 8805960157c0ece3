// SPDX-License-Identifier: Apache-2.0
#include "backend/registry/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace mvm::backend
