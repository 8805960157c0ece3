// SPDX-License-Identifier: Apache-2.0
#include "backend/fake/fake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::backend::fake {
namespace {

using testing::ElementsAre;

TEST(FakePlan, ServesTheAgentOnItsDescriptor) {
  spec::VmSpec vm;
  vm.engine_program = "/libexec/mvm-agent";
  const LaunchPlan plan = FakeBackend().plan(vm).value();
  EXPECT_EQ(plan.backend, "fake");
  EXPECT_THAT(plan.argv,
              ElementsAre("/libexec/mvm-agent", "--serve-fd", "4", "--exchange-fd", "6"));
  EXPECT_FALSE(plan.has_control);
  EXPECT_FALSE(plan.has_console);
  EXPECT_FALSE(plan.network.has_value());
}

TEST(FakePlan, RefusesPortForwards) {
  spec::VmSpec vm;
  vm.network.forwards.emplace_back();
  EXPECT_EQ(FakeBackend().plan(vm).error().code(), Errc::kUnsupported);
}

TEST(FakeBackendTest, SaysThatItCanDoNothingButPause) {
  const Capabilities can = FakeBackend().capabilities();
  EXPECT_FALSE(can.user_network || can.port_forward || can.console || can.scratch_disk);
  EXPECT_FALSE(can.snapshot);
  EXPECT_TRUE(can.pause);
}

TEST(FakeBackendTest, NamesAMissingProgram) {
  spec::VmSpec vm;
  vm.engine_program = "/nowhere/mvm-agent";
  const FakeBackend backend;
  EXPECT_EQ(backend.launch(backend.plan(vm).value()).error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace mvm::backend::fake
