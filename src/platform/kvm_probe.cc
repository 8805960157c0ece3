// SPDX-License-Identifier: Apache-2.0
#include "platform/kvm_probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cstring>

#include "platform/kvm_guest.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::platform {
namespace {

constexpr int kChildLimitMs =
    1000;  // for KVM system calls that never return; the guest itself has 250 ms

// "vmx" or "svm" among the first processor's flags. The file is read in part: it grows with the
// processors.
bool cpu_has_virtualisation() {
  const auto fd = sys::open_file("/proc/cpuinfo", O_RDONLY);
  if (!fd) return false;
  std::string text(8192, '\0');
  const auto n = sys::read_full(fd->get(), std::as_writable_bytes(std::span(text)));
  text.resize(n.value_or(0));
  const std::size_t at = text.find("\nflags");
  if (at == std::string::npos) return false;
  const std::string flags = text.substr(at + 1, text.find('\n', at + 1) - at - 1) + " ";
  return flags.find(" vmx ") != std::string::npos || flags.find(" svm ") != std::string::npos;
}

// What can be said without running anything; state kBroken then means "not decided".
KvmFacts look_at_device(const std::string& device, sys::UniqueFd& fd) {
  KvmFacts facts;
  struct stat st;
  if (::stat(device.c_str(), &st) != 0) {
    facts.detail = device + " does not exist";
    return facts;
  }
  facts.device_present = true;
  facts.cpu_flag = cpu_has_virtualisation();
  auto opened = sys::open_file(device, O_RDWR);
  if (!opened) {
    const bool refused = opened.error().code() == Errc::kPermission;
    facts.state = refused ? KvmState::kNoPermission : KvmState::kBroken;
    facts.detail = opened.error().message();
    return facts;
  }
  facts.accessible = true;
  facts.state = KvmState::kBroken;
  fd = std::move(*opened);
  return facts;
}

void judge(const ProbeReport& report, KvmFacts& facts) {
  facts.api_version = report.api_version;
  const std::string flag = facts.cpu_flag ? "" : "; the processor shows neither vmx nor svm";
  const std::string what(report.text.data());
  switch (report.outcome) {
    case ProbeOutcome::kPassed:
      facts.state = KvmState::kWorks;
      facts.detail = "guest code runs on the hardware";
      return;
    case ProbeOutcome::kSetupFailed:
      facts.state = KvmState::kBroken;
      facts.detail =
          "no virtual machine can be made: " + what + ": " + std::strerror(report.errnum);
      return;
    case ProbeOutcome::kInstructionFailed:
      facts.state = KvmState::kSoftware;
      facts.detail = "a software KVM that interprets guest code: " + what +
                     " failed with KVM exit reason " + std::to_string(report.exit_reason) + flag;
      return;
    case ProbeOutcome::kSlow:
      facts.state = KvmState::kSoftware;
      facts.detail = "a software KVM that interprets guest code: one instruction takes " +
                     std::to_string(report.nanoseconds) + " ns" + flag;
      return;
    case ProbeOutcome::kHung:
      facts.state = KvmState::kSoftware;
      facts.detail = "guest code did not come back within 250 ms at: " + what + flag;
      return;
  }
}

// Forks; the child reports through a pipe and is killed when it does not.
bool run_in_child(int device, ProbeReport& report) {
  auto pipe = sys::make_pipe();
  if (!pipe) return false;
  const pid_t pid = ::fork();
  if (pid < 0) return false;
  if (pid == 0) {
    const ProbeReport result = run_probe_guest(device);
    const ssize_t n = ::write(pipe->write_end.get(), &result, sizeof result);
    ::_exit(n == static_cast<ssize_t>(sizeof result) ? 0 : 1);
  }
  pipe->write_end.reset();
  pollfd pfd{pipe->read_end.get(), POLLIN, 0};
  int ready = 0;
  do ready = ::poll(&pfd, 1, kChildLimitMs);
  while (ready < 0 && errno == EINTR);
  if (ready <= 0) ::kill(pid, SIGKILL);
  const auto n =
      sys::read_full(pipe->read_end.get(), std::as_writable_bytes(std::span(&report, 1)));
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  report.text.back() = '\0';
  return n.value_or(0) == sizeof report;
}

KvmFacts run_probe(KvmFacts facts, int device) {
  ProbeReport report;
  if (run_in_child(device, report)) {
    judge(report, facts);
  } else {
    facts.detail = "the probe died or did not answer within one second";
  }
  return facts;
}

// First line of the note: everything that makes an old answer worthless when it changes.
std::string cache_key(const std::string& device, const KvmFacts& facts) {
  struct stat st{};
  ::stat(device.c_str(), &st);
  const std::string boot = sys::read_file("/proc/sys/kernel/random/boot_id").value_or("?\n");
  return "mvm-kvm-probe 1 " + boot.substr(0, boot.find('\n')) + " " + std::to_string(st.st_rdev) +
         " " + (facts.cpu_flag ? "flag" : "noflag") + " " + device + "\n";
}

// "works 12 detail…" after the key. Nothing on any doubt.
bool read_note(const std::string& text, const std::string& key, KvmFacts& facts) {
  if (!text.starts_with(key)) return false;
  const std::string line = text.substr(key.size());
  const std::size_t first = line.find(' ');
  const std::size_t second = first == std::string::npos ? first : line.find(' ', first + 1);
  if (second == std::string::npos || !line.ends_with('\n')) return false;
  const std::string state = line.substr(0, first);
  if (state == "works") {
    facts.state = KvmState::kWorks;
  } else if (state == "software_kvm") {
    facts.state = KvmState::kSoftware;
  } else {
    return false;
  }
  facts.api_version = std::atoi(line.c_str() + first + 1);
  facts.detail = line.substr(second + 1, line.size() - second - 2);
  return true;
}

}  // namespace

KvmFacts probe_kvm(const std::string& device) {
  sys::UniqueFd fd;
  KvmFacts facts = look_at_device(device, fd);
  return fd ? run_probe(std::move(facts), fd.get()) : facts;
}

KvmFacts probe_kvm_cached(const std::string& cache_dir, const std::string& device) {
  sys::UniqueFd fd;
  KvmFacts facts = look_at_device(device, fd);
  if (!fd) return facts;
  const std::string key = cache_key(device, facts);
  const std::string path = cache_dir + "/kvm-probe";
  if (const auto text = sys::read_file(path, kibibytes(16)); text && read_note(*text, key, facts))
    return facts;
  facts = run_probe(std::move(facts), fd.get());
  // A broken KVM may be a passing shortage, so it is tried anew each time.
  if (facts.state != KvmState::kBroken && sys::make_dirs(cache_dir)) {
    (void)sys::write_atomic(path, key + std::string(kvm_state_name(facts.state)) + " " +
                                      std::to_string(facts.api_version) + " " + facts.detail +
                                      "\n");
  }
  return facts;
}

}  // namespace mvm::platform
