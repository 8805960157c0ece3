// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <gmock/gmock.h>

#include "cli/demo_verbs_test.h"
#include "cli/progress.h"

namespace mvm::cli {
namespace {

TEST(Table, AlignsColumnsWithoutTrailingSpaces) {
  Table table({"name", "memory", "status"});
  table.align_right(1);
  table.add({"web", "512M", "running"});
  table.add({"größer", "2G", ""});
  EXPECT_EQ(table.text(),
            "NAME    MEMORY  STATUS\n"
            "web       512M  running\n"
            "größer      2G  -\n");
}

TEST(Table, DefusesTerminalEscapes) {
  Table table({"name"});
  table.add({"a\x1b[2Jb\nc\xc2\x9b"});
  EXPECT_EQ(table.text(), "NAME\na?[2Jb?c?\n");
}

TEST(Table, FillsMissingCellsAndDropsSurplus) {
  Table table({"a", "b"});
  table.add({"1"});
  table.add({"1", "2", "3"});
  EXPECT_EQ(table.text(), "A  B\n1  -\n1  2\n");
}

TEST(ErrorText, ShowsTheChainOnceAndTheHint) {
  const Error error =
      Error(Errc::kNotFound, "no such vm").with_hint("see 'mvmctl ls'").with_context("stop web");
  EXPECT_EQ(error_text(error), "mvmctl: stop web: no such vm\n  hint: see 'mvmctl ls'\n");
}

TEST(ErrorText, DefusesTerminalEscapes) {
  EXPECT_EQ(error_text(Error(Errc::kGuestFault, "guest said \x1b]0;x\x07")),
            "mvmctl: guest said ?]0;x?\n");
}

TEST(JsonValue, KeepsTheOrderOfMembers) {
  const Json json = Json::object()
                        .set("z", "text")
                        .set("a", 1)
                        .set("size", mebibytes(1))
                        .set("time_ms", Millis(5))
                        .set("yes", true)
                        .set("none", std::optional<std::string>())
                        .set("big", std::uint64_t{18446744073709551615U})
                        .set("list", std::vector<std::string>{"x", "y"});
  EXPECT_EQ(json.dump(-1), R"({"z":"text","a":1,"size":1048576,"time_ms":5,"yes":true,"none":null,)"
                           R"("big":18446744073709551615,"list":["x","y"]})");
}

TEST(JsonValue, ReplacesBytesThatAreNotUtf8) {
  EXPECT_EQ(Json("a\xff").dump(-1), "\"a\xef\xbf\xbd\"");
}

TEST(JsonValue, RefusesTextThatIsNotJson) {
  EXPECT_FALSE(Json::parse("{\"a\":").has_value());
  EXPECT_EQ(Json::parse("[1, 2]")->dump(-1), "[1,2]");
}

TEST(JsonValue, TurnsNullIntoWhatIsAddedTo) {
  EXPECT_EQ(Json().add(1).add("b").dump(-1), R"([1,"b"])");
  EXPECT_EQ(Json().set("a", Json::array()).dump(-1), R"({"a":[]})");
}

TEST(ContextOutput, PutsTheSchemaFirst) {
  const sys::UniqueFd out = recorder();
  Context context(demo_verbs(), out.get(), out.get());
  context.print_json(3, Json::object().set("a", 1));
  EXPECT_EQ(recorded(out), "{\n  \"schema\": 3,\n  \"a\": 1\n}\n");
}

TEST(ContextOutput, KeepsNotesQuietWhenAsked) {
  const sys::UniqueFd err = recorder();
  Context context(demo_verbs(), err.get(), err.get());
  context.note("heard");
  context.quiet = true;
  context.note("not heard");
  EXPECT_EQ(recorded(err), "heard\n");
}

class ProgressLine : public testing::Test {
 protected:
  Progress make(std::size_t columns = 80, bool enabled = true) {
    return Progress(screen_.get(), enabled, columns, [this] { return now_; });
  }
  sys::UniqueFd screen_ = recorder();
  Clock::time_point now_{};
};

TEST_F(ProgressLine, StaysHiddenForTheFirstSecond) {
  Progress progress = make();
  progress.step("pulling");
  now_ += Millis(999);
  progress.update(Bytes{1});
  progress.finish();
  EXPECT_EQ(recorded(screen_), "");
}

TEST_F(ProgressLine, ShowsBytesAndTimeAndRemovesItself) {
  Progress progress = make();
  progress.step("pulling layer 2/5");
  now_ += Millis(3200);
  progress.update(mebibytes(12), mebibytes(45));
  progress.finish();
  EXPECT_EQ(recorded(screen_), "\r\x1b[Kpulling layer 2/5  12M/45M  3.2s\r\x1b[K");
}

TEST_F(ProgressLine, DrawsAtMostTenTimesASecond) {
  Progress progress = make();
  progress.step("booting");
  now_ += Millis(1000);
  progress.update();
  now_ += Millis(99);
  progress.update();
  now_ += Millis(1);
  progress.update();
  EXPECT_EQ(recorded(screen_), "\r\x1b[Kbooting  1.0s\r\x1b[Kbooting  1.1s");
}

TEST_F(ProgressLine, CutsTheLabelToTheTerminal) {
  Progress progress = make(20);
  progress.step("a very long label indeed");
  now_ += Millis(2000);
  progress.update();
  EXPECT_EQ(recorded(screen_), "\r\x1b[Ka very long l  2.0s");
}

TEST_F(ProgressLine, PrintsNothingWhenThereIsNoTerminal) {
  Progress progress = make(80, false);
  progress.step("pulling");
  now_ += Millis(5000);
  progress.update(Bytes{1});
  progress.finish();
  EXPECT_EQ(recorded(screen_), "");
}

}  // namespace
}  // namespace mvm::cli
