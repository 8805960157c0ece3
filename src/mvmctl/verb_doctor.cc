// SPDX-License-Identifier: Apache-2.0
// `mvmctl doctor` and `mvmctl platform`: what this host can do.
#include <cstdlib>
#include <ctime>
#include <set>

#include "backend/registry/registry.h"
#include "cli/version.h"
#include "mvmctl/shared/host.h"
#include "mvmctl/verbs.h"
#include "platform/doctor.h"
#include "sys/files.h"
#include "sys/io.h"
#include "workflow/config.h"
#include "workflow/machines.h"

extern char** environ;

namespace mvm::cli {
namespace {

constexpr std::size_t kLogTail = 8192;

struct Found {
  platform::HostFacts facts;
  Result<platform::Selection> selection;
};

Found examine(const store::Layout& layout) {
  platform::HostFacts facts = platform::collect_full(collect_options(layout));
  // Who cannot read the configuration learns so from every other command.
  platform::SelectionRequest request;
  if (const auto config = workflow::Config::load(layout)) {
    facts.jail_off = !config->jail();
    request.experimental = config->get("experimental") == "true";
  }
  std::set<std::string> compiled_in;
  for (const std::string_view name : backend::backend_names()) compiled_in.emplace(name);
  auto selection = platform::select_backend(facts, compiled_in, request);
  return {std::move(facts), std::move(selection)};
}

std::string timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

platform::ReportInput report_input(const store::Layout& layout) {
  platform::ReportInput input;
  input.mvm_version = version();
  input.created = timestamp();
  if (const char* home = ::getenv("HOME")) input.home = home;
  for (char** entry = environ; *entry != nullptr; ++entry) input.environment.emplace_back(*entry);
  const auto machines = workflow::list_machines(layout);
  if (!machines) return input;
  for (const workflow::Machine& machine : *machines) {
    for (const char* log : {"supervisor.log", "console.log", "engine.log"}) {
      const auto text = sys::read_file(layout.vm_dir(machine.record.id) + "/" + log, mebibytes(64));
      if (!text) continue;
      input.log_tails["machine " + machine.record.name + " " + log] =
          text->substr(text->size() > kLogTail ? text->size() - kLogTail : 0);
    }
  }
  return input;
}

Result<int> doctor(Context& context, const std::optional<std::string>& report) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const Found found = examine(layout);
  if (report) {
    const std::string text =
        platform::report_json(found.facts, found.selection, report_input(layout));
    MVM_TRY_CTX(sys::write_atomic(*report, text + "\n", 0644), "writing the report");
    context.note("mvmctl: the report is in " + *report + "; read it before you pass it on");
  }
  if (context.json)
    context.print(platform::doctor_json(found.facts, found.selection) + "\n");
  else if (!report)
    context.print(platform::doctor_text(found.facts, found.selection));
  const bool problem = platform::worst(platform::findings(found.facts, found.selection)) ==
                       platform::Severity::kProblem;
  return problem ? 1 : 0;
}

}  // namespace

CommandSpec make_doctor_command() {
  auto report = std::make_shared<std::optional<std::string>>();
  CommandSpec spec;
  spec.description =
      "Examines this host: system, KVM (by running instructions in a virtual machine), engines, "
      "tools, disk and rights; says which backend "
      "would be chosen and why, how strong its boundary is, and what to do about each problem.";
  spec.options = {{.names = "--report",
                   .value_name = "FILE",
                   .help = "write everything that a problem report needs, secrets removed",
                   .target = report.get(),
                   .complete = Complete::kFile}};
  spec.exit_codes = {{0, "machines can run"}, {1, "a problem was found"}};
  spec.run = [report](Context& context) { return doctor(context, *report); };
  return spec;
}

CommandSpec make_platform_command() {
  CommandSpec spec;
  spec.description =
      "Prints which hosts are supported by which backend, with the row of this host marked.";
  spec.run = [](Context& context) -> Result<int> {
    const store::Layout layout = MVM_TRY(store::Layout::from_environment());
    const platform::HostFacts facts = platform::collect_minimal(collect_options(layout));
    context.print(context.json ? platform::matrix_json(facts) + "\n"
                               : platform::matrix_text(facts));
    return 0;
  };
  return spec;
}

}  // namespace mvm::cli
