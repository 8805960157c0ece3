// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "build/execute.h"
#include "build/inputs.h"
#include "build/job.h"
#include "build/plan.h"
#include "build/source.h"
#include "build/tool.h"
#include "spec/guest_label.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class BuildTest : public testing::Test {
 protected:
  void write(const std::string& path, std::string_view text, unsigned mode = 0644) {
    const std::string whole = project() + "/" + path;
    ASSERT_TRUE(sys::make_dirs(std::filesystem::path(whole).parent_path().string(), 0755));
    ASSERT_TRUE(sys::write_file(whole, text, mode));
    ASSERT_EQ(::chmod(whole.c_str(), mode), 0);
  }
  std::string project() const { return dir_.path() + "/project"; }
  spec::Manifest manifest(const std::string& text) const {
    return spec::parse_manifest(text, "mvm.toml").value();
  }
  Plan plan(const std::string& text) const { return make_plan(manifest(text), project()).value(); }

  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-build-").value();
};

constexpr const char* kDir = "[source]\ndir = \"root\"\n";

TEST_F(BuildTest, ARevisionIsThatOfTheContentNotOfTheTimesOrThePlace) {
  write("root/etc/x", "one");
  const std::string before = plan(kDir).revision();
  std::filesystem::last_write_time(
      project() + "/root/etc/x",
      std::filesystem::file_time_type::clock::now() - std::chrono::hours(5));
  EXPECT_EQ(plan(kDir).revision(), before);
  std::filesystem::rename(project(), dir_.path() + "/moved");
  EXPECT_EQ(make_plan(manifest(kDir), dir_.path() + "/moved").value().revision(), before);
}

TEST_F(BuildTest, ContentModeNameAndLinkEachMakeAnotherRevision) {
  write("root/etc/x", "one");
  std::vector<std::string> revisions = {plan(kDir).revision()};
  const auto is_new = [&] {
    const std::string now = plan(kDir).revision();
    const bool fresh = std::ranges::find(revisions, now) == revisions.end();
    revisions.push_back(now);
    return fresh;
  };
  write("root/etc/x", "two");
  EXPECT_TRUE(is_new());
  write("root/etc/x", "two", 0755);
  EXPECT_TRUE(is_new());
  write("root/etc/y", "");
  EXPECT_TRUE(is_new());
  std::filesystem::create_symlink("x", project() + "/root/etc/z");
  EXPECT_TRUE(is_new());
}

TEST_F(BuildTest, WhatVersionControlKeepsIsNoInput) {
  write("root/a", "");
  const std::string before = plan(kDir).revision();
  write("root/.git/HEAD", "ref: x");
  EXPECT_EQ(plan(kDir).revision(), before);
}

TEST_F(BuildTest, AChangeOfTheEnvironmentLeavesTheSourceAsItIs) {
  const Plan one = plan("[source]\ndebian = \"bookworm\"\n");
  const Plan two = plan("env = { A = \"1\" }\n[source]\ndebian = \"bookworm\"\n");
  EXPECT_EQ(one.source().key, two.source().key);
  EXPECT_NE(one.revision(), two.revision());
  const Plan three = plan("[source]\ndebian = \"bookworm\"\npackages = [\"curl\"]\n");
  EXPECT_NE(one.source().key, three.source().key);
}

TEST_F(BuildTest, AMissingInputIsNamed) {
  EXPECT_THAT(make_plan(manifest(kDir), project()).error().text(), HasSubstr("/root"));
  write("Dockerfile", "FROM scratch\n");
  const auto inputs =
      inputs_of(manifest("[source]\ndockerfile = \"Dockerfile\"\n"), project()).value();
  ASSERT_EQ(inputs.size(), 2U);
  EXPECT_EQ(inputs[0].path, project() + "/Dockerfile");
  EXPECT_EQ(inputs[1].path, project());
}

TEST_F(BuildTest, APipeAmongTheInputsIsRefused) {
  write("root/a", "");
  ASSERT_EQ(::mkfifo((project() + "/root/pipe").c_str(), 0600), 0);
  const Error error = make_plan(manifest(kDir), project()).error();
  EXPECT_EQ(error.code(), Errc::kUnsupported);
  EXPECT_THAT(error.text(), HasSubstr("root/pipe"));
}

SourceLayers with_config(spec::ImageConfig config) { return {{}, std::move(config), std::nullopt}; }

TEST(Merge, TheManifestsWordsReplaceTheImages) {
  spec::ImageConfig config;
  config.entrypoint = {"/old"};
  config.cmd = {"--old"};
  config.env = {"A=old", "B=kept"};
  config.user = "old";
  config.working_dir = "/old";
  const spec::Manifest m = spec::parse_manifest(
                               "entrypoint = [\"new\", \"arg\"]\nenv = { A = \"new\" }\n"
                               "user = \"me\"\n[source]\nimage = \"busybox\"\n",
                               "mvm.toml")
                               .value();
  const Merged merged = merge(m, with_config(config)).value();
  EXPECT_THAT(merged.config.entrypoint, IsEmpty());
  EXPECT_THAT(merged.config.cmd, ElementsAre("new", "arg"));
  EXPECT_THAT(merged.config.env, ElementsAre("B=kept", "A=new"));
  EXPECT_EQ(merged.config.user, "me");
  EXPECT_EQ(merged.config.working_dir, "/old");
}

TEST(Merge, AManifestThatSaysNothingLeavesTheImageAsItIs) {
  spec::ImageConfig config;
  config.entrypoint = {"/old"};
  config.cmd = {"--old"};
  const spec::Manifest m =
      spec::parse_manifest("[source]\nimage = \"busybox\"\n", "mvm.toml").value();
  const Merged merged = merge(m, with_config(config)).value();
  EXPECT_THAT(merged.config.entrypoint, ElementsAre("/old"));
  EXPECT_THAT(merged.config.cmd, ElementsAre("--old"));
}

spec::Manifest flake_guest() {
  return spec::guest_from_json(R"({"name": "f", "env": {"PATH": "/nix/bin", "A": "flake"},
    "files": [{"path": "/bin", "link": "/nix/bin"}],
    "services": {"web": {"command": ["web"]}, "db": {"command": ["db"]}}})",
                               "guest")
      .value();
}

TEST(Merge, AFlakesGuestIsJoinedByTheManifest) {
  SourceLayers source;
  source.guest = flake_guest();
  const spec::Manifest m =
      spec::parse_manifest(
          "env = { A = \"mine\" }\n[source]\nflake = \".\"\n[services.db]\ncommand = [\"db2\"]\n"
          "[[files]]\npath = \"/etc/x\"\ntext = \"\"\n",
          "mvm.toml")
          .value();
  const Merged merged = merge(m, source).value();
  ASSERT_EQ(merged.manifest.services.size(), 2U);
  EXPECT_THAT(merged.manifest.services[0].command, ElementsAre("db2"));
  EXPECT_THAT(merged.manifest.services[1].command, ElementsAre("web"));
  EXPECT_THAT(merged.config.env, ElementsAre("A=mine", "PATH=/nix/bin"));
  ASSERT_EQ(merged.manifest.files.size(), 2U);
  EXPECT_EQ(merged.manifest.files[0].link, "/nix/bin");
  const auto guest = spec::guest_of(merged.config).value();
  EXPECT_THAT(guest->files, IsEmpty());
  EXPECT_EQ(guest->services.size(), 2U);
}

TEST(Merge, AnEntrypointOfTheManifestTakesThePlaceOfAFlakesServices) {
  SourceLayers source;
  source.guest = flake_guest();
  const spec::Manifest m =
      spec::parse_manifest("entrypoint = [\"sh\"]\n[source]\nflake = \".\"\n", "mvm.toml").value();
  const Merged merged = merge(m, source).value();
  EXPECT_THAT(merged.manifest.services, IsEmpty());
  EXPECT_THAT(merged.config.cmd, ElementsAre("sh"));
}

TEST_F(BuildTest, TheSameProjectGivesTheSameImageInAnotherDirectory) {
  if (!sys::path_exists("/usr/bin/mkfs.erofs")) GTEST_SKIP() << "erofs-utils is not installed";
  write("root/bin/tool", "#!/bin/sh\n", 0755);
  write("site/index.html", "hello");
  const spec::Manifest m = manifest(
      "[source]\ndir = \"root\"\n[[files]]\npath = \"/srv\"\nfrom = \"site\"\n"
      "[[files]]\npath = \"/etc/motd\"\ntext = \"hi\"\nmode = \"0600\"\n"
      "[[files]]\npath = \"/etc/link\"\nlink = \"motd\"\n");
  const auto build = [&](const std::string& name, const std::string& from) {
    const std::string work = dir_.path() + "/" + name;
    EXPECT_TRUE(sys::make_dirs(work));
    Job job;
    job.manifest = m;
    job.project = from;
    job.work_dir = work;
    job.cache_dir = work;
    job.output = work + "/image.erofs";
    std::vector<std::string> steps;
    const Shop shop{job, [&](const Event& event) {
                      if (event.state != Event::State::kBegun) steps.push_back(event.step);
                    }};
    const auto built = execute(shop);
    EXPECT_TRUE(built.has_value()) << built.error().text();
    EXPECT_THAT(steps, ElementsAre("source", "overlay", "assemble"));
    return built->digest;
  };
  const std::string first = build("one", project());
  std::filesystem::copy(project(), dir_.path() + "/elsewhere",
                        std::filesystem::copy_options::recursive);
  EXPECT_EQ(build("two", dir_.path() + "/elsewhere"), first);
}

TEST(Job, ComesBackAsItWasWritten) {
  Job job;
  job.manifest = spec::parse_manifest("[source]\ndebian = \"bookworm\"\n", "mvm.toml").value();
  job.project = "/p";
  job.work_dir = "/w";
  job.cache_dir = "/c";
  job.output = "/w/o";
  job.source_key = "k";
  job.apt_sources = {"deb x", "Types: deb"};
  job.nix_library = "/n";
  job.refresh = true;
  const std::string text = job_to_json(job);
  EXPECT_EQ(job_to_json(job_from_json(text).value()), text);
  job.work_dir = "relative";
  EXPECT_FALSE(job_from_json(job_to_json(job)).has_value());
  EXPECT_FALSE(job_from_json("{}").has_value());
}

TEST(Lines, SayEventsResultsAndErrors) {
  const Line event =
      parse_line(to_line(Event{"source", Event::State::kCached, Millis(12)})).value();
  EXPECT_EQ(event.event->step, "source");
  EXPECT_EQ(event.event->state, Event::State::kCached);
  EXPECT_EQ(event.event->took, Millis(12));
  Built built;
  built.digest = std::string(64, 'a');
  built.size = kibibytes(4);
  built.config.cmd = {"x"};
  const Line result = parse_line(to_line(built)).value();
  EXPECT_EQ(result.built->digest, built.digest);
  EXPECT_THAT(result.built->config.cmd, ElementsAre("x"));
  const Line error = parse_line(to_line(Error(Errc::kNoSpace, "full").with_hint("free"))).value();
  EXPECT_EQ(error.error->code(), Errc::kNoSpace);
  EXPECT_EQ(error.error->hint(), "free");
}

TEST(Lines, OfAGuestThatLiesAreRefused) {
  for (const char* line : {"", "[]", "hello", R"({"digest": "short", "size_bytes": 1})",
                           R"({"digest": 7})", R"({"event": "done"})"})
    EXPECT_EQ(parse_line(line).error().code(), Errc::kGuestFault) << line;
}

TEST(Complaint, BeginsWithTheFirstLineThatComplains) {
  EXPECT_EQ(complaint_in("step 1\nstep 2\nerror: no\n  at flake.nix:3:5\n"),
            "  error: no\n    at flake.nix:3:5");
  EXPECT_EQ(complaint_in("one\n\ntwo\n", 1), "  two");
  EXPECT_EQ(complaint_in(""), "  (it said nothing)");
}

}  // namespace
}  // namespace mvm::build
