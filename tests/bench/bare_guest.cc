// SPDX-License-Identifier: Apache-2.0
#include "bare_guest.h"

#include <signal.h>

#include "agent_client/client.h"
#include "backend/qemu/qemu_plan.h"
#include "bench.h"
#include "spec/vm_spec_json.h"
#include "supervisor/guest_link.h"
#include "sys/io.h"
#include "sys/socket.h"
#include "workflow/create.h"
#include "workflow/machines.h"

namespace mvm::bench {

using wire::Frame;
using wire::FrameType;

// Made by a real `up`, so that it cannot differ from what mvmctl boots; that machine is removed
// again.
spec::VmSpec bare_spec(const std::string& home) {
  ::setenv("MVM_HOME", home.c_str(), 1);
  const store::Layout layout = must(store::Layout::from_environment());
  image::NoProgress progress;
  workflow::CreateRequest request;
  request.image.source = "busybox";
  request.idle = true;
  workflow::Created made = must(workflow::create(
      layout, request, {progress, [](const std::string&) {}, [](const std::string&) {}}));
  spec::VmSpec vm = made.vm;
  {
    sys::EventLoop loop = must(sys::EventLoop::create());
    auto client = must(agent_client::Client::attach(loop, std::move(made.connection)));
    if (auto ready = client->wait_ready(Deadline::none()); !ready) die(ready.error().text());
    client->request_stop({1000, false});
    (void)client->wait_stopped(Deadline::none());
  }
  auto machine = must(workflow::find_machine(layout, vm.id));
  if (auto removed = workflow::remove_machine(layout, machine); !removed)
    die(removed.error().text());
  vm.remove_when_done = true;
  vm.run_dir = vm.data_dir = home;
  return vm;
}

BareGuest::BareGuest(const spec::VmSpec& vm, const std::vector<std::string>& extra_argv,
                     const std::vector<std::pair<int, int>>& extra_fds) {
  backend::LaunchPlan plan = must(backend::qemu::plan(vm));
  plan.argv.insert(plan.argv.end(), extra_argv.begin(), extra_argv.end());
  sys::SocketPair agent = must(sys::make_socket_pair());
  sys::SocketPair control = must(sys::make_socket_pair());
  sys::SocketPair console = must(sys::make_socket_pair());
  const sys::UniqueFd exchange = must(backend::make_exchange());
  sys::Command command;
  command.argv = plan.argv;
  command.die_with_parent = true;
  command.fds = {{agent.second.get(), backend::kAgentFd},
                 {control.second.get(), backend::kControlFd},
                 {console.second.get(), backend::kConsoleFd},
                 {exchange.get(), backend::kExchangeFd},
                 {2, 2}};
  command.fds.insert(command.fds.end(), extra_fds.begin(), extra_fds.end());
  engine_ = must(sys::spawn(command));
  agent_ = std::move(agent.first);
  control_ = std::move(control.first);
  console_ = std::move(console.first);
  send(0, FrameType::kHello, wire::encode(wire::Hello{wire::kProtocolVersion, "bench", ""}));
  send(0, FrameType::kConfigure, wire::encode(supervisor::configure_for(vm, plan)));
}

void BareGuest::send(std::uint32_t stream, FrameType type, std::span<const std::byte> payload) {
  std::vector<std::byte> bytes;
  wire::append_frame(bytes, Frame{stream, type, 0, payload});
  if (auto done = sys::write_full(agent_.get(), bytes); !done) die(done.error().text());
}

Frame BareGuest::next() {
  Frame frame;
  for (;;) {
    if (must(parser_.next(frame))) return frame;
    const std::size_t n = must(sys::read_some(agent_.get(), parser_.prepare(65536)));
    if (n == 0) die("the engine has ended");
    parser_.commit(n);
  }
}

void BareGuest::wait_ready() {
  while (next().type != FrameType::kReady) {
  }
}

void BareGuest::start(const std::vector<std::string>& argv) {
  wire::Open open;
  open.exec.argv = argv;
  send(++stream_, FrameType::kOpen, wire::encode(open));
  send(stream_, FrameType::kEof, {});
}

int BareGuest::finish() {
  for (;;) {
    const Frame frame = next();
    if (frame.type != FrameType::kClosed) continue;
    const wire::Closed closed = must(wire::decode_closed(frame.payload));
    if (closed.outcome != wire::Outcome::kExited) die("the guest's program: " + closed.message);
    return closed.code;
  }
}

int BareGuest::exec(const std::vector<std::string>& argv) {
  start(argv);
  return finish();
}

void BareGuest::ping() {
  const std::vector<std::byte> cookie(8);
  send(0, FrameType::kPing, cookie);
  while (next().type != FrameType::kPong) {
  }
}

void BareGuest::end() { engine_.kill_and_reap(); }

}  // namespace mvm::bench
