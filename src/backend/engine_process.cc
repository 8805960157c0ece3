// SPDX-License-Identifier: Apache-2.0
#include "backend/engine_process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::backend {

SnapshotFiles snapshot_files(const std::string& directory) {
  return {directory + "/state", directory + "/memory"};
}

std::string saving_dir(const spec::VmSpec& vm) { return vm.data_dir + "/saving"; }

Error no_snapshots(std::string_view backend) {
  return Error(Errc::kUnsupported, "the " + std::string(backend) + " backend has no snapshots");
}

Result<sys::UniqueFd> make_exchange() {
  sys::UniqueFd memory = MVM_TRY(sys::memory_file("mvm_exchange", ""));
  if (::ftruncate(memory.get(), static_cast<off_t>(kExchangeSize.count)) != 0)
    return Error::from_errno("size of the exchange disk");
  return memory;
}

Result<> give(const std::string& path, std::uint32_t user) {
  if (user == 0 || ::lchown(path.c_str(), user, user) == 0) return {};
  Error error = Error::from_errno("giving " + path + " to user " + std::to_string(user));
  // A user namespace that knows few users only, as in a container.
  if (error.errnum() != EINVAL) return error;
  return std::move(error).with_hint(
      "this user is not there; start as an ordinary one, or: mvmctl config set jail off");
}

namespace {

// Others may read it. Where nobody else can enter its directory that opens it to the engine only,
// whose jail shows it elsewhere.
Result<> open_to_others(const std::string& path) {
  struct stat file;
  if (::stat(path.c_str(), &file) != 0) return Error::from_errno(path);
  if ((file.st_mode & S_IROTH) != 0) return {};
  const std::string directory = path.substr(0, path.find_last_of('/') + 1);
  struct stat above;
  if (::stat(directory.c_str(), &above) != 0) return Error::from_errno(directory);
  if ((above.st_mode & S_IXOTH) != 0)
    return Error(Errc::kPermission, path + " cannot be read by the engine's user")
        .with_hint("chmod o+r " + path);
  if (::chmod(path.c_str(), (file.st_mode & 07777) | S_IROTH) != 0)
    return Error::from_errno("chmod " + path);
  return {};
}

Result<> link_file(const std::string& file, const std::string& name, bool writes) {
  if (::link(file.c_str(), name.c_str()) == 0) return {};
  const Error error = Error::from_errno("linking " + file + " as " + name);
  if (error.errnum() != EXDEV || writes) return error;
  const sys::UniqueFd from = MVM_TRY(sys::open_file(file, O_RDONLY));
  MVM_TRY_CTX(sys::copy_file(from.get(), name, 0644), "copying " + file + " for the engine");
  return {};
}

}  // namespace

Result<> prepare_files(const LaunchPlan& plan) {
  for (const std::string& directory : plan.directories) {
    MVM_TRY(sys::make_dirs(directory));
    MVM_TRY(give(directory, plan.user));
  }
  if (plan.user != 0) {
    for (const std::string& path : plan.written) MVM_TRY(give(path, plan.user));
    for (const std::string& path : plan.read) MVM_TRY(open_to_others(path));
  }
  for (const auto& [file, name] : plan.links) {
    const bool writes = std::ranges::find(plan.written, file) != plan.written.end();
    MVM_TRY(link_file(file, plan.working_dir + "/" + name, writes));
  }
  return {};
}

namespace {

sys::Command command_of(const std::vector<std::string>& argv) {
  sys::Command command;
  command.argv = argv;
  command.new_session = true;  // the terminal's Ctrl-C is for the guest's process, not for engines
  command.die_with_parent = true;  // a killed supervisor leaves no engine behind
  return command;
}

// The process at the other end of the engine's network; returns the other end of its descriptor.
Result<sys::UniqueFd> start_network(const LaunchPlan& plan, int errors, sys::Child& child) {
  sys::SocketPair pair = MVM_TRY(sys::make_socket_pair());
  sys::Command command = command_of(plan.network_argv);
  command.fds = {{errors, 2}, {pair.second.get(), 3}};
  child = MVM_TRY_CTX(sys::spawn(command), "starting the network of the guest");
  return std::move(pair.first);
}

// Waits until the network is up. Errors: what its process, which has ended, said of it.
Result<std::vector<sys::UniqueFd>> await_namespaces(int link, int errors) {
  MVM_TRY(sys::wait_readable(link, Deadline::after(Millis(30'000), "the network of the guest")));
  sys::Message message = MVM_TRY(sys::receive_fds(link));
  if (!message.fds.empty()) return std::move(message.fds);
  ErrorTail tail;
  tail.drain(errors);
  return Error(Errc::kUnavailable, "the network of the guest: " + tail.text());
}

}  // namespace

Result<EngineProcess> start_engine(const LaunchPlan& plan) {
  EngineProcess out;
  sys::Command command = command_of(plan.argv);
  sys::SocketPair agent = MVM_TRY(sys::make_socket_pair());
  sys::SocketPair control = MVM_TRY(sys::make_socket_pair());
  sys::SocketPair console = MVM_TRY(sys::make_socket_pair());
  sys::Pipe errors = MVM_TRY(sys::make_pipe());
  command.working_dir = plan.working_dir;
  if (plan.jailed) command.kill_signal = kKillByGuard;
  command.contain = plan.contained;
  MVM_TRY(sys::set_nonblocking(errors.read_end.get(), true));
  command.fds = {{errors.write_end.get(), 2}};
  if (!plan.has_console || plan.console_fd != 1)
    command.fds.emplace_back(errors.write_end.get(), 1);
  if (plan.agent_socket.empty()) command.fds.emplace_back(agent.second.get(), kAgentFd);
  if (plan.has_control) command.fds.emplace_back(control.second.get(), kControlFd);
  if (plan.has_console) command.fds.emplace_back(console.second.get(), plan.console_fd);
  if (plan.has_exchange) {
    out.exchange = MVM_TRY(make_exchange());
    command.fds.emplace_back(out.exchange.get(), kExchangeFd);
  }
  sys::UniqueFd network;
  std::vector<sys::UniqueFd> namespaces;
  if (!plan.network_argv.empty())
    network = MVM_TRY(start_network(plan, errors.write_end.get(), out.network));
  if (plan.network_namespace) {
    namespaces = MVM_TRY(await_namespaces(network.get(), errors.read_end.get()));
    for (const sys::UniqueFd& fd : namespaces) command.namespaces.push_back(fd.get());
    out.network_link = std::move(network);
  } else if (network) {
    command.fds.emplace_back(network.get(), kNetworkFd);
  }
  out.child = MVM_TRY_CTX(sys::spawn(command), "starting the " + plan.backend + " engine");
  out.agent = std::move(agent.first);
  out.errors = std::move(errors.read_end);
  if (plan.has_control) out.control = std::move(control.first);
  if (plan.has_console) out.console = std::move(console.first);
  return out;
}

bool ErrorTail::drain(int fd) {
  std::array<std::byte, 4096> chunk;
  // As much as a pipe holds: one who writes without end does not keep the caller from all else.
  for (int turn = 0; turn < 16; ++turn) {
    const auto n = sys::read_some(fd, chunk);
    if (!n) return n.error().errnum() == EAGAIN;
    if (*n == 0) return false;
    if (listener_) listener_(std::span(chunk).first(*n));
    text_.append(reinterpret_cast<const char*>(chunk.data()), *n);
    if (text_.size() > 2 * kKeep) text_.erase(0, text_.size() - kKeep);
  }
  return true;
}

}  // namespace mvm::backend
