// SPDX-License-Identifier: Apache-2.0
#include "vmm/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

ParsedOptions parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "mvm-vmm");
  return parse_options(static_cast<int>(arguments.size()), arguments.data());
}

TEST(MonitorOptions, HaveDefaultsWhereNothingIsNamed) {
  const ParsedOptions parsed = parse({});

  ASSERT_TRUE(parsed.options) << parsed.text;
  EXPECT_EQ(parsed.options->api_sock, "/run/mvm-vmm.socket");
  EXPECT_EQ(parsed.options->id, "anonymous-instance");
  EXPECT_EQ(parsed.options->max_payload, 51200U);
}

TEST(MonitorOptions, AreTakenWithAnEqualsSignOrTheirValueBehindThem) {
  const ParsedOptions parsed = parse({"--id=one", "--api-sock", "/tmp/s", "--level=Debug",
                                      "--http-api-max-payload-size", "1000", "--boot-timer"});

  ASSERT_TRUE(parsed.options) << parsed.text;
  EXPECT_EQ(parsed.options->id, "one");
  EXPECT_EQ(parsed.options->api_sock, "/tmp/s");
  EXPECT_EQ(parsed.options->log_level, LogLevel::kDebug);
  EXPECT_EQ(parsed.options->max_payload, 1000U);
  EXPECT_TRUE(parsed.options->boot_timer);
}

TEST(MonitorOptions, TakeAValueThatIsTheNameOfNothing) {
  const ParsedOptions parsed = parse({"--metadata", "file", "--metrics-path", "other"});

  ASSERT_TRUE(parsed.options) << parsed.text;
  EXPECT_EQ(parsed.options->metadata, "file");
  EXPECT_EQ(parsed.options->metrics_path, "other");
}

TEST(MonitorOptions, RefuseAMisspelledName) {
  const ParsedOptions parsed = parse({"--api-socket", "/tmp/s"});

  EXPECT_FALSE(parsed.options);
  EXPECT_EQ(parsed.exit_code, 153);
  EXPECT_THAT(parsed.text, HasSubstr("--api-socket"));
}

TEST(MonitorOptions, RefuseThePartOfAName) { EXPECT_EQ(parse({"--api", "/tmp/s"}).exit_code, 153); }

TEST(MonitorOptions, RefuseAFilterFileWithoutFilters) {
  const ParsedOptions parsed = parse({"--seccomp-filter", "file", "--no-seccomp"});

  EXPECT_EQ(parsed.exit_code, 153);
  EXPECT_THAT(parsed.text, AllOf(HasSubstr("--seccomp-filter"), HasSubstr("--no-seccomp")));
}

TEST(MonitorOptions, RefuseAPartOfTheJailWithoutTheJail) {
  const ParsedOptions parsed = parse({"--jail-file", "/a"});

  EXPECT_EQ(parsed.exit_code, 153);
  EXPECT_THAT(parsed.text, HasSubstr("--jail"));
}

TEST(MonitorOptions, TakeAJailWithItsParts) {
  const ParsedOptions parsed = parse({"--jail", "--jail-file", "/a", "--jail-file=/b:rw",
                                      "--jail-uid", "5", "--jail-fd", "7", "--jail-dir", "/b"});

  ASSERT_TRUE(parsed.options) << parsed.text;
  EXPECT_TRUE(parsed.options->jail);
  EXPECT_THAT(parsed.options->jail_options.files, ElementsAre("/a", "/b:rw"));
  EXPECT_THAT(parsed.options->jail_options.descriptors, ElementsAre(7));
  EXPECT_EQ(parsed.options->jail_options.working_dir, "/b");
}

TEST(MonitorOptions, AreAllInTheHelp) {
  const ParsedOptions parsed = parse({"--help"});

  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_THAT(parsed.text,
              AllOf(HasSubstr("--api-sock"), HasSubstr("--seccomp-filter"), HasSubstr("--jail-uid"),
                    HasSubstr("51200"), HasSubstr("/run/mvm-vmm.socket")));
}

TEST(MonitorOptions, PrintTheVersion) {
  const ParsedOptions parsed = parse({"--version"});

  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_THAT(parsed.text, testing::StartsWith("mvm-vmm "));
}

}  // namespace
}  // namespace mvm::vmm
