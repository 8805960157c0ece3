// SPDX-License-Identifier: Apache-2.0
#include "core/lines.h"

#include <gmock/gmock.h>

namespace mvm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Lines, EndAtNewlines) { EXPECT_THAT(lines_of("one\ntwo\n"), ElementsAre("one", "two")); }

TEST(Lines, TheLastNeedsNoNewline) { EXPECT_THAT(lines_of("one\ntwo"), ElementsAre("one", "two")); }

TEST(Lines, MayBeEmpty) {
  EXPECT_THAT(lines_of("\none\n\n"), ElementsAre("", "one", ""));
  EXPECT_THAT(lines_of(""), IsEmpty());
}

}  // namespace
}  // namespace mvm
