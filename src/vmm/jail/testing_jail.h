// SPDX-License-Identifier: Apache-2.0
// For tests of the jailer: a jail of one file and one directory, entered by root and by an ordinary
// user.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "sys/files.h"
#include "vmm/jail/jailer.h"
#include "vmm/jail/testing_child.h"

namespace mvm::vmm {

using Access = JailEntry::Access;

inline constexpr uid_t kNobody = 65534;
inline constexpr uid_t kJailed = 12345;  // the user that root changes to

inline void say(int fd, const std::string& text) { (void)sys::write_full(fd, text); }

inline void drop_to_nobody(bool wanted) {
  if (!wanted) return;
  if (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
      ::setresuid(kNobody, kNobody, kNobody) != 0)
    ::_exit(98);
  // As after an exec: our own files in /proc are ours again.
  ::prctl(PR_SET_DUMPABLE, 1);
}

// Each test runs twice: jailed by root, and by an ordinary user.
enum class Starter { kRoot, kUser };

class Jail : public testing::TestWithParam<Starter> {
 protected:
  bool as_root() const { return GetParam() == Starter::kRoot; }

  void SetUp() override {
    if (as_root() && !jails_as_root()) GTEST_SKIP() << "not started as root";
    for (const char* name : {"/given", "/data", "/data/sub"}) ::mkdir((host_ + name).c_str(), 0755);
    (void)sys::write_file(host_ + "/given/file", "hello", 0644);
    (void)sys::write_file(host_ + "/given/secret", "not given", 0644);
    (void)sys::write_file(host_ + "/data/sub/inner", "x", 0644);
    if (::geteuid() != 0) return;
    const uid_t owner = as_root() ? kJailed : kNobody;
    for (const char* name : {"", "/given", "/data", "/data/sub", "/given/file", "/data/sub/inner"})
      ASSERT_EQ(::chown((host_ + name).c_str(), owner, owner), 0);
  }

  JailConfig config() const {
    JailConfig out;
    out.entries.push_back({host_ + "/given/file", "/etc/given", Access::kReadOnly, false});
    out.entries.push_back({host_ + "/data", "/data", Access::kReadWrite, false});
    out.devices.push_back({"/dev/zero", true});
    if (as_root()) {
      out.uid = kJailed;
      out.gid = kJailed;
    }
    return out;
  }

  // Runs `body(fd)` in the jail; what keeps it out of the jail is in `said`.
  template <class Body>
  ChildEnd jailed(JailConfig config, Body body) const {
    return in_child([&](int fd) {
      drop_to_nobody(drops());
      config.keep_descriptors.push_back(fd);
      if (auto entered = enter_jail(config); !entered) {
        say(fd, entered.error().text() + "; hint: " + entered.error().hint());
        return 99;
      }
      return body(fd);
    });
  }

  bool drops() const { return !as_root() && ::geteuid() == 0; }

  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-jail-").value();
  std::string host_ = dir_.path();
};

}  // namespace mvm::vmm
