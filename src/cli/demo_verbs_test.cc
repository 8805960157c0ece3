// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_verbs_test.h"

#include <array>
#include <cstdlib>

#include "cli/dispatch.h"
#include "cli/own_verbs.h"
#include "sys/io.h"

namespace mvm::cli {
namespace {

CommandSpec make_owned_demo() {
  auto o = std::make_shared<DemoOptions>();
  CommandSpec spec = make_demo(*o);
  spec.run = [o](Context& context) -> Result<int> {
    context.print("demo " + o->image + "\n");
    return 7;
  };
  return spec;
}

CommandSpec make_cp() {
  struct Options {
    std::vector<std::string> from;
    std::string to;
  };
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.positionals = {
      {.name = "FROM", .help = "what to copy", .target = &o->from, .complete = Complete::kFile},
      {.name = "TO", .help = "where to", .target = &o->to, .complete = Complete::kVm}};
  spec.run = [o](Context& context) -> Result<int> {
    for (const std::string& from : o->from) context.print(from + " > " + o->to + "\n");
    return 0;
  };
  return spec;
}

CommandSpec make_image() {
  auto ref = std::make_shared<std::string>();
  CommandSpec pull;
  pull.name = "pull";
  pull.summary = "fetch an image";
  pull.positionals = {{.name = "IMAGE",
                       .help = "an image reference",
                       .target = ref.get(),
                       .complete = Complete::kImage}};
  pull.run = [ref](Context& context) -> Result<int> {
    context.print(std::string(context.json ? "json " : "") + "pull " + *ref + "\n");
    return 0;
  };
  CommandSpec list;
  list.name = "ls";
  list.aliases = {"list"};
  list.summary = "list images";
  list.run = [](Context&) -> Result<int> { return 0; };
  CommandSpec spec;
  spec.description = "Keeps images.";
  spec.subcommands = {pull, list};
  return spec;
}

CommandSpec make_fail() {
  CommandSpec spec;
  spec.run = [](Context&) -> Result<int> {
    return Error(Errc::kNoSpace, "write /x: No space left on device")
        .with_hint("free some space, as 'mvmctl cache prune' does")
        .with_context("making the scratch disk")
        .with_context("starting vm web");
  };
  return spec;
}

}  // namespace

CommandSpec make_demo(DemoOptions& o) {
  CommandSpec spec;
  spec.summary = "show every kind of option";
  spec.description =
      "Boots a machine from IMAGE, runs COMMAND in it, and ends with the command's exit code. The "
      "machine is removed afterwards.\n\nA second paragraph:\n\n  kept as it is";
  spec.options = {
      {.names = "-e,--env", .value_name = "NAME=VALUE", .help = "set a variable", .target = &o.env},
      {.names = "-m,--memory", .value_name = "SIZE", .help = "guest memory", .target = &o.memory},
      {.names = "--disk",
       .value_name = "SIZE",
       .help = "size of the scratch disk",
       .target = &o.disk},
      {.names = "--timeout",
       .value_name = "TIME",
       .help = "how long to wait",
       .target = &o.timeout},
      {.names = "--ttl",
       .value_name = "TIME",
       .help = "life time of the machine; when it has passed, the machine is "
               "stopped, whatever it does",
       .target = &o.ttl},
      {.names = "--cpus", .value_name = "N", .help = "virtual CPUs", .target = &o.cpus},
      {.names = "--pids", .value_name = "N", .help = "limit of processes", .target = &o.pids},
      {.names = "--network",
       .value_name = "MODE",
       .help = "network",
       .target = &o.network,
       .choices = {"user", "none"}},
      {.names = "--name",
       .value_name = "NAME",
       .help = "name of the machine",
       .target = &o.name,
       .complete = Complete::kVm},
      {.names = "-i,--interactive", .help = "pass standard input on", .target = &o.interactive},
      {.names = "-t,--tty", .help = "give the command a terminal", .target = &o.tty},
      {.names = "--secret", .help = "not shown", .target = &o.tty, .hidden = true},
  };
  spec.positionals = {{.name = "IMAGE",
                       .help = "an image reference",
                       .target = &o.image,
                       .required = false,
                       .complete = Complete::kImage}};
  spec.guest_command = {.target = &o.command,
                        .help = "what to run instead of the image's own command"};
  spec.examples = {{"mvmctl demo -- uname -a", "boot the default image and run one command"}};
  spec.exit_codes = {{3, "the demo's own"}};
  return spec;
}

std::span<const VerbEntry> demo_verbs() {
  static constexpr std::array kVerbs = {
      VerbEntry{"demo", "Machines", "show every kind of option", make_owned_demo, "show"},
      VerbEntry{"cp", "Machines", "copy files", make_cp},
      VerbEntry{"image", "Images", "fetch and list images", make_image},
      VerbEntry{"fail", "Images", "fail in three layers", make_fail},
      VerbEntry{"completion", "This program", "print a completion script", make_completion_command},
      VerbEntry{"help", "This program", "explain a verb", make_help_command},
      VerbEntry{"version", "This program", "print the version", make_version_command},
      VerbEntry{"__man", "", "write the man pages", make_man_command},
  };
  return kVerbs;
}

Outcome call(const std::vector<std::string>& args) {
  const sys::UniqueFd out = recorder();
  const sys::UniqueFd err = recorder();
  Context context(demo_verbs(), out.get(), err.get());
  const int code = dispatch(context, args);
  return {code, recorded(out), recorded(err)};
}

std::string golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(MVM_SOURCE_DIR) + "/tests/golden/cli/" + name;
  const char* accept = std::getenv("MVM_ACCEPT");
  if (accept != nullptr && std::string_view(accept) == "1") {
    // A file that cannot be written shows as a difference below.
    static_cast<void>(sys::write_file(path, text, 0644).has_value());
  }
  const auto stored = sys::read_file(path);
  return stored ? *stored : "no " + path + ": run the test with MVM_ACCEPT=1";
}

sys::UniqueFd recorder() { return std::move(sys::memory_file("recorder", "").value()); }

std::string recorded(const sys::UniqueFd& fd) {
  ::lseek(fd.get(), 0, SEEK_SET);
  return sys::read_fd(fd.get()).value();
}

}  // namespace mvm::cli
