// SPDX-License-Identifier: Apache-2.0
#include "core/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A program with an option of each kind.
struct Program {
  Program() {
    arguments.add("--name", &name, "Of the thing");
    arguments.add("--maybe", &maybe, "Or not");
    arguments.add("--file", &files, "Any number of them");
    arguments.add("--fd", &fd, "A descriptor");
    arguments.add("--limit", &limit, "A number");
    arguments.add("--fast", &fast, "At once");
    arguments.add("--help", &help, "Print this text");
  }
  Result<> parse(const std::vector<const char*>& words) { return arguments.parse(words); }

  std::string name = "standard";
  std::optional<std::string> maybe;
  std::vector<std::string> files;
  int fd = -1;
  std::uint64_t limit = 51200;
  bool fast = false;
  bool help = false;
  Arguments arguments{"A program"};
};

std::string refusal(const std::vector<const char*>& words) {
  return Program().parse(words).error().text();
}

TEST(Arguments, TakeAValueBehindTheNameOrBehindAnEqualsSign) {
  Program p;
  ASSERT_TRUE(p.parse({"--name", "a=b", "--maybe=", "--file=x", "--file", "-", "--fd", "-2",
                       "--limit=7", "--fast"}));
  EXPECT_EQ(p.name, "a=b");
  EXPECT_EQ(p.maybe, "");
  EXPECT_THAT(p.files, ElementsAre("x", "-"));
  EXPECT_EQ(p.fd, -2);
  EXPECT_EQ(p.limit, 7U);
  EXPECT_TRUE(p.fast);
  EXPECT_TRUE(p.arguments.given("--fast"));
  EXPECT_FALSE(p.arguments.given("--help"));
  EXPECT_EQ(p.arguments.first_given("--f"), "--file");
}

TEST(Arguments, RefuseWhatTheyDoNotKnow) {
  EXPECT_EQ(refusal({"--nam", "x"}), "--nam is not an option of this program");
  EXPECT_EQ(refusal({"word"}), "word is not an option of this program");
  EXPECT_EQ(refusal({"-n"}), "-n is not an option of this program");
  EXPECT_EQ(refusal({""}), " is not an option of this program");
}

TEST(Arguments, RefuseAMissingValueASecondOneAndOneOfAFlag) {
  EXPECT_EQ(refusal({"--name"}), "--name needs a value");
  EXPECT_EQ(refusal({"--name", "--fast"}), "--name needs a value");
  EXPECT_EQ(refusal({"--fd", "1", "--fd", "2"}), "--fd is given twice");
  EXPECT_EQ(refusal({"--fast=1"}), "--fast takes no value");
}

TEST(Arguments, RefuseWhatIsNotANumber) {
  for (const char* value : {"", "x", "1x", " 1", "99999999999999999999", "-1"})
    EXPECT_THAT(refusal({"--limit", value}), HasSubstr("--limit takes a number"));
}

TEST(Arguments, NameTheFirstThatIsMissing) {
  Program p;
  ASSERT_TRUE(p.parse({"--fd", "3"}));
  EXPECT_TRUE(p.arguments.require({"--fd"}));
  EXPECT_EQ(p.arguments.require({"--fd", "--name", "--file"}).error().text(), "--name is required");
}

TEST(Arguments, ShowTheirDefaultsInTheHelp) {
  Program p;
  EXPECT_EQ(p.arguments.help(),
            "A program\n\n"
            "  --name VALUE     Of the thing [standard]\n"
            "  --maybe VALUE    Or not\n"
            "  --file VALUE...  Any number of them\n"
            "  --fd VALUE       A descriptor\n"
            "  --limit VALUE    A number [51200]\n"
            "  --fast           At once\n"
            "  --help           Print this text\n");
  EXPECT_TRUE(p.parse({"-h"}));
  EXPECT_TRUE(p.help);
}

}  // namespace
}  // namespace mvm
