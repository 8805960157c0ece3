// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jail_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

std::string entry(std::string_view text) {
  const auto parsed = parse_jail_entry(text);
  if (!parsed) return parsed.error().text();
  return parsed->path + "|" + parsed->inside +
         (parsed->access == JailEntry::Access::kReadWrite ? "|rw" : "|ro");
}

TEST(JailOptions, ReadsEntries) {
  EXPECT_EQ(entry("/a"), "/a||ro");
  EXPECT_EQ(entry("/a:ro"), "/a||ro");
  EXPECT_EQ(entry("/a:rw"), "/a||rw");
  EXPECT_EQ(entry("/a:/b"), "/a|/b|ro");
  EXPECT_EQ(entry("/a:/b:rw"), "/a|/b|rw");
}

TEST(JailOptions, RefusesOtherEntries) {
  for (const char* text : {"", "a", "/a:", "/a:b", "/a:/b:/c", "/a:/b:rx", ":/b", "/a:rw:ro"})
    EXPECT_THAT(entry(text), HasSubstr("names no file for a jail")) << text;
}

TEST(JailOptions, ReadsLimits) {
  EXPECT_EQ(parse_resource_limit("fsize=250000000")->resource, RLIMIT_FSIZE);
  EXPECT_EQ(parse_resource_limit("no-file=1024")->resource, RLIMIT_NOFILE);
  EXPECT_EQ(parse_resource_limit("no-file=1024")->value, 1024U);
  for (const char* text : {"", "no-file", "no-file=", "no-file=x", "no-file=1x", "no-file=-1",
                           "nproc=1", "=1", "no-file=99999999999999999999"})
    EXPECT_FALSE(parse_resource_limit(text)) << text;
}

TEST(JailOptions, ReadsCgroups) {
  JailOptions options;
  options.parent_cgroup = "mine";
  EXPECT_EQ(make_cgroup(options, "id").value(), std::nullopt);
  options.cgroups = {"cpuset.cpus=0-1", "pids.max=9"};
  const auto cgroup = make_cgroup(options, "id").value();
  EXPECT_EQ(cgroup->settings[1], (std::pair<std::string, std::string>("pids.max", "9")));
  options.cgroups = {"pids.max"};
  EXPECT_FALSE(make_cgroup(options, "id"));
  options.cgroups = {"pids.max=1=2"};
  EXPECT_FALSE(make_cgroup(options, "id"));
  options.cgroups = {"../x.y=1"};
  EXPECT_FALSE(make_cgroup(options, "id"));
}

TEST(JailOptions, KeepsTheDescriptorsThatAreNamed) {
  JailOptions options;
  options.descriptors = {7, 9};
  options.working_dir = "/run/vm";
  EXPECT_EQ(make_jail(options, "id")->keep_descriptors, (std::vector<int>{7, 9}));
  EXPECT_EQ(make_jail(options, "id")->working_dir, "/run/vm");
  options.descriptors = {2};
  EXPECT_EQ(make_jail(options, "id").error().code(), Errc::kInvalidArgument);
}

TEST(JailOptions, MakesAJailWithANetworkOfItsOwnUnlessTold) {
  JailOptions options;
  EXPECT_EQ(make_jail(options, "id")->net, JailConfig::Net::kNew);
  options.net = "host";
  EXPECT_EQ(make_jail(options, "id")->net, JailConfig::Net::kHost);
  options.net = "/run/netns/mine";
  const auto joined = make_jail(options, "id").value();
  EXPECT_EQ(joined.net, JailConfig::Net::kJoin);
  EXPECT_EQ(joined.join_net, "/run/netns/mine");
  EXPECT_TRUE(joined.new_pid);
  options.optional = {"net", "moat"};
  EXPECT_THAT(make_jail(options, "id").error().text(), HasSubstr("'moat'"));
}

}  // namespace
}  // namespace mvm::vmm
