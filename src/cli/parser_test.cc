// SPDX-License-Identifier: Apache-2.0
#include "cli/parser.h"

#include <gmock/gmock.h>

#include "cli/demo_verbs_test.h"

namespace mvm::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Parser : public testing::Test {
 protected:
  Result<Parsed> parse_demo(const std::vector<std::string>& args) {
    return parse(make_demo(got_), "demo", args, context_);
  }
  std::string message(const std::vector<std::string>& args) {
    return parse_demo(args).error().text();
  }
  std::string hint(const std::vector<std::string>& args) { return parse_demo(args).error().hint(); }

  DemoOptions got_;
  Context context_{demo_verbs(), 1, 2};
};

TEST_F(Parser, LeavesDefaultsAloneWhenNothingIsGiven) {
  ASSERT_TRUE(parse_demo({}).has_value());
  EXPECT_EQ(got_.memory, mebibytes(512));
  EXPECT_EQ(got_.network, "user");
  EXPECT_EQ(got_.ttl, std::nullopt);
  EXPECT_THAT(got_.command, IsEmpty());
}

TEST_F(Parser, LeavesEverythingAfterTwoDashesUntouched) {
  ASSERT_TRUE(
      parse_demo({"-t", "debian", "--", "sh", "-c", "--", "--json", "[a,b]", ""}).has_value());
  EXPECT_THAT(got_.command, ElementsAre("sh", "-c", "--", "--json", "[a,b]", ""));
  EXPECT_EQ(got_.image, "debian");
  EXPECT_FALSE(context_.json);
}

TEST_F(Parser, CollectsRepeatedOptionsInTheirOrder) {
  ASSERT_TRUE(
      parse_demo({"-e", "A=1", "--env", "B=2", "--env=C=3", "-eD=4", "-e", "[x,y]"}).has_value());
  EXPECT_THAT(got_.env, ElementsAre("A=1", "B=2", "C=3", "D=4", "[x,y]"));
}

TEST_F(Parser, TakesTheLastOfARepeatedSingleOption) {
  ASSERT_TRUE(parse_demo({"--cpus", "2", "--cpus", "3"}).has_value());
  EXPECT_EQ(got_.cpus, 3U);
}

TEST_F(Parser, ReadsSizesAndDurations) {
  ASSERT_TRUE(
      parse_demo({"-m", "2G", "--disk=10GiB", "--timeout", "5m", "--ttl", "250ms"}).has_value());
  EXPECT_EQ(got_.memory, gibibytes(2));
  EXPECT_EQ(got_.disk, gibibytes(10));
  EXPECT_EQ(got_.timeout, Millis(300'000));
  EXPECT_EQ(got_.ttl, Millis(250));
}

TEST_F(Parser, AcceptsBundledShortFlags) {
  ASSERT_TRUE(parse_demo({"-it"}).has_value());
  EXPECT_TRUE(got_.interactive);
  EXPECT_TRUE(got_.tty);
}

TEST_F(Parser, AcceptsOptionsAfterPositionals) {
  ASSERT_TRUE(parse_demo({"debian:bookworm", "--name", "web", "--pids", "9"}).has_value());
  EXPECT_EQ(got_.image, "debian:bookworm");
  EXPECT_EQ(got_.name, "web");
  EXPECT_EQ(got_.pids, 9U);
}

TEST_F(Parser, SetsTheCommonFlags) {
  ASSERT_TRUE(parse_demo({"--json", "-q", "--verbose"}).has_value());
  EXPECT_TRUE(context_.json);
  EXPECT_TRUE(context_.quiet);
  EXPECT_TRUE(context_.verbose);
}

TEST_F(Parser, KeepsCommonFlagsThatStoodBeforeTheVerb) {
  context_.quiet = true;
  ASSERT_TRUE(parse_demo({}).has_value());
  EXPECT_TRUE(context_.quiet);
}

TEST_F(Parser, TakesASingleDashAsAnArgument) {
  ASSERT_TRUE(parse_demo({"-"}).has_value());
  EXPECT_EQ(got_.image, "-");
}

TEST_F(Parser, AsksForHelpBeforeItComplains) {
  const auto parsed = parse_demo({"--nonsense", "-h"});
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, Parsed::kHelp);
}

TEST_F(Parser, LeavesHelpAfterTwoDashesToTheGuest) {
  const auto parsed = parse_demo({"--", "ls", "--help"});
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, Parsed::kRun);
}

TEST_F(Parser, RefusesUnknownOptionAndNamesTheNearest) {
  EXPECT_EQ(message({"--evn", "A=1"}), "unknown option --evn");
  EXPECT_THAT(hint({"--evn=A"}), HasSubstr("did you mean --env?"));
}

TEST_F(Parser, RefusesUnknownShortOptionInABundle) {
  EXPECT_EQ(message({"-iZ"}), "unknown option -Z");
}

TEST_F(Parser, RefusesOptionWithoutItsValue) {
  EXPECT_EQ(message({"--memory"}), "option --memory needs a value");
  EXPECT_EQ(message({"-e"}), "option --env needs a value");
}

TEST_F(Parser, RefusesValueThatIsNoChoice) {
  EXPECT_EQ(message({"--network", "bridge"}), "--network: 'bridge' is not one of the choices");
  EXPECT_EQ(hint({"--network", "bridge"}), "choose one of: user, none");
}

TEST_F(Parser, RefusesBadNumbersSizesAndDurations) {
  EXPECT_EQ(message({"--cpus", "two"}), "--cpus: 'two' is not a number");
  EXPECT_EQ(message({"--cpus", "-1"}), "--cpus: '-1' is not a number");
  EXPECT_EQ(message({"--cpus", "4294967296"}), "--cpus: '4294967296' is too large");
  EXPECT_EQ(message({"--memory", "lots"}), "--memory: 'lots' is not a size");
  EXPECT_EQ(message({"--ttl", "soon"}), "--ttl: 'soon' is not a duration");
}

TEST_F(Parser, TellsToPutDashesBeforeTheGuestCommand) {
  EXPECT_EQ(message({"debian", "uname"}), "unexpected argument 'uname'");
  EXPECT_THAT(hint({"debian", "uname"}), HasSubstr("put -- before the guest's command"));
}

TEST_F(Parser, RefusesValueGivenToAFlag) { EXPECT_FALSE(parse_demo({"--tty=maybe"}).has_value()); }

TEST_F(Parser, RefusesMissingGuestCommandWhenTheVerbNeedsOne) {
  CommandSpec spec = make_demo(got_);
  spec.guest_command.required = true;
  const auto parsed = parse(spec, "demo", {}, context_);
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().text(), "missing the guest's command");
}

TEST_F(Parser, RefusesMissingRequiredOption) {
  CommandSpec spec = make_demo(got_);
  spec.options[0].required = true;
  const auto parsed = parse(spec, "demo", {}, context_);
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().text(), "option --env is required");
}

}  // namespace
}  // namespace mvm::cli
