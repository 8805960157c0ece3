// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jailer_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "sys/files.h"
#include "vmm/jail/testing_child.h"

namespace mvm::vmm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(JailerArguments, AreThoseOfTheModel) {
  const auto parsed = parse_jailer({"--id",
                                    "a-1",
                                    "--exec-file",
                                    "/bin/x",
                                    "--uid",
                                    "7",
                                    "--gid",
                                    "8",
                                    "--chroot-base-dir",
                                    "/srv",
                                    "--netns",
                                    "/run/netns/n",
                                    "--cgroup",
                                    "pids.max=1",
                                    "--cgroup",
                                    "cpuset.cpus=0",
                                    "--cgroup-version",
                                    "2",
                                    "--parent-cgroup",
                                    "a/b",
                                    "--resource-limit",
                                    "fsize=1",
                                    "--daemonize",
                                    "--new-pid-ns",
                                    "--",
                                    "--id",
                                    "not-ours",
                                    "--api-sock",
                                    "/run/a"});
  ASSERT_TRUE(parsed.arguments) << parsed.text;
  const JailerArguments& args = *parsed.arguments;
  EXPECT_EQ(args.id, "a-1");
  EXPECT_EQ(args.jail.uid, 7U);
  EXPECT_EQ(args.jail.gid, 8U);
  EXPECT_EQ(args.chroot_base, "/srv");
  EXPECT_EQ(args.jail.net, "/run/netns/n");
  EXPECT_EQ(args.jail.cgroups, (std::vector<std::string>{"pids.max=1", "cpuset.cpus=0"}));
  EXPECT_EQ(args.jail.cgroup_version, 2);
  EXPECT_EQ(args.jail.parent_cgroup, "a/b");
  EXPECT_TRUE(args.daemonize && args.new_pid_ns);
  EXPECT_EQ(args.extra, (std::vector<std::string>{"--id", "not-ours", "--api-sock", "/run/a"}));
}

TEST(JailerArguments, AreRefusedWithAReason) {
  const auto refusal = [](std::vector<std::string> words) {
    const ParsedJailer parsed = parse_jailer(std::move(words));
    EXPECT_FALSE(parsed.arguments);
    EXPECT_EQ(parsed.exit_code, 1);
    return parsed.text;
  };
  EXPECT_THAT(refusal({}), HasSubstr("required"));
  EXPECT_THAT(refusal({"--id", "../up", "--exec-file", "/x", "--uid", "1", "--gid", "1"}),
              HasSubstr("'../up'"));
  EXPECT_THAT(
      refusal({"--id", std::string(65, 'a'), "--exec-file", "/x", "--uid", "1", "--gid", "1"}),
      HasSubstr("1 to 64"));
  EXPECT_THAT(refusal({"--id", "a", "--exec-file", "/x", "--uid", "me", "--gid", "1"}),
              HasSubstr("--uid"));
  EXPECT_THAT(refusal({"--moat", "deep"}), HasSubstr("see mvm-jailer --help"));
}

TEST(JailerArguments, TellVersionAndHelp) {
  EXPECT_THAT(parse_jailer({"--version"}).text, testing::StartsWith("mvm-jailer "));
  EXPECT_EQ(parse_jailer({"--version"}).exit_code, 0);
  EXPECT_THAT(parse_jailer({"--help"}).text, HasSubstr("--chroot-base-dir"));
}

// Runs the program with the probe in its jail.
class JailerProgram : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::chmod(base_.path().c_str(), 0755), 0);
    program_ = base_.path() + "/probe";
    std::ofstream(program_, std::ios::binary)
        << std::ifstream(MVM_JAIL_PROBE, std::ios::binary).rdbuf();
    ASSERT_EQ(::chmod(program_.c_str(), 0755), 0);
  }

  std::vector<std::string> command(std::vector<std::string> more = {}) const {
    std::vector<std::string> out = {MVM_JAILER,
                                    "--id",
                                    "vm-1",
                                    "--exec-file",
                                    program_,
                                    "--uid",
                                    "12345",
                                    "--gid",
                                    "12345",
                                    "--chroot-base-dir",
                                    base_.path() + "/jails"};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  sys::Output run(std::vector<std::string> argv) const {
    sys::Command command;
    command.argv = std::move(argv);
    command.environment = std::vector<std::string>{"MVM_SECRET=hunter2"};
    return sys::run(command).value();
  }
  std::string root() const { return base_.path() + "/jails/probe/vm-1/root"; }

  sys::TempDir base_ = sys::TempDir::create("/tmp", "mvm-jailer-").value();
  std::string program_;
};

#define MVM_NEEDS_ROOT() \
  if (!jails_as_root()) GTEST_SKIP() << "not started as root"

TEST_F(JailerProgram, RunsAProgramThatSeesOnlyItsJail) {
  MVM_NEEDS_ROOT();
  const sys::Output out = run(command({"--", "--api-sock", "/run/api.sock"}));
  EXPECT_EQ(out.status.code, 42) << out.err;
  EXPECT_THAT(out.out, AllOf(HasSubstr("argument /probe\nargument --id\nargument vm-1\n"),
                             HasSubstr("argument --api-sock\nargument /run/api.sock\n"),
                             HasSubstr("user 12345:12345\n"), HasSubstr("file /probe 755 0:0\n"),
                             HasSubstr("file /run 700 12345:12345\n"),
                             Not(HasSubstr("environment")), Not(HasSubstr("descriptor 3"))));
  std::vector<std::string> names;
  for (std::size_t at = 0; (at = out.out.find("file ", at)) != std::string::npos; ++at)
    names.push_back(out.out.substr(at + 5, out.out.find(' ', at + 5) - at - 5));
  // Devices that this host lacks are not made.
  EXPECT_THAT(names, testing::IsSubsetOf({"/probe", "/run", "/dev", "/dev/kvm", "/dev/net",
                                          "/dev/net/tun", "/dev/urandom", "/dev/userfaultfd"}));
  EXPECT_THAT(names, testing::Contains("/dev/urandom"));
}

TEST_F(JailerProgram, DevicesBelongToTheJailedUser) {
  MVM_NEEDS_ROOT();
  EXPECT_THAT(run(command()).out, HasSubstr("file /dev/urandom 600 12345:12345\n"));
}

TEST_F(JailerProgram, RunsASecondTimeInTheSameDirectory) {
  MVM_NEEDS_ROOT();
  EXPECT_EQ(run(command()).status.code, 42);
  EXPECT_EQ(run(command()).status.code, 42);
}

TEST_F(JailerProgram, ReplacesWhatAJailBeforeItHasLeftInTheProgramsPlace) {
  MVM_NEEDS_ROOT();
  ASSERT_EQ(run(command()).status.code, 42);
  ASSERT_EQ(::unlink((root() + "/probe").c_str()), 0);
  ASSERT_EQ(::symlink((base_.path() + "/victim").c_str(), (root() + "/probe").c_str()), 0);
  EXPECT_EQ(run(command()).status.code, 42);
  EXPECT_FALSE(sys::path_exists(base_.path() + "/victim"));
}

TEST_F(JailerProgram, IsTheFirstProcessOfItsNamespaceAndItsPidIsWritten) {
  MVM_NEEDS_ROOT();
  // We take over what the jailer leaves, and so see its end.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const sys::Output out = run(command({"--new-pid-ns"}));
  EXPECT_EQ(out.status.code, 0) << out.err;
  EXPECT_THAT(out.out, HasSubstr("process 1\n"));
  const int pid = std::stoi(sys::read_file(root() + "/probe.pid").value());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 42);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(JailerProgram, DaemonizedItSaysNothingAndLeaves) {
  MVM_NEEDS_ROOT();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const sys::Output out = run(command({"--daemonize", "--new-pid-ns"}));
  EXPECT_EQ(out.status.code, 0) << out.err;
  EXPECT_EQ(out.out, "");
  const int pid = std::stoi(sys::read_file(root() + "/probe.pid").value());
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(JailerProgram, LimitsOpenFilesUnlessTold) {
  const JailerArguments plain =
      *parse_jailer({"--id", "a", "--exec-file", program_, "--uid", "1", "--gid", "1",
                     "--chroot-base-dir", base_.path() + "/jails"})
           .arguments;
  EXPECT_EQ(prepare_jail(plain).value().config.limits.at(0).value, 2048U);
  JailerArguments told = plain;
  told.jail.limits = {"no-file=5000"};
  const auto limits = prepare_jail(told).value().config.limits;
  ASSERT_EQ(limits.size(), 1U);
  EXPECT_EQ(limits[0].value, 5000U);
}

TEST_F(JailerProgram, SaysWhatIsWrongWithTheProgram) {
  auto argv = command();
  argv[4] = base_.path() + "/none";
  const sys::Output out = run(argv);
  EXPECT_EQ(out.status.code, 1);
  EXPECT_THAT(out.err, AllOf(HasSubstr("--exec-file"), HasSubstr("No such file")));
  argv[4] = base_.path();
  EXPECT_THAT(run(argv).err, HasSubstr("not a file to execute"));
}

TEST_F(JailerProgram, WorksWithoutRoot) {
  ASSERT_EQ(::chmod(base_.path().c_str(), 0777), 0);
  auto argv = command({"--new-pid-ns"});
  // A copy that user nobody may execute, wherever the build lies.
  const std::string jailer = base_.path() + "/jailer";
  std::ofstream(jailer, std::ios::binary) << std::ifstream(MVM_JAILER, std::ios::binary).rdbuf();
  ASSERT_EQ(::chmod(jailer.c_str(), 0755), 0);
  argv[0] = jailer;
  if (::geteuid() == 0)
    argv.insert(argv.begin(),
                {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"});
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const sys::Output out = run(argv);
  EXPECT_EQ(out.status.code, 0) << out.err;
  EXPECT_THAT(out.out, AllOf(HasSubstr("user 12345:12345\n"), HasSubstr("process 1\n"),
                             HasSubstr("file /probe 755 12345:12345\n"), Not(HasSubstr("/etc"))));
  const int pid = std::stoi(sys::read_file(root() + "/probe.pid").value());
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace mvm::vmm
