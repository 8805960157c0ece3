// SPDX-License-Identifier: Apache-2.0
#include "backend/engine_process.h"

#include <unistd.h>

#include <array>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::backend {

Result<sys::UniqueFd> make_exchange() {
  sys::UniqueFd memory = MVM_TRY(sys::memory_file("mvm-exchange", ""));
  if (::ftruncate(memory.get(), static_cast<off_t>(kExchangeSize.count)) != 0)
    return Error::from_errno("size of the exchange disk");
  return memory;
}

Result<EngineProcess> start_engine(const LaunchPlan& plan) {
  EngineProcess out;
  sys::Command command;
  command.argv = plan.argv;
  command.new_session =
      true;  // the terminal's Ctrl-C is for the guest's process, not for the engine
  command.die_with_parent = true;  // a killed supervisor leaves no engine behind
  sys::SocketPair agent = MVM_TRY(sys::make_socket_pair());
  sys::SocketPair control = MVM_TRY(sys::make_socket_pair());
  sys::SocketPair console = MVM_TRY(sys::make_socket_pair());
  sys::Pipe errors = MVM_TRY(sys::make_pipe());
  command.fds = {
      {errors.write_end.get(), 1}, {errors.write_end.get(), 2}, {agent.second.get(), kAgentFd}};
  if (plan.has_control) command.fds.emplace_back(control.second.get(), kControlFd);
  if (plan.has_console) command.fds.emplace_back(console.second.get(), kConsoleFd);
  if (plan.has_exchange) {
    out.exchange = MVM_TRY(make_exchange());
    command.fds.emplace_back(out.exchange.get(), kExchangeFd);
  }
  out.child = MVM_TRY_CTX(sys::spawn(command), "starting the " + plan.backend + " engine");
  MVM_TRY(sys::set_nonblocking(errors.read_end.get(), true));
  out.agent = std::move(agent.first);
  out.errors = std::move(errors.read_end);
  if (plan.has_control) out.control = std::move(control.first);
  if (plan.has_console) out.console = std::move(console.first);
  return out;
}

bool ErrorTail::drain(int fd) {
  std::array<std::byte, 4096> chunk;
  for (;;) {
    const auto n = sys::read_some(fd, chunk);
    if (!n) return n.error().errnum() == EAGAIN;
    if (*n == 0) return false;
    text_.append(reinterpret_cast<const char*>(chunk.data()), *n);
    if (text_.size() > 2 * kKeep) text_.erase(0, text_.size() - kKeep);
  }
}

}  // namespace mvm::backend
