// SPDX-License-Identifier: Apache-2.0
#include "workflow/build_vm.h"

#include <gmock/gmock.h>

namespace mvm::workflow {
namespace {

using Kind = spec::SourceSpec::Kind;

build::Job job(Kind kind, const std::string& what) {
  build::Job out;
  out.project = "/home/me/web";
  out.manifest.source.kind = kind;
  out.manifest.source.what = what;
  return out;
}

std::string source_in_guest(Kind kind, const std::string& what) {
  return job_in_guest(job(kind, what), "/root1").value().manifest.source.what;
}

TEST(JobInGuest, KeepsWhatIsRelativeToTheProject) {
  const build::Job guest = job_in_guest(job(Kind::kDir, "site"), "/root1").value();
  EXPECT_EQ(guest.project, "/root1/home/me/web");
  EXPECT_EQ(guest.manifest.source.what, "site");
}

TEST(JobInGuest, PutsAbsolutePathsBelowTheRoot) {
  EXPECT_EQ(source_in_guest(Kind::kDir, "/srv/tree"), "/root1/srv/tree");
  EXPECT_EQ(source_in_guest(Kind::kDockerfile, "/x/Dockerfile"), "/root1/x/Dockerfile");
  build::Job with_file = job(Kind::kDebian, "bookworm");
  with_file.manifest.files = {
      {.path = "/etc/x", .text = {}, .from = "/etc/y", .link = {}, .mode = {}},
      {.path = "/etc/z", .text = {}, .from = "z", .link = {}, .mode = {}}};
  const auto files = job_in_guest(with_file, "/root1").value().manifest.files;
  EXPECT_EQ(files[0].from, "/root1/etc/y");
  EXPECT_EQ(files[1].from, "z");
}

TEST(JobInGuest, FindsImagesOfThisHostAndLeavesThoseOfRegistries) {
  EXPECT_EQ(source_in_guest(Kind::kImage, "tar:root.tar"), "tar:/root1/home/me/web/root.tar");
  EXPECT_EQ(source_in_guest(Kind::kImage, "oci:/srv/oci:v1"), "oci:/root1/srv/oci:v1");
  EXPECT_EQ(source_in_guest(Kind::kImage, "busybox"), "busybox");
  EXPECT_EQ(source_in_guest(Kind::kImage, "host.example/name:1"), "docker://host.example/name:1");
}

TEST(JobInGuest, LeavesSuitesAndFlakesThatLieElsewhere) {
  EXPECT_EQ(source_in_guest(Kind::kDebian, "bookworm"), "bookworm");
  EXPECT_EQ(source_in_guest(Kind::kFlake, "github:owner/name"), "github:owner/name");
  EXPECT_EQ(source_in_guest(Kind::kFlake, "."), ".");
}

}  // namespace
}  // namespace mvm::workflow
