// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/confine.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

using CapabilitySets = std::array<__user_cap_data_struct, 2>;

__user_cap_header_struct capability_header() { return {_LINUX_CAPABILITY_VERSION_3, 0}; }

// Field `index` of /proc/self/stat, counted as in proc(5), from 3 on.
std::uint64_t stat_field(std::string_view stat, int index) {
  std::size_t at = stat.find_last_of(')');
  for (int field = 2; field < index && at != stat.npos; ++field) at = stat.find(' ', at + 1);
  std::uint64_t out = 0;
  if (at != stat.npos) std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), out);
  return out;
}

}  // namespace

Result<> close_descriptors(std::vector<int> keep) {
  for (int fd = 0; fd < 3; ++fd) {
    keep.push_back(fd);
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number: all below it are open by now.
    if (::open("/dev/null", O_RDWR) != fd) return Error::from_errno("open /dev/null");  // NOLINT
  }
  std::ranges::sort(keep);
  int from = 0;
  for (const int fd : keep) {
    if (fd > from &&
        ::close_range(static_cast<unsigned>(from), static_cast<unsigned>(fd - 1), 0) != 0)
      return Error::from_errno("close_range");
    from = std::max(from, fd + 1);
  }
  if (::close_range(static_cast<unsigned>(from), ~0U, 0) != 0)
    return Error::from_errno("close_range");
  return {};
}

Result<> clear_environment() {
  const std::string stat = MVM_TRY(sys::read_file("/proc/self/stat"));
  const std::uint64_t start = stat_field(stat, 50);
  const std::uint64_t end = stat_field(stat, 51);
  ::clearenv();
  if (start == 0 || end <= start) return {};
  // The kernel tells the address as text.
  auto* const memory = reinterpret_cast<void*>(start);  // NOLINT(performance-no-int-to-ptr)
  ::explicit_bzero(memory, static_cast<std::size_t>(end - start));
  return {};
}

Result<> set_limit(int resource, std::uint64_t value) {
  const rlimit limit{value, value};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0)
    return Error::from_errno("setrlimit " + std::to_string(resource) + " to " +
                             std::to_string(value));
  return {};
}

Result<> empty_bounding_set() {
  // Newer kernels have more of them than our headers name: until the first that it does not know.
  for (unsigned long capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
       ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      return Error::from_errno("dropping capability " + std::to_string(capability) +
                               " from the bounding set");
  }
  return {};
}

Result<> change_identity(uid_t uid, gid_t gid) {
  if (::setgroups(0, nullptr) != 0) return Error::from_errno("setgroups");
  if (::setresgid(gid, gid, gid) != 0)
    return Error::from_errno("changing to group " + std::to_string(gid));
  if (::setresuid(uid, uid, uid) != 0)
    return Error::from_errno("changing to user " + std::to_string(uid));
  return {};
}

Result<> drop_privileges() {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return Error::from_errno("clearing ambient capabilities");
  auto header = capability_header();
  const CapabilitySets none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return Error::from_errno("capset");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Error::from_errno("no_new_privs");
  return {};
}

Result<> redirect_standard_streams(int null) {
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(null, fd) < 0) return Error::from_errno("dup2");
  }
  return {};
}

}  // namespace mvm::vmm
