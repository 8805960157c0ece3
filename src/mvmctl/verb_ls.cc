// SPDX-License-Identifier: Apache-2.0
// `mvmctl ls` and `mvmctl inspect`: which machines there are, and all about one.
#include "cli/output.h"
#include "mvmctl/verbs.h"
#include "spec/vm_spec_json.h"
#include "workflow/machines.h"

namespace mvm::cli {
namespace {

Json machine_json(const workflow::Machine& m) {
  return Json::object()
      .set("id", m.record.id)
      .set("name", m.record.name)
      .set("state", m.state)
      .set("image", m.record.image_ref)
      .set("image_digest", m.record.image_digest)
      .set("backend", m.record.backend)
      .set("isolation", m.record.isolation)
      .set("tier", m.record.isolation)
      .set("created_ms", m.record.created_ms)
      .set("supervisor_pid", m.alive ? Json(m.status.supervisor_pid) : Json())
      .set("engine_pid", m.alive ? Json(m.status.engine_pid) : Json())
      .set("ready_ms", m.status.ready_ms)
      .set("restarts", m.status.restarts)
      .set("exit_code", m.status.exit_code)
      .set("message", m.status.message);
}

Json services_json(const workflow::Machine& m) {
  Json out = Json::array();
  for (const wire::ServiceState& s : m.status.services) {
    out.add(Json::object()
                .set("name", s.name)
                .set("phase", supervisor::service_phase_name(s.phase))
                .set("health", supervisor::health_name(s.health))
                .set("pid", std::int64_t{s.pid})
                .set("restarts", s.restarts)
                .set("message", s.message));
  }
  return out;
}

Result<int> services(Context& context, const std::string& name) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Machine m = MVM_TRY(workflow::find_machine(layout, name));
  if (context.json) {
    context.print_json(1, machine_json(m).set("services", services_json(m)));
    return 0;
  }
  Table table({"service", "phase", "health", "pid", "restarts", "message"});
  for (const wire::ServiceState& s : m.status.services) {
    if (context.quiet) context.print(s.name + "\n");
    table.add({s.name, std::string(supervisor::service_phase_name(s.phase)),
               std::string(supervisor::health_name(s.health)),
               s.pid == 0 ? "" : std::to_string(s.pid), std::to_string(s.restarts), s.message});
  }
  if (!context.quiet) context.print(table.text());
  return 0;
}

Result<int> list(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const auto machines = MVM_TRY(workflow::list_machines(layout));
  if (context.json) {
    Json array = Json::array();
    for (const auto& m : machines) array.add(machine_json(m));
    context.print_json(1, Json::object().set("machines", array));
    return 0;
  }
  if (context.quiet) {
    for (const auto& m : machines) context.print(m.record.name + "\n");
    return 0;
  }
  Table table({"name", "state", "image", "backend", "isolation", "age", "message"});
  for (const auto& m : machines) {
    table.add({m.record.name, m.state, m.record.image_ref, m.record.backend, m.record.isolation,
               age(m.record.created_ms), printable(m.status.message)});
  }
  context.print(table.text());
  return 0;
}

Result<int> inspect(Context& context, const std::string& name) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Machine m = MVM_TRY(workflow::find_machine(layout, name));
  Json out = machine_json(m);
  out.set("started_ms", m.status.started_ms)
      .set("ended_ms", m.status.ended_ms)
      .set("hint", m.status.hint)
      .set("services", services_json(m));
  out.set("spec", MVM_TRY(Json::parse(m.record.spec_json)));
  context.print_json(1, out);
  return 0;
}

}  // namespace

CommandSpec make_ls_command() {
  auto name = std::make_shared<std::string>();
  CommandSpec spec;
  spec.description =
      "Lists machines, oldest first. With --quiet only their names.\n\n"
      "With a machine: its services, whether they run and are healthy, and how they ended last.";
  spec.positionals = {{.name = "VM",
                       .help = "the machine whose services to list, by name or id",
                       .target = name.get(),
                       .required = false,
                       .complete = Complete::kVm}};
  spec.examples = {{"mvmctl ls --json", "for programs"},
                   {"mvmctl ps web", "the services of a machine"}};
  spec.run = [name](Context& context) {
    return name->empty() ? list(context) : services(context, *name);
  };
  return spec;
}

CommandSpec make_inspect_command() {
  auto name = std::make_shared<std::string>();
  CommandSpec spec;
  spec.description = "Prints everything that is known about a machine, as JSON.";
  spec.positionals = {{.name = "VM",
                       .help = "the machine, by name or id",
                       .target = name.get(),
                       .complete = Complete::kVm}};
  spec.run = [name](Context& context) { return inspect(context, *name); };
  return spec;
}

}  // namespace mvm::cli
