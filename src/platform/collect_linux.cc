// SPDX-License-Identifier: Apache-2.0
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "platform/collect.h"
#include "platform/docker_socket.h"
#include "platform/kvm_probe.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/sha256.h"

namespace mvm::platform {
namespace {

struct Known {
  const char* name;
  const char* version_flag;
  const char* needed_for;
  const char* package;
};

// How WSL starts programs of Windows.
constexpr const char* kWslInterop = "/proc/sys/fs/binfmt_misc/WSLInterop";

// Its path is the socket of its daemon.
constexpr const char* kDocker = "docker";

constexpr std::array kEngines = {
    Known{"firecracker", "--version", "backend firecracker", ""},
    Known{"mvm-vmm", "--version", "backend mvm-vmm", ""},
    Known{"qemu-system-x86_64", "--version", "backend qemu, x86_64 guests", "qemu-system-x86"},
    Known{"qemu-system-aarch64", "--version", "aarch64 guests, not supported yet", ""},
    Known{"krunvm", "--version", "backend libkrun", ""},
    Known{"vfkit", "--version", "backend vfkit", ""},
    Known{kDocker, "version", "backend docker", "docker.io"}};

constexpr std::array kTools = {
    Known{"mkfs.erofs", "--version", "building images", "erofs-utils"},
    Known{"mke2fs", "-V", "scratch disks", "e2fsprogs"},
    Known{"apt-get", "--version", "fetching the guest kernel", "apt"},
    Known{"dpkg-deb", "--version", "unpacking the guest kernel", "dpkg"},
    Known{"depmod", "--version", "indexing kernel modules", "kmod"},
    Known{"skopeo", "--version", "pulling images from registries", "skopeo"},
    Known{"mmdebstrap", "--version", "images of kind debian:SUITE", "mmdebstrap"},
    Known{"busybox", "--help", "the default image", "busybox-static"},
    Known{"fakeroot", "--version", "images made without root", "fakeroot"},
    Known{"fakechroot", "--version", "debian:SUITE images made without root", "fakechroot"}};

std::string ask_version(const std::string& path, const char* flag) {
  sys::Command command;
  command.argv = {path, flag};
  const auto output =
      sys::run(std::move(command), {}, Deadline::after(Millis(2000), path), mebibytes(1));
  return output ? parse_version(output->out + "\n" + output->err) : "";
}

constexpr std::string_view kOwnEngine = "mvm-vmm";

std::string find_known(const Known& known, const std::string& program_dir) {
  std::string own = program_dir + "/" + known.name;
  if (known.name == kOwnEngine && !program_dir.empty() && ::access(own.c_str(), X_OK) == 0)
    return own;
  if (known.name == kDocker) return docker_socket().value_or("");
  return sys::find_program(known.name).value_or("");
}

std::vector<Program> find_programs(std::span<const Known> known, const std::string& program_dir) {
  std::vector<Program> found;
  for (const Known& k : known)
    found.push_back({k.name, find_known(k, program_dir), "", k.needed_for, k.package});
  return found;
}

void ask_versions(std::span<const Known> known, const std::string& program_dir,
                  std::vector<Program>& programs) {
  for (std::size_t i = 0; i < programs.size(); ++i) {
    if (!programs[i].found()) continue;
    // Of a daemon, who speaks to it asks.
    const bool daemon = programs[i].name == kDocker;
    programs[i].version =
        ask_version(daemon ? program_dir + "/mvm-docker" : programs[i].path, known[i].version_flag);
  }
}

// Those of the monitors, which are whole in one file: two hosts with the same digest run the same.
void take_digests(std::vector<Program>& programs) {
  for (Program& program : programs) {
    if (program.found() && (program.name == kOwnEngine || program.name == "firecracker"))
      program.sha256 = sys::sha256_file(program.path).value_or("");
  }
}

// PRETTY_NAME of os-release(5), quotes removed.
std::string pretty_name() {
  const std::string text = "\n" + sys::read_file("/etc/os-release").value_or("");
  const std::size_t at = text.find("\nPRETTY_NAME=");
  if (at == std::string::npos) return "Linux";
  std::string value = text.substr(at + 13, text.find('\n', at + 13) - at - 13);
  std::erase(value, '"');
  return value;
}

CgroupMode cgroup_mode() {
  if (sys::path_exists("/sys/fs/cgroup/cgroup.controllers")) return CgroupMode::kV2;
  const std::string mounts = sys::read_file("/proc/self/mounts").value_or("");
  const bool v1 = mounts.find(" cgroup ") != std::string::npos;
  const bool v2 = mounts.find(" cgroup2 ") != std::string::npos;
  if (v1) return v2 ? CgroupMode::kHybrid : CgroupMode::kV1;
  return v2 ? CgroupMode::kV2 : CgroupMode::kNone;
}

bool in_container() {
  return sys::path_exists("/.dockerenv") || sys::path_exists("/run/.containerenv") ||
         sys::read_file("/run/systemd/container").has_value();
}

// The nearest directory above that exists already.
void measure_disk(HostFacts& facts) {
  std::string path = facts.data_dir;
  while (path.size() > 1 && !sys::path_exists(path))
    path.resize(path.find_last_of('/') + (path.rfind('/') == 0));
  facts.data_writable = path.empty() || ::access(path.c_str(), W_OK | X_OK) == 0;
  struct statvfs st;
  if (path.empty() || ::statvfs(path.c_str(), &st) != 0) return;
  facts.disk_free = Bytes{st.f_bavail * st.f_frsize};
  facts.disk_total = Bytes{st.f_blocks * st.f_frsize};
}

}  // namespace

std::string parse_version(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!digit(text[at]) || (at > 0 && text[at - 1] != ' ' && text[at - 1] != 'v')) continue;
    const std::size_t end = std::min(text.find_first_not_of("0123456789.", at), text.size());
    std::string_view word = text.substr(at, end - at);
    while (word.ends_with('.')) word.remove_suffix(1);
    if (word.find('.') != std::string_view::npos ||
        (end == text.size() || text[end] == '\n' || text[end] == ' '))
      return std::string(word);
    at = end;
  }
  return {};
}

bool is_wsl2(std::string_view kernel_release, bool interop) {
  if (kernel_release.find("WSL2") != std::string_view::npos) return true;
  // A kernel of one's own may be called anything; WSL1's has no release that ends so.
  return interop && kernel_release.find("-Microsoft") == std::string_view::npos;
}

HostFacts collect_minimal(const CollectOptions& options) {
  HostFacts facts;
  facts.os = Os::kLinux;
  utsname name{};
  ::uname(&name);
  facts.kernel_release = name.release;
  facts.machine = name.machine;
  facts.is_wsl2 = is_wsl2(facts.kernel_release, sys::path_exists(kWslInterop));
  facts.kvm = probe_kvm_cached(options.cache_dir);
  facts.engines = find_programs(kEngines, options.program_dir);
  if (const auto socket = docker_socket(); !socket)
    facts.docker = {socket.error().text(), socket.error().hint()};
  facts.uid = ::geteuid();
  facts.data_dir = options.data_dir;
  return facts;
}

HostFacts collect_full(const CollectOptions& options) {
  HostFacts facts = collect_minimal(options);
  facts.os_name = pretty_name();
  ask_versions(kEngines, options.program_dir, facts.engines);
  take_digests(facts.engines);
  facts.tools = find_programs(kTools, options.program_dir);
  ask_versions(kTools, options.program_dir, facts.tools);
  measure_disk(facts);
  const long pages = ::sysconf(_SC_PHYS_PAGES), page_size = ::sysconf(_SC_PAGESIZE);
  facts.memory = Bytes{static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_size)};
  facts.cpus = static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  facts.cgroup = cgroup_mode();
  facts.in_container = in_container();
  return facts;
}

}  // namespace mvm::platform
