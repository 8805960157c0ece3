// SPDX-License-Identifier: Apache-2.0
// `mvmctl forward`: host ports into a running machine, for as long as the command runs.
#include <signal.h>
#include <sys/epoll.h>

#include <list>

#include "agent_client/forward.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"
#include "spec/words.h"
#include "sys/signals.h"
#include "sys/socket.h"

namespace mvm::cli {
namespace {

struct Options {
  std::string vm;
  std::vector<std::string> ports;
};

// "PORT" stands for "PORT:PORT"; host port 0 takes a free one.
Result<spec::PortForward> parse_port_option(const std::string& text) {
  const bool single = text.find(':') == std::string::npos;
  const bool any_port = text.starts_with("0:");
  spec::PortForward out = MVM_TRY(spec::parse_forward(single     ? text + ":" + text
                                                      : any_port ? "1" + text.substr(1)
                                                                 : text));
  if (any_port) out.host_port = 0;
  if (out.protocol == spec::Protocol::kUdp)
    return Error(Errc::kInvalidArgument, "'" + text + "': a running machine gets tcp forwards only")
        .with_hint("use -p with /udp when the machine is made");
  return out;
}

Result<int> forward(Context& context, const Options& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  Attached vm = MVM_TRY(attach(layout, o.vm));
  std::list<agent_client::Forwarder> forwards;
  Json list = Json::array();
  std::string text_lines;
  for (const std::string& text : o.ports) {
    const spec::PortForward f = MVM_TRY(parse_port_option(text));
    auto listener = sys::listen_tcp({f.host_ip, f.host_port});
    if (!listener && listener.error().code() == Errc::kBusy)
      return Error(Errc::kBusy,
                   "port " + f.host_ip + ":" + std::to_string(f.host_port) + " is taken")
          .with_hint("choose another host port, or 0 for a free one");
    if (!listener) return std::move(listener).error();
    const std::uint16_t port = MVM_TRY(sys::bound_port(listener->get()));
    MVM_TRY(forwards
                .emplace_back(*vm.client, std::move(*listener),
                              "127.0.0.1:" + std::to_string(f.guest_port))
                .start());
    const std::string from = f.host_ip + ":" + std::to_string(port);
    list.add(Json::object().set("listen", from).set("guest_port", f.guest_port));
    text_lines +=
        from + " -> " + vm.machine.record.name + ":" + std::to_string(f.guest_port) + "\n";
  }
  if (context.json)
    context.print_json(1, Json::object().set("forwards", list));
  else
    context.print(text_lines);
  const sys::UniqueFd signals = MVM_TRY(sys::signal_fd({SIGINT, SIGTERM, SIGHUP}));
  bool told = false;
  MVM_TRY(vm.loop->add(signals.get(), EPOLLIN, [&](std::uint32_t) { told = true; }));
  while (!told && vm.client->connected()) MVM_TRY(vm.loop->run_once(Deadline::none()));
  vm.loop->remove(signals.get());
  if (!told) return Error(Errc::kGuestFault, "machine '" + vm.machine.record.name + "' has ended");
  return 0;
}

}  // namespace

CommandSpec make_forward_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Forwards TCP ports of this host into a running machine until it is interrupted. Connections "
      "reach the guest's loopback, so "
      "the service need not listen on the network and the machine needs none.";
  spec.positionals = {{.name = "VM",
                       .help = "the machine, by name or id",
                       .target = &o->vm,
                       .complete = Complete::kVm}};
  spec.options.push_back({.names = "-p,--publish",
                          .value_name = "[IP:]HOST:GUEST",
                          .help = "host port and guest port; host port 0 takes a free one",
                          .target = &o->ports,
                          .required = true});
  spec.examples = {{"mvmctl forward db -p 5432", "the guest's port 5432 on ours"}};
  spec.run = [o](Context& context) { return forward(context, *o); };
  return spec;
}

}  // namespace mvm::cli
