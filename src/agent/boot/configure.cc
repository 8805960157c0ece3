// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/configure.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <utility>

#include "agent/boot/console.h"
#include "agent/boot/network.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

// Our versions of files in /etc live in memory and are mounted over the image's, so that they are
// nobody's change.
constexpr const char* kFiles = "/run/mvm";
constexpr Bytes kMaxHosts = kibibytes(256);
constexpr const char* kOwnAddress = "127.0.1.1";
constexpr std::uint64_t kClockTolerance = 100'000'000;  // Units: ns

Result<> set_clock(std::uint64_t ns) {
  if (ns == 0) return {};
  timespec now{};
  now.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  now.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  if (::clock_settime(CLOCK_REALTIME, &now) != 0) return Error::from_errno("set the clock");
  return {};
}

// Credits the bytes, so that getrandom() never waits. Source: random(4).
Result<> add_entropy(const std::vector<std::byte>& bytes) {
  if (bytes.empty()) return {};
  alignas(rand_pool_info) std::byte buffer[sizeof(rand_pool_info) + wire::kMaxSeed];
  auto* pool = reinterpret_cast<rand_pool_info*>(buffer);
  pool->entropy_count = static_cast<int>(bytes.size() * 8);
  pool->buf_size = static_cast<int>(bytes.size());
  std::memcpy(pool->buf, bytes.data(), bytes.size());
  const sys::UniqueFd random = MVM_TRY(sys::open_file("/dev/urandom", O_WRONLY));
  if (::ioctl(random.get(), RNDADDENTROPY, pool) != 0) return Error::from_errno("add entropy");
  return {};
}

// The image may link the file to a place that only exists when some service runs: make that place.
void make_target(const std::string& path) {
  char target[4096];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  std::string real = n > 0 ? std::string(target, static_cast<std::size_t>(n)) : path;
  if (!real.starts_with('/')) real = "/etc/" + real;
  const std::size_t slash = real.find_last_of('/');
  if (slash > 0) [[maybe_unused]]
    const auto ignored = sys::make_dirs(real.substr(0, slash), 0755);
  sys::UniqueFd made(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644));
}

// /etc/NAME is our own file already: this machine is a restored one.
bool is_ours(const std::string& name) {
  struct stat etc;
  struct stat ours;
  return ::stat(("/etc/" + name).c_str(), &etc) == 0 &&
         ::stat((std::string(kFiles) + "/" + name).c_str(), &ours) == 0 &&
         etc.st_dev == ours.st_dev && etc.st_ino == ours.st_ino;
}

// Puts our text in the place of /etc/NAME. What fails is told and does not stop the guest.
void cover(const std::string& name, const std::string& text) {
  const std::string path = "/etc/" + name;
  const std::string ours = std::string(kFiles) + "/" + name;
  const bool again = is_ours(name);
  ::mkdir(kFiles, 0755);
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) make_target(path);
  auto done = sys::write_file(ours, text, 0644);
  if (done && !again && ::mount(ours.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0)
    done = Error::from_errno("write " + path);
  if (!done) say(done.error().text());
}

bool lacks(const char* path) {
  struct stat st;
  return ::stat(path, &st) != 0 || (S_ISREG(st.st_mode) && st.st_size == 0);
}

// `earlier`: the name that the saved machine had, when this is a restored one.
Result<> set_names(const std::string& hostname, const std::string& earlier) {
  if (hostname.empty()) return {};
  if (::sethostname(hostname.data(), hostname.size()) != 0)
    return Error::from_errno("set host name " + hostname);
  if (lacks("/etc/hostname") || is_ours("hostname")) cover("hostname", hostname + "\n");
  const std::string existing =
      lacks("/etc/hosts") ? "" : sys::read_file("/etc/hosts", kMaxHosts).value_or(std::string());
  const std::string hosts = hosts_text(without_host(existing, earlier), hostname);
  if (hosts != existing) cover("hosts", hosts);
  return {};
}

Result<sys::UniqueFd> limit_pids(std::uint32_t limit) {
  constexpr const char* kRoot = "/sys/fs/cgroup";
  const std::string workload = std::string(kRoot) + "/workload";
  MVM_TRY(sys::write_file(std::string(kRoot) + "/cgroup.subtree_control", "+pids"));
  if (::mkdir(workload.c_str(), 0755) != 0 && errno != EEXIST)
    return Error::from_errno("make cgroup " + workload);
  MVM_TRY(sys::write_file(workload + "/pids.max", std::to_string(limit)));
  return sys::open_file(workload, O_RDONLY | O_DIRECTORY);
}

}  // namespace

Result<> follow_clock(std::uint64_t now_ns) {
  timespec ours{};
  ::clock_gettime(CLOCK_REALTIME, &ours);
  const auto ours_ns = static_cast<std::uint64_t>(ours.tv_sec) * 1'000'000'000 +
                       static_cast<std::uint64_t>(ours.tv_nsec);
  const std::uint64_t off = ours_ns > now_ns ? ours_ns - now_ns : now_ns - ours_ns;
  return off < kClockTolerance ? Result<>() : set_clock(now_ns);
}

std::string without_host(std::string_view hosts, const std::string& hostname) {
  std::string out(hosts);
  const std::string line = kOwnAddress + (" " + hostname + "\n");
  const std::size_t at = hostname.empty() ? std::string::npos : out.find(line);
  if (at != std::string::npos && (at == 0 || out[at - 1] == '\n')) out.erase(at, line.size());
  return out;
}

std::string hosts_text(std::string_view existing, const std::string& hostname) {
  std::string out = existing.empty()
                        ? "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
                        : std::string(existing);
  if (out.back() != '\n') out += '\n';
  std::string word;
  for (const char c : out) {
    if (c != ' ' && c != '\t' && c != '\n') {
      word += c;
      continue;
    }
    if (word == hostname) return std::string(existing.empty() ? out : existing);
    word.clear();
  }
  return out + kOwnAddress + " " + hostname + "\n";
}

std::string resolv_conf_text(const std::vector<std::string>& dns) {
  std::string out;
  for (const std::string& server : dns) {
    if (server.find_first_not_of("0123456789abcdefABCDEF.:") == std::string::npos)
      out += "nameserver " + server + "\n";
  }
  return out;
}

Result<Configured> apply_configure(const wire::Configure& configure,
                                   const std::function<Result<>()>& load_network_modules) {
  Configured out;
  MVM_TRY(set_clock(configure.wall_clock_ns));
  MVM_TRY(add_entropy(configure.entropy));
  static std::string hostname;
  MVM_TRY(set_names(configure.hostname, std::exchange(hostname, configure.hostname)));
  if (configure.network) {
    MVM_TRY(load_network_modules());
    MVM_TRY(configure_ethernet(*configure.network));
    if (!configure.network->dns.empty())
      cover("resolv.conf", resolv_conf_text(configure.network->dns));
  }
  if (configure.pids_limit > 0)
    out.workload_cgroup = MVM_TRY_CTX(limit_pids(configure.pids_limit), "limiting processes");
  return out;
}

}  // namespace mvm::agent
