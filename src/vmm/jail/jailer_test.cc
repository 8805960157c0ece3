// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jailer.h"

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdlib>

#include "vmm/jail/testing_jail.h"

extern char** environ;

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

// Every name below `path`, by readdir alone.
void list(const std::string& path, std::vector<std::string>& out) {
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name(entry->d_name);
    if (name == "." || name == "..") continue;
    const std::string below = (path == "/" ? "/" : path + "/") + entry->d_name;
    out.push_back(below);
    list(below, out);
  }
  ::closedir(dir);
}

std::string whole_tree() {
  std::vector<std::string> names;
  list("/", names);
  std::ranges::sort(names);
  std::string out;
  for (const std::string& name : names) out += name + "\n";
  return out;
}

INSTANTIATE_TEST_SUITE_P(Jailer, Jail, testing::Values(Starter::kRoot, Starter::kUser),
                         [](const auto& test) {
                           return test.param == Starter::kRoot ? "AsRoot" : "AsUser";
                         });

TEST_P(Jail, ShowsWhatItWasGivenAndNothingElse) {
  const ChildEnd end = jailed(config(), [](int fd) {
    say(fd, whole_tree());
    return 0;
  });
  EXPECT_EQ(end.said, "/data\n/data/sub\n/data/sub/inner\n/dev\n/dev/zero\n/etc\n/etc/given\n");
}

TEST_P(Jail, ShowsItWhateverTheUmaskOfItsStarter) {
  JailConfig deep = config();
  deep.entries[0].inside = "/a/b/c";
  const ChildEnd end = in_child([&](int fd) {
    ::umask(077);
    drop_to_nobody(drops());
    deep.keep_descriptors.push_back(fd);
    if (!enter_jail(deep)) return 99;
    say(fd, sys::read_file("/a/b/c").value_or("unreadable"));
    return ::umask(0) == 077 ? 0 : 1;
  });
  EXPECT_EQ(end.said, "hello");
  EXPECT_EQ(end.status.code, 0);
}

TEST_P(Jail, HasNoWayUpFromItsRoot) {
  const ChildEnd end = jailed(config(), [](int) {
    struct stat root, above;
    for (int i = 0; i < 20; ++i) (void)!::chdir("..");
    if (::stat("/", &root) != 0 || ::stat(".", &above) != 0) return 1;
    return root.st_ino == above.st_ino && root.st_dev == above.st_dev ? 0 : 2;
  });
  EXPECT_TRUE(end.status.ok()) << end.said << end.status.text();
}

TEST_P(Jail, ReadsAndWritesAsTheEntriesSay) {
  const ChildEnd end = jailed(config(), [](int fd) {
    say(fd, *sys::read_file("/etc/given"));
    if (::open("/etc/given", O_WRONLY) >= 0 || errno != EROFS) return 1;
    if (::open("/new", O_WRONLY | O_CREAT, 0600) >= 0) return 2;
    if (::open("/etc/new", O_WRONLY | O_CREAT, 0600) >= 0) return 3;
    return sys::write_file("/data/out", "from inside") ? 0 : 4;
  });
  EXPECT_EQ(end.status.code, 0) << end.said;
  EXPECT_EQ(end.said, "hello");
  EXPECT_EQ(sys::read_file(host_ + "/data/out").value(), "from inside");
}

TEST_P(Jail, ExecutesNothingThatIsNotMarked) {
  JailConfig with_program = config();
  with_program.entries.push_back({"/bin/true", "/bin/true", Access::kReadOnly, false});
  const ChildEnd end = jailed(with_program, [](int) {
    ::execl("/bin/true", "true", nullptr);
    return errno == EACCES ? 0 : 1;
  });
  EXPECT_EQ(end.status.code, 0) << end.said;
}

TEST_P(Jail, UsesDevices) {
  const ChildEnd end = jailed(config(), [](int) {
    char zero = 1;
    const int fd = ::open("/dev/zero", O_RDONLY);
    return fd >= 0 && ::read(fd, &zero, 1) == 1 && zero == 0 ? 0 : 1;
  });
  EXPECT_EQ(end.status.code, 0) << end.said;
}

TEST_P(Jail, WantsOnlyRequiredDevices) {
  JailConfig lacking = config();
  lacking.devices.push_back({"/dev/mvm-none", false});
  EXPECT_EQ(jailed(lacking, [](int) { return 0; }).status.code, 0);
  lacking.devices.back().required = true;
  EXPECT_THAT(jailed(lacking, [](int) { return 0; }).said,
              HasSubstr("/dev/mvm-none: No such file"));
}

TEST_P(Jail, HasNoEnvironmentAndOnlyTheDescriptorsToKeep) {
  ::setenv("MVM_SECRET", "hunter2", 1);
  const int leak = ::dup(0);  // without close-on-exec
  const ChildEnd end = jailed(config(), [](int fd) {
    if (environ != nullptr && *environ != nullptr) return 1;
    for (int other = 3; other < 1024; ++other) {
      if (other != fd && ::fcntl(other, F_GETFD) >= 0) return 2;
    }
    return ::fcntl(fd, F_GETFD) >= 0 ? 0 : 3;
  });
  ::close(leak);
  ::unsetenv("MVM_SECRET");
  EXPECT_EQ(end.status.code, 0) << end.said;
}

TEST_P(Jail, HasNoCapabilityAndNoWayToOne) {
  const ChildEnd end = jailed(config(), [](int) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2];
    if (::syscall(SYS_capget, &header, sets) != 0) return 1;
    for (const auto& set : sets) {
      if (set.effective != 0 || set.permitted != 0 || set.inheritable != 0) return 2;
    }
    for (int cap = 0; cap <= CAP_LAST_CAP; ++cap) {
      if (::prctl(PR_CAPBSET_READ, cap) != 0) return 3;
    }
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 4;
    return ::mount("none", "/data", "tmpfs", 0, nullptr) != 0 && errno == EPERM ? 0 : 5;
  });
  EXPECT_EQ(end.status.code, 0) << end.said;
}

TEST_P(Jail, IsAnotherUserForGood) {
  const ChildEnd end = jailed(config(), [](int fd) {
    say(fd, std::to_string(::getuid()) + " " + std::to_string(::getegid()) + " " +
                std::to_string(::getgroups(0, nullptr)));
    return ::setresuid(0, 0, 0) != 0 && ::setgroups(0, nullptr) != 0 ? 0 : 1;
  });
  EXPECT_EQ(end.status.code, 0);
  const uid_t user = as_root() ? kJailed : ::geteuid() == 0 ? kNobody : ::geteuid();
  const gid_t group = as_root() ? kJailed : ::geteuid() == 0 ? kNobody : ::getegid();
  EXPECT_THAT(end.said, testing::StartsWith(std::to_string(user) + " " + std::to_string(group)));
}

TEST_P(Jail, SeesNoProcessAndNoNetworkOfTheHost) {
  const ChildEnd end = jailed(config(), [](int) {
    if (::getpid() != 1 || ::getppid() != 0) return 1;
    struct if_nameindex* names = ::if_nameindex();
    if (names == nullptr) return 2;
    int count = 0;
    while (names[count].if_index != 0) ++count;
    return count == 1 && std::string_view(names[0].if_name) == "lo" ? 0 : 3;
  });
  EXPECT_EQ(end.status.code, 0) << end.said;
}

TEST_P(Jail, IsTheSameProcessWithoutAProcessNamespace) {
  JailConfig same = config();
  same.new_pid = false;
  const ChildEnd end = jailed(same, [](int fd) {
    say(fd, std::to_string(::getppid()));
    return 0;
  });
  EXPECT_EQ(end.said, std::to_string(::getpid()));
}

TEST_P(Jail, AppliesLimits) {
  JailConfig limited = config();
  limited.limits = {{RLIMIT_NOFILE, 16}, {RLIMIT_FSIZE, 4096}};
  const ChildEnd end = jailed(limited, [](int) {
    rlimit files{};
    rlimit size{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    ::getrlimit(RLIMIT_FSIZE, &size);
    return files.rlim_max == 16 && size.rlim_cur == 4096 && size.rlim_max == 4096 ? 0 : 1;
  });
  EXPECT_EQ(end.status.code, 0) << end.said;
}

TEST_P(Jail, BeginsInTheDirectoryThatItIsTold) {
  JailConfig elsewhere = config();
  elsewhere.working_dir = "/data/sub";
  const auto look = [](int fd) {
    say(fd, sys::read_file("inner").value_or("nothing"));
    return 0;
  };
  EXPECT_EQ(jailed(elsewhere, look).said, "x");
  elsewhere.working_dir = "/elsewhere";
  EXPECT_THAT(jailed(elsewhere, look).said,
              HasSubstr("entering the working directory: chdir /elsewhere: No such file"));
}

// From now on the kernel refuses this kind of namespace, as hosts do that have it switched off.
void refuse_namespace(std::uint64_t kind) {
  const scmp_filter_ctx context = ::seccomp_init(SCMP_ACT_ALLOW);
  const scmp_arg_cmp is_kind{0, SCMP_CMP_MASKED_EQ, kind, kind};
  ::seccomp_rule_add_array(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1, &is_kind);
  ::seccomp_load(context);
  ::seccomp_release(context);
}

ChildEnd refused_namespace(const JailConfig& config, std::uint64_t kind, bool nobody) {
  return in_child([&](int fd) {
    drop_to_nobody(nobody);
    refuse_namespace(kind);
    JailConfig kept = config;
    kept.keep_descriptors.push_back(fd);
    const auto entered = enter_jail(kept);
    if (!entered) say(fd, entered.error().text() + "\n" + entered.error().hint());
    return entered ? 0 : entered.error().code() == Errc::kUnavailable ? 1 : 2;
  });
}

TEST_P(Jail, RefusesToStartWithoutALayerThatIsMissing) {
  const ChildEnd end = refused_namespace(config(), CLONE_NEWNET, drops());
  EXPECT_EQ(end.status.code, 1);
  EXPECT_EQ(end.said,
            "jail layer 'net': making a network namespace: unshare: Operation not permitted\n"
            "to go without it, list 'net' as optional");
}

TEST_P(Jail, GoesWithoutAMissingLayerThatIsOptional) {
  JailConfig lenient = config();
  lenient.optional = {JailLayer::kNet, JailLayer::kPid};
  EXPECT_EQ(refused_namespace(lenient, CLONE_NEWNET, drops()).status.code, 0);
  EXPECT_EQ(refused_namespace(lenient, CLONE_NEWPID, drops()).status.code, 0);
  EXPECT_EQ(refused_namespace(lenient, CLONE_NEWUTS, drops()).status.code, 1);
}

TEST(JailAsUser, SaysWhatToDoWhereUserNamespacesAreOff) {
  JailConfig config;
  const ChildEnd end = refused_namespace(config, CLONE_NEWUSER, ::geteuid() == 0);
  EXPECT_EQ(end.status.code, 1);
  EXPECT_THAT(end.said, HasSubstr("user.max_user_namespaces"));
}

TEST_P(Jail, KeepsADirectoryAsItsRoot) {
  JailConfig in_directory = config();
  in_directory.root = host_ + "/data";
  in_directory.entries.clear();
  in_directory.directories = {"/run"};
  const ChildEnd end = jailed(in_directory, [](int fd) {
    say(fd, whole_tree());
    return sys::write_file("/run/api", "socket") ? 0 : 1;
  });
  EXPECT_EQ(end.status.code, 0);
  EXPECT_EQ(end.said, "/dev\n/dev/zero\n/run\n/sub\n/sub/inner\n");
  EXPECT_EQ(sys::read_file(host_ + "/data/run/api").value(), "socket");
}

TEST_P(Jail, FollowsNoLinkThatLiesInItsRoot) {
  JailConfig in_directory = config();
  in_directory.root = host_ + "/data";
  in_directory.entries.clear();
  ASSERT_EQ(::symlink((host_ + "/given").c_str(), (host_ + "/data/dev").c_str()), 0);
  const ChildEnd end = jailed(in_directory, [](int) { return 0; });
  EXPECT_EQ(end.status.code, 99);
  EXPECT_THAT(end.said, HasSubstr("open dev: Not a directory"));
  EXPECT_FALSE(sys::path_exists(host_ + "/given/zero"));
}

TEST(JailAsRoot, MakesNodesThatBelongToTheJailedUser) {
  if (!jails_as_root()) GTEST_SKIP() << "not started as root";
  JailConfig config;
  config.uid = config.gid = kJailed;
  config.devices = {{"/dev/zero", true}};
  const ChildEnd end = in_child([&](int fd) {
    config.keep_descriptors.push_back(fd);
    if (!enter_jail(config)) return 1;
    struct stat st;
    if (::stat("/dev/zero", &st) != 0) return 2;
    return S_ISCHR(st.st_mode) && st.st_uid == kJailed && (st.st_mode & 0777) == 0600 &&
                   st.st_rdev == makedev(1, 5)
               ? 0
               : 3;
  });
  EXPECT_EQ(end.status.code, 0) << end.said;
}

TEST(JailAsRoot, WantsAUserToChangeTo) {
  if (!jails_as_root()) GTEST_SKIP() << "not started as root";
  const auto entered = enter_jail(JailConfig());
  ASSERT_FALSE(entered);
  EXPECT_EQ(entered.error().code(), Errc::kInvalidArgument);
}

TEST(JailAsUser, CanBeAnotherUserInside) {
  JailConfig config;
  config.uid = 0;
  config.gid = 7;
  const ChildEnd end = in_child([&](int fd) {
    drop_to_nobody(::geteuid() == 0);
    config.keep_descriptors.push_back(fd);
    if (!enter_jail(config)) return 1;
    return ::getuid() == 0 && ::getgid() == 7 && ::sethostname("x", 1) != 0 ? 0 : 2;
  });
  EXPECT_EQ(end.status.code, 0);
}

std::string refusal(std::vector<JailEntry> entries) {
  JailConfig config;
  config.uid = config.gid = kJailed;
  config.entries = std::move(entries);
  const auto entered = enter_jail(config);
  return entered ? "entered" : entered.error().text();
}

TEST(JailConfigCheck, RefusesPathsThatAreNotPlain) {
  EXPECT_THAT(refusal({{"relative", "", Access::kReadOnly, false}}), HasSubstr("no absolute path"));
  EXPECT_THAT(refusal({{"/a", "/b/../c", Access::kReadOnly, false}}), HasSubstr("/b/../c"));
  EXPECT_THAT(refusal({{"/a", "/b//c", Access::kReadOnly, false}}), HasSubstr("/b//c"));
  EXPECT_THAT(refusal({{"/a", "/", Access::kReadOnly, false}}), HasSubstr("'/'"));
}

TEST(JailConfigCheck, RefusesAnEntryWithinAnother) {
  EXPECT_EQ(refusal({{"/x/y", "/a/b/c", Access::kReadOnly, false},
                     {"/z", "/a/b-c", Access::kReadOnly, false},
                     {"/x", "/a/b", Access::kReadWrite, false}}),
            "jail: /a/b/c lies within /a/b");
}

TEST(JailConfigCheck, KnowsWhichLayersMayBeOptional) {
  EXPECT_EQ(parse_optional_layer("net").value(), JailLayer::kNet);
  EXPECT_THAT(parse_optional_layer("root").error().text(), HasSubstr("never be optional"));
  EXPECT_THAT(parse_optional_layer("moat").error().hint(), HasSubstr("net, pid"));
  JailConfig config;
  config.uid = config.gid = kJailed;
  config.optional = {JailLayer::kMount};
  EXPECT_THAT(enter_jail(config).error().text(), HasSubstr("'mount' can never be optional"));
}

}  // namespace
}  // namespace mvm::vmm
