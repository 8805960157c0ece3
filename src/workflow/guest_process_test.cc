// SPDX-License-Identifier: Apache-2.0
#include "workflow/guest_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "workflow/start.h"

namespace mvm::workflow {
namespace {

using Words = std::vector<std::string>;

struct Case {
  const char* what;
  Words image_entrypoint;
  Words image_cmd;
  std::optional<std::string> entrypoint;
  Words command;
  Words expected;
};

class ProcessArgv : public testing::TestWithParam<Case> {};

TEST_P(ProcessArgv, IsMadeOfImageAndRequest) {
  const Case& c = GetParam();
  spec::ImageConfig image;
  image.entrypoint = c.image_entrypoint;
  image.cmd = c.image_cmd;
  CreateRequest request;
  request.entrypoint = c.entrypoint;
  request.command = c.command;
  EXPECT_EQ(process_for(request, image, [](const std::string&) { return std::nullopt; }).argv,
            c.expected)
      << c.what;
}

INSTANTIATE_TEST_SUITE_P(
    Process, ProcessArgv,
    testing::Values(
        Case{"nothing at all", {}, {}, std::nullopt, {}, {}},
        Case{"cmd alone", {}, {"sh"}, std::nullopt, {}, {"sh"}},
        Case{"entrypoint and cmd", {"nginx"}, {"-g", "x"}, std::nullopt, {}, {"nginx", "-g", "x"}},
        Case{"command replaces cmd", {}, {"sh"}, std::nullopt, {"ls", "-l"}, {"ls", "-l"}},
        Case{
            "command follows entrypoint", {"nginx"}, {"-g"}, std::nullopt, {"-t"}, {"nginx", "-t"}},
        Case{"given entrypoint drops cmd", {"nginx"}, {"-g"}, "sh", {}, {"sh"}},
        Case{"given entrypoint with command",
             {"nginx"},
             {"-g"},
             "sh",
             {"-c", "ls"},
             {"sh", "-c", "ls"}},
        Case{"removed entrypoint", {"nginx"}, {"-g"}, "", {"ls"}, {"ls"}},
        Case{"removed entrypoint alone", {"nginx"}, {"-g"}, "", {}, {}}));

TEST(JailUser, IsAnotherForEachMachineAndInItsRange) {
  EXPECT_EQ(jail_user("0000000000000000"), 0x7000'0000U);
  EXPECT_EQ(jail_user("ffffffff00000000"), 0x77ff'ffffU);
  EXPECT_NE(jail_user("0123456789abcdef"), jail_user("0123456889abcdef"));
}

TEST(Process, PrefersTheRequestToTheImage) {
  spec::ImageConfig image;
  image.user = "www";
  image.working_dir = "/srv";
  image.stop_signal = "SIGQUIT";
  image.env = {"A=image", "B=image"};
  CreateRequest request;
  const auto plain = process_for(request, image, [](const std::string&) { return std::nullopt; });
  EXPECT_EQ(plain.user, "www");
  EXPECT_EQ(plain.working_dir, "/srv");
  EXPECT_EQ(plain.stop_signal, "SIGQUIT");
  request.user = "root";
  request.working_dir = "/";
  request.env = {"A=given"};
  const auto given = process_for(request, image, [](const std::string&) { return std::nullopt; });
  EXPECT_EQ(given.user, "root");
  EXPECT_EQ(given.working_dir, "/");
  EXPECT_EQ(given.env, (Words{"A=image", "B=image", "A=given"}));
}

TEST(Process, TakesANameAloneFromTheHostAndLeavesOutWhatIsNotSet) {
  CreateRequest request;
  request.env = {"SET", "UNSET", "EMPTY="};
  const auto process = process_for(request, {}, [](const std::string& name) {
    return name == "SET" ? std::optional<std::string>("yes") : std::nullopt;
  });
  EXPECT_EQ(process.env, (Words{"SET=yes", "EMPTY="}));
}

}  // namespace
}  // namespace mvm::workflow
