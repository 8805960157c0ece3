// SPDX-License-Identifier: Apache-2.0
#include "core/nearest.h"

#include <gmock/gmock.h>

namespace mvm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Nearest, FindsTyposAndPrefixesBestFirst) {
  const std::vector<std::string> verbs = {"run", "rm", "inspect", "image", "exec"};
  EXPECT_THAT(nearest("rnu", verbs), ElementsAre("run"));
  EXPECT_THAT(nearest("ru", verbs), ElementsAre("run", "rm"));
  EXPECT_THAT(nearest("imgae", verbs), ElementsAre("image"));
  EXPECT_THAT(nearest("frobnicate", verbs), IsEmpty());
  EXPECT_THAT(nearest("insp", verbs), ElementsAre("inspect"));
}

}  // namespace
}  // namespace mvm
