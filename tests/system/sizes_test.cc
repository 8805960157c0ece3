// SPDX-License-Identifier: Apache-2.0
// Sizes that SPECIFICATION.md promises, measured on the programs that are installed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <sstream>

#include "agent_client/session.h"
#include "supervisor/launch.h"
#include "supervisor/status.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm {
namespace {

constexpr std::uint64_t kAgentLimit = 1536 * 1024;
constexpr std::uint64_t kSupervisorLimitKib = 4096;

// The sum of the Private_* lines. Source: proc(5), smaps_rollup. Units: KiB.
std::uint64_t private_memory_kib(std::int64_t pid) {
  std::istringstream lines(
      sys::read_file("/proc/" + std::to_string(pid) + "/smaps_rollup").value());
  std::uint64_t total = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Private_")) total += std::stoull(line.substr(line.find(':') + 1));
  }
  return total;
}

TEST(Size, OfTheAgentIsAtMostOneAndAHalfMebibytes) {
  struct stat st{};
  ASSERT_EQ(::stat(MVM_AGENT, &st), 0);
  RecordProperty("bytes", std::to_string(st.st_size));
  EXPECT_LE(static_cast<std::uint64_t>(st.st_size), kAgentLimit);
}

TEST(Size, OfASupervisorsPrivateMemoryIsAtMostFourMebibytes) {
  const sys::TempDir dir = sys::TempDir::create("/tmp", "mvm-sizes-").value();
  spec::VmSpec vm;
  vm.name = vm.hostname = "sizes";
  vm.backend = "fake";
  vm.engine_program = MVM_AGENT;
  vm.run_dir = vm.data_dir = dir.path();
  const sys::FileLock lock = sys::FileLock::acquire(dir.path() + "/lock").value();
  sys::EventLoop loop = sys::EventLoop::create().value();
  const sys::UniqueFd control = sys::listen_unix(supervisor::control_socket(vm.run_dir)).value();
  const auto client =
      agent_client::Client::attach(
          loop, supervisor::launch(MVM_SUPERVISOR, vm, lock, control.get(), {}).value())
          .value();
  ASSERT_TRUE(client->wait_ready(Deadline::after(Millis(20'000), "the machine being ready")));
  wire::Open open;
  open.exec.argv = {"head", "-c", "20000000", "/dev/zero"};
  const sys::UniqueFd null = sys::open_file("/dev/null", O_WRONLY).value();
  ASSERT_TRUE(agent_client::run_session(*client, open, {-1, null.get(), -1, nullptr, nullptr}));
  const std::int64_t pid = supervisor::read_status(dir.path()).value().supervisor_pid;
  const std::uint64_t used = private_memory_kib(pid);
  RecordProperty("kib", std::to_string(used));
  std::printf("supervisor: %llu KiB private\n", static_cast<unsigned long long>(used));
  EXPECT_LE(used, kSupervisorLimitKib);
  client->request_stop({0, true});
  EXPECT_TRUE(client->wait_stopped(Deadline::after(Millis(20'000), "the end")));
  ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
}

}  // namespace
}  // namespace mvm
