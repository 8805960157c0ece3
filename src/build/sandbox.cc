// SPDX-License-Identifier: Apache-2.0
#include "build/sandbox.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "sys/io.h"

namespace mvm::build {
namespace {

constexpr int kFailed = 125;  // as env(1), chroot(1) and their like

struct mount_attr read_only(bool on) {
  struct mount_attr attr = {};
  (on ? attr.attr_set : attr.attr_clr) = MOUNT_ATTR_RDONLY;
  return attr;
}

Result<> set_read_only(const std::string& path, bool on, bool recursive) {
  struct mount_attr attr = read_only(on);
  const unsigned flags = recursive ? AT_RECURSIVE : 0;
  if (::mount_setattr(-1, path.c_str(), flags, &attr, sizeof attr) != 0)
    return Error::from_errno("mount_setattr " + path);
  return {};
}

// A user namespace in which we are who we are; the groups of ours that are not mapped stay.
Result<> enter_user_namespace() {
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) != 0) return Error::from_errno("unshare a user namespace");
  MVM_TRY(sys::write_file("/proc/self/setgroups", "deny"));
  MVM_TRY(sys::write_file("/proc/self/uid_map", uid + " " + uid + " 1"));
  return sys::write_file("/proc/self/gid_map", gid + " " + gid + " 1");
}

Result<> loopback_up() {
  const sys::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return Error::from_errno("socket");
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return Error::from_errno("lo up");
  return {};
}

// An empty /run: tools keep state there that is not the host's business. Where the host's
// resolv.conf is a link into /run, its text stays at that place.
Result<> make_own_run() {
  std::error_code ec;
  const std::string resolv = std::filesystem::canonical("/etc/resolv.conf", ec).string();
  const auto text = sys::read_file("/etc/resolv.conf");
  if (::mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0)
    return Error::from_errno("mount /run");
  if (!resolv.starts_with("/run/") || !text) return {};
  MVM_TRY(sys::make_dirs(std::filesystem::path(resolv).parent_path().string(), 0755));
  return sys::write_file(resolv, *text, 0644);
}

Result<> make_view(const Sandbox& sandbox) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Error::from_errno("make mounts private");
  for (const std::string& path : sandbox.writable) {
    // One of them may be mounted within another.
    if (::mount(path.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
      return Error::from_errno("bind " + path);
  }
  MVM_TRY(set_read_only("/", true, true));
  MVM_TRY(make_own_run());
  for (const std::string& path : sandbox.writable) MVM_TRY(set_read_only(path, false, false));
  // Devices are written to; control groups are what runc makes.
  for (const char* path : {"/dev", "/sys/fs/cgroup"}) {
    if (sys::path_exists(path)) (void)set_read_only(path, false, true);
  }
  return {};
}

Result<> isolate(const Sandbox& sandbox) {
  const bool root = ::geteuid() == 0;
  if (!root) MVM_TRY(enter_user_namespace());
  // Another view of processes is root's: /proc has to be mounted anew for it.
  const int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (root ? CLONE_NEWPID : 0) |
                    (sandbox.network ? 0 : CLONE_NEWNET);
  if (::unshare(flags) != 0) return Error::from_errno("unshare");
  if (!sandbox.network) MVM_TRY(loopback_up());
  return make_view(sandbox);
}

[[noreturn]] void become(const std::vector<std::string>& tool) {
  std::vector<char*> argv;
  argv.reserve(tool.size() + 1);
  for (const std::string& word : tool) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv.front(), argv.data());
  std::perror(argv.front());
  ::_exit(kFailed);
}

// In a process namespace of its own the tool is a child of init, which we are there: what it leaves
// behind ends with us.
int run_as_init(const std::vector<std::string>& tool) {
  const pid_t init = ::fork();
  if (init < 0) return kFailed;
  if (init > 0) {
    int status = 0;
    while (::waitpid(init, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    std::perror("mount /proc");
  const pid_t child = ::fork();
  if (child == 0) become(tool);
  int result = kFailed;
  for (;;) {
    int status = 0;
    const pid_t ended = ::wait(&status);
    if (ended == child) {
      result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      break;
    }
    if (ended < 0 && errno != EINTR) break;
  }
  ::_exit(result);
}

}  // namespace

Result<sys::Command> sandboxed(sys::Command command, const Sandbox& sandbox) {
  std::error_code ec;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", ec).string();
  if (ec) return Error::from_errno("readlink /proc/self/exe", ec.value());
  std::vector<std::string> argv = {self, kSandboxVerb};
  if (sandbox.network) argv.push_back("--network");
  for (const std::string& path : sandbox.writable) argv.insert(argv.end(), {"--write", path});
  argv.push_back("--");
  argv.insert(argv.end(), command.argv.begin(), command.argv.end());
  command.argv = std::move(argv);
  return command;
}

int sandbox_main(const std::vector<std::string>& arguments) {
  Sandbox sandbox;
  std::size_t at = 0;
  for (; at < arguments.size() && arguments[at] != "--"; ++at) {
    if (arguments[at] == "--network")
      sandbox.network = true;
    else if (arguments[at] == "--write" && at + 1 < arguments.size())
      sandbox.writable.push_back(arguments[++at]);
    else
      return kFailed;
  }
  if (at + 1 >= arguments.size()) return kFailed;
  const std::vector<std::string> tool(arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                                      arguments.end());
  const bool root = ::geteuid() == 0;
  std::error_code ec;
  const std::string here = std::filesystem::current_path(ec).string();
  if (auto done = isolate(sandbox); !done) {
    std::fprintf(stderr, "not in a sandbox: %s\n", done.error().text().c_str());
    if (root) return kFailed;
    become(tool);
  }
  // Seen through the mounts that were made over it.
  if (!ec && ::chdir(here.c_str()) != 0) std::perror("chdir");
  if (root) return run_as_init(tool);
  become(tool);
}

}  // namespace mvm::build
