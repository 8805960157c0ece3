// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "cli/completion.h"
#include "cli/demo_verbs_test.h"
#include "cli/man.h"
#include "cli/output.h"

namespace mvm::cli {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Le;

std::vector<std::size_t> line_widths(const std::string& text) {
  std::vector<std::size_t> widths;
  for (const std::string& line : wrap(text, 100'000)) widths.push_back(display_width(line));
  return widths;
}

TEST(Help, MatchesTheGoldenTexts) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"help"},
                                               {"help", "demo"},
                                               {"help", "cp"},
                                               {"help", "image"},
                                               {"help", "image", "pull"}}) {
    std::string name;
    for (const std::string& arg : args) name += (name.empty() ? "" : "-") + arg;
    const std::string text = call(args).out;
    EXPECT_EQ(text, golden(name + ".txt", text));
  }
}

TEST(Help, StaysWithinNinetyColumns) {
  EXPECT_THAT(line_widths(call({"help", "demo"}).out), Each(Le(90U)));
  EXPECT_THAT(line_widths(call({"help"}).out), Each(Le(90U)));
}

TEST(Help, IsTheSameByVerbAndByFlag) {
  EXPECT_EQ(call({"demo", "--help"}).out, call({"help", "demo"}).out);
  EXPECT_EQ(call({"show", "-h"}).out, call({"help", "demo"}).out);
  EXPECT_EQ(call({"image", "pull", "-h"}).out, call({"help", "image", "pull"}).out);
  EXPECT_EQ(call({"image", "--help"}).out, call({"help", "image"}).out);
  EXPECT_EQ(call({}).out, call({"help"}).out);
  EXPECT_EQ(call({"--help"}).out, call({"help"}).out);
}

TEST(Help, WrapsAtWordsAndKeepsIndentedLines) {
  EXPECT_THAT(wrap("one two three\n\n  kept  as it is", 7),
              ElementsAre("one two", "three", "", "  kept  as it is"));
}

TEST(Man, MatchesTheGoldenPages) {
  const std::string overview_page = man_overview(demo_verbs());
  EXPECT_EQ(overview_page, golden("mvmctl.1", overview_page));
  const std::string demo_page = man_page(make_spec(demo_verbs()[0]));
  EXPECT_EQ(demo_page, golden("mvmctl-demo.1", demo_page));
  const std::string image_page = man_page(make_spec(demo_verbs()[2]));
  EXPECT_EQ(image_page, golden("mvmctl-image.1", image_page));
}

TEST(Completion, MatchesTheGoldenScripts) {
  const std::string bash = bash_completion(demo_verbs());
  EXPECT_EQ(bash, golden("completion.bash", bash));
  const std::string zsh = zsh_completion(demo_verbs());
  EXPECT_EQ(zsh, golden("completion.zsh", zsh));
  const std::string fish = fish_completion(demo_verbs());
  EXPECT_EQ(fish, golden("completion.fish", fish));
}

}  // namespace
}  // namespace mvm::cli
