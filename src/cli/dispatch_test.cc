// SPDX-License-Identifier: Apache-2.0
#include "cli/dispatch.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "cli/demo_verbs_test.h"
#include "cli/exit.h"
#include "sys/io.h"

namespace mvm::cli {
namespace {

using testing::HasSubstr;

TEST(Dispatch, ReturnsTheVerbsExitCode) { EXPECT_EQ(call({"demo", "debian"}).code, 7); }

TEST(Dispatch, FindsAVerbByItsAlias) { EXPECT_EQ(call({"show", "x"}).out, "demo x\n"); }

TEST(Dispatch, FindsSubcommandsAndTheirAliases) {
  EXPECT_EQ(call({"image", "pull", "debian"}).out, "pull debian\n");
  EXPECT_EQ(call({"image", "list"}).code, 0);
}

TEST(Dispatch, AcceptsCommonFlagsAnywhereBeforeTheGuestCommand) {
  EXPECT_EQ(call({"--json", "image", "pull", "x"}).out, "json pull x\n");
  EXPECT_EQ(call({"image", "--json", "pull", "x"}).out, "json pull x\n");
  EXPECT_EQ(call({"image", "pull", "x", "--json"}).out, "json pull x\n");
}

TEST(Dispatch, GivesTheLastPositionalItsWordBeforeTheRepeatedOne) {
  EXPECT_EQ(call({"cp", "a", "b", "vm:/c"}).out, "a > vm:/c\nb > vm:/c\n");
  EXPECT_EQ(call({"cp", "--", "-a", "vm:/c"}).out, "-a > vm:/c\n");
}

TEST(Dispatch, MatchesTheGoldenErrorMessages) {
  std::string text;
  const std::vector<std::vector<std::string>> lines = {{"dmeo"},
                                                       {"nothing-like-it"},
                                                       {"--wrong", "demo"},
                                                       {"demo", "--memry", "1G"},
                                                       {"demo", "--memory", "x"},
                                                       {"demo", "a", "b"},
                                                       {"cp", "a"},
                                                       {"cp"},
                                                       {"image"},
                                                       {"image", "pul"},
                                                       {"image", "pull"},
                                                       {"image", "ls", "x"},
                                                       {"completion", "tcsh"},
                                                       {"help", "demmo"},
                                                       {"help", "image", "pulll"},
                                                       {"fail"}};
  for (const auto& args : lines) {
    const Outcome outcome = call(args);
    text += "$ mvmctl";
    for (const std::string& arg : args) text += " " + arg;
    text += "\n" + outcome.out + outcome.err + "[" + std::to_string(outcome.code) + "]\n";
  }
  EXPECT_EQ(text, golden("errors.txt", text));
}

TEST(Dispatch, PrintsErrorsAsJsonOnStdoutWhenAsked) {
  const Outcome outcome = call({"fail", "--json"});
  EXPECT_EQ(outcome.code, kExitMvmFailed);
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out, golden("error.json", outcome.out));
}

TEST(Dispatch, PrintsUsageErrorsAsJsonWhenAsked) {
  const Outcome outcome = call({"demo", "--wrong", "--json"});
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.out, HasSubstr("\"code\": \"invalid_argument\""));
}

TEST(Dispatch, TreatsJsonAfterTwoDashesAsTheGuests) {
  EXPECT_THAT(call({"demo", "--wrong", "--", "--json"}).err, HasSubstr("unknown option --wrong"));
}

TEST(Dispatch, FailsWhenTheResultCannotBeWritten) {
  const sys::UniqueFd full = std::move(sys::open_file("/dev/full", O_WRONLY).value());
  const sys::UniqueFd err = recorder();
  Context context(demo_verbs(), full.get(), err.get());
  const std::vector<std::string> args = {"version"};
  EXPECT_EQ(dispatch(context, args), kExitMvmFailed);
  EXPECT_THAT(recorded(err), HasSubstr("No space left on device"));
}

TEST(Exit, MapsEveryKindOfErrorToItsCode) {
  EXPECT_EQ(exit_code_for(Error(Errc::kInvalidArgument, "")), 64);
  EXPECT_EQ(exit_code_for(Error(Errc::kTimeout, "")), 124);
  EXPECT_EQ(exit_code_for(Error(Errc::kCancelled, "")), 130);
  EXPECT_EQ(exit_code_for(Error(Errc::kGuestFault, "")), 125);
  EXPECT_EQ(exit_code_for(Error(Errc::kNotFound, "")), 125);
}

}  // namespace
}  // namespace mvm::cli
