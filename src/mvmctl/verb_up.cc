// SPDX-License-Identifier: Apache-2.0
// `mvmctl up`: a machine that stays.
#include "mvmctl/project/booted_project.h"
#include "mvmctl/shared/create_events.h"
#include "mvmctl/shared/machine_options.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"

namespace mvm::cli {
namespace {

struct Options {
  MachineOptions machine;
  bool detach = true;
  bool no_wait = false;
};

Result<int> up(Context& context, const Options& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Config config = MVM_TRY(workflow::Config::load(layout));
  workflow::CreateRequest request = MVM_TRY(
      to_request(o.machine, config, MVM_TRY(booted_project(context, layout, o.machine, config))));
  request.main_process = true;
  CreateEvents events(context);
  workflow::Created created = MVM_TRY(workflow::create(layout, request, events.get()));
  if (!o.no_wait) {
    sys::EventLoop loop = MVM_TRY(sys::EventLoop::create());
    auto client = MVM_TRY(agent_client::Client::attach(loop, std::move(created.connection)));
    events.step("starting " + created.vm.name);
    MVM_TRY(wait_started(*client, created.vm.name));
  }
  events.finish();
  print_created(context, created.vm);
  return 0;
}

}  // namespace

CommandSpec make_up_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Makes a machine from IMAGE, starts it in the background and prints its name once it is "
      "ready.\n\n"
      "The command, or the image's ENTRYPOINT and CMD, is its main process: the machine stops when "
      "it ends. Without any, or with "
      "--idle, the machine stays up until it is stopped.";
  add_machine_options(spec, o->machine);
  spec.options.push_back({.names = "-d,--detach",
                          .help = "return when the machine is ready (always the case)",
                          .target = &o->detach});
  spec.options.push_back({.names = "--no-wait",
                          .help = "return at once, without waiting for the guest",
                          .target = &o->no_wait});
  spec.options.push_back({.names = "--idle",
                          .help = "run no main process and no services, whatever the image says",
                          .target = &o->machine.request.idle});
  spec.options.push_back({.names = "--restart",
                          .value_name = "POLICY",
                          .help = "no, on-failure or on-failure:N",
                          .target = &o->machine.restart});
  spec.guest_command = {.target = &o->machine.request.command,
                        .help = "main process of the machine"};
  spec.examples = {
      {"mvmctl up --name web -p 8080:80 -- httpd -f -p 80", "a web server in a machine of its own"},
      {"mvmctl up --name box --ttl 1h", "an idle machine for an hour"}};
  spec.run = [o](Context& context) { return up(context, *o); };
  return spec;
}

}  // namespace mvm::cli
