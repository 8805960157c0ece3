// SPDX-License-Identifier: Apache-2.0
// `mvmctl logs`: what a machine's main process, or its kernel, has printed.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include <array>

#include "cli/output.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"
#include "spec/words.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::cli {
namespace {

struct Options {
  std::string vm;
  bool follow = false;
  bool console = false;
  bool supervisor = false;
  bool engine = false;
  std::string service;
  std::optional<std::uint32_t> lines;
};

std::string file_name(const Options& o) {
  if (!o.service.empty()) return o.service + ".log";
  if (o.supervisor) return "supervisor.log";
  if (o.engine) return "engine.log";
  return o.console ? "console.log" : "output.log";
}

// Where it lies, below the machine's directory.
std::string directory(const store::Layout& layout, const workflow::Machine& machine,
                      const Options& o) {
  return layout.vm_dir(machine.record.id) + (o.service.empty() ? "" : "/services");
}

std::string last_lines(std::string text, std::uint32_t count) {
  std::size_t at = text.size();
  if (at > 0 && text[at - 1] == '\n') --at;
  for (std::uint32_t n = 0; n < count; ++n) {
    at = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
    if (at == std::string::npos) return text;
  }
  return text.substr(at + 1);
}

// One log being read to its end again and again, across the supervisor's rotation of it.
class Follower {
 public:
  Follower(Context& context, std::string path) : context_(context), path_(std::move(path)) {}

  Result<> read_more() {
    if (!fd_) {
      auto fd = sys::open_file(path_, O_RDONLY);
      if (!fd) return {};
      fd_ = std::move(*fd);
    }
    std::array<std::byte, 65536> chunk;
    for (;;) {
      const std::size_t n = MVM_TRY(sys::read_some(fd_.get(), chunk));
      if (n == 0) return {};
      context_.print({reinterpret_cast<const char*>(chunk.data()), n});
    }
  }
  Result<> rotated() {
    MVM_TRY(read_more());
    fd_.reset();
    return read_more();
  }
  void skip_to_end() {
    if (auto fd = sys::open_file(path_, O_RDONLY))
      fd_ = std::move(*fd), ::lseek(fd_.get(), 0, SEEK_END);
  }

 private:
  Context& context_;
  std::string path_;
  sys::UniqueFd fd_;
};

Result<> on_change(int inotify, const std::string& name, Follower& follower) {
  alignas(inotify_event) std::array<std::byte, 4096> buffer;
  const std::size_t n = MVM_TRY(sys::read_some(inotify, buffer));
  bool rotated = false;
  for (std::size_t at = 0; at < n;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
    if ((event->mask & IN_CREATE) != 0 && event->len > 0 && name == event->name) rotated = true;
    at += sizeof(inotify_event) + event->len;
  }
  return rotated ? follower.rotated() : follower.read_more();
}

Result<int> follow(Context& context, const store::Layout& layout, const workflow::Machine& machine,
                   const Options& o, Follower& follower) {
  const std::string name = file_name(o);
  const std::string dir = directory(layout, machine, o);
  const sys::UniqueFd inotify(::inotify_init1(IN_CLOEXEC));
  if (!inotify) return Error::from_errno("inotify_init");
  if (::inotify_add_watch(inotify.get(), dir.c_str(), IN_MODIFY | IN_CREATE) < 0)
    return Error::from_errno("watching " + dir);
  MVM_TRY(follower.read_more());
  auto vm = attach_supervisor(layout, machine.record.id);
  if (!vm) {  // ended already
    MVM_TRY(follower.read_more());
    return 0;
  }
  std::optional<Error> failure;
  MVM_TRY(vm->loop->add(inotify.get(), EPOLLIN, [&](std::uint32_t) {
    if (auto done = on_change(inotify.get(), name, follower); !done) failure = done.error();
  }));
  while (vm->client->connected() && !failure && !context.output_error())
    MVM_TRY(vm->loop->run_once(Deadline::none()));
  vm->loop->remove(inotify.get());
  if (failure) return *failure;
  MVM_TRY(follower.read_more());
  return 0;
}

Result<> check_service(const workflow::Machine& machine, const std::string& service) {
  MVM_TRY(spec::check_name(service, "service"));
  for (const wire::ServiceState& known : machine.status.services) {
    if (known.name == service) return {};
  }
  return Error(Errc::kNotFound,
               "machine '" + machine.record.name + "' has no service '" + service + "'")
      .with_hint("list them with: mvmctl ps " + machine.record.name);
}

Result<int> logs(Context& context, const Options& o) {
  if (context.json && o.follow)
    return Error(Errc::kInvalidArgument, "--json is one document and cannot follow a log")
        .with_hint("leave out -f or --json");
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Machine machine = MVM_TRY(workflow::find_machine(layout, o.vm));
  if (!o.service.empty()) MVM_TRY(check_service(machine, o.service));
  const std::string path = directory(layout, machine, o) + "/" + file_name(o);
  Follower follower(context, path);
  if (context.json || o.lines || !o.follow) {
    std::string text;
    for (const std::string& part : {path + ".1", path}) {
      auto content = sys::read_file(part, gibibytes(1));
      if (content)
        text += *content;
      else if (content.error().code() != Errc::kNotFound)
        return std::move(content).error();
    }
    if (o.lines) text = last_lines(std::move(text), *o.lines);
    if (context.json) {
      context.print_json(1, Json::object().set("name", machine.record.name).set("log", text));
      return 0;
    }
    context.print(text);
    follower.skip_to_end();
  }
  return o.follow ? follow(context, layout, machine, o, follower) : Result<int>(0);
}

}  // namespace

CommandSpec make_logs_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Prints what the main process of a machine has written, or with --console what its kernel "
      "has. Logs are kept within a size: the "
      "older half goes when it is reached.";
  spec.positionals = {{.name = "VM",
                       .help = "the machine, by name or id",
                       .target = &o->vm,
                       .complete = Complete::kVm}};
  spec.options.push_back(
      {.names = "-f,--follow", .help = "go on until the machine ends", .target = &o->follow});
  spec.options.push_back({.names = "-n,--lines",
                          .value_name = "N",
                          .help = "only the last lines",
                          .target = &o->lines});
  spec.options.push_back(
      {.names = "--console", .help = "the kernel's console instead", .target = &o->console});
  spec.options.push_back({.names = "--supervisor",
                          .help = "the supervisor's own log instead",
                          .target = &o->supervisor});
  spec.options.push_back({.names = "--engine",
                          .help = "what the engine has said instead, and at its end has counted",
                          .target = &o->engine});
  spec.options.push_back({.names = "-s,--service",
                          .value_name = "NAME",
                          .help = "what this service of the machine has printed",
                          .target = &o->service});
  spec.examples = {{"mvmctl logs -f web", "follow a machine"},
                   {"mvmctl logs -s db web", "one of its services"},
                   {"mvmctl logs --console web", "why did it not boot"}};
  spec.run = [o](Context& context) { return logs(context, *o); };
  return spec;
}

}  // namespace mvm::cli
