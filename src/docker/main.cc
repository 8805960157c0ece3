// SPDX-License-Identifier: Apache-2.0
// mvm-docker: the engine of the docker backend, and the one part of mvm that speaks to a Docker
// daemon.
//
// `mvm-docker run ORDER` is a machine: it starts the container and ends with it; on descriptor 3 it
// is told "pause" or "resume", a line each, and answers "ok" or "error TEXT"; SIGTERM removes the
// container. What the container says goes to descriptor 5. Errors go to stderr.
// `mvm-docker import DIGEST IMAGE` gives the daemon an image that it does not have yet;
// `mvm-docker sweep LOCKS` removes the containers of a home that nobody looks after any more;
// `mvm-docker prune [--dry-run]` the images, and prints {"images": N, "bytes": N}; `mvm-docker
// version` prints the version of the daemon.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "docker/container.h"
#include "docker/engine_api.h"
#include "platform/docker_socket.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/signals.h"

namespace mvm::docker {
namespace {

constexpr int kControl = 3;
constexpr int kConsole = 5;
// As long as a daemon may think of it.
constexpr Millis kForever{3'600'000};

class Running {
 public:
  Running(EngineApi api, std::string id) : api_(std::move(api)), id_(std::move(id)) {}

  // Starts the container; until it has ended or SIGTERM has come.
  Result<> run(const sys::UniqueFd& signals, const std::string& locks) {
    MVM_TRY(sys::set_nonblocking(kControl, true));
    // Before the start: one that ends at once is gone at once.
    follow();
    MVM_TRY(api_.await_begun());
    MVM_TRY(start(api_, id_));
    const sys::Child sweeper = start_sweeper(locks);
    while (!over_) {
      MVM_TRY(api_.poll(std::array{signals.get(), kControl}, kForever));
      if (sys::read_signal(signals.get()) || !MVM_TRY(obey())) return remove(api_, id_);
    }
    return *failure_;
  }

 private:
  // What others have left goes meanwhile, by a process that nobody waits for.
  static sys::Child start_sweeper(const std::string& locks) {
    sys::Command command;
    command.argv = {"/proc/self/exe", "sweep", locks};
    command.die_with_parent = true;
    auto child = sys::spawn(command);
    return child ? std::move(*child) : sys::Child();
  }

  void follow() {
    const std::string container = "/containers/" + id_;
    api_.stream(
        "POST", container + "/wait?condition=removed",
        [this](std::string_view text) { ended_with_ += text; },
        [this](const Result<int>& status) { on_end(status); });
    api_.stream(
        "POST", container + "/attach?stream=1&stdout=1&stderr=1",
        [this](std::string_view bytes) { (void)sys::write_full(kConsole, log_.feed(bytes)); },
        [](const Result<int>&) {});
  }

  // One whose guest is done has been told to end before it does.
  void on_end(const Result<int>& status) {
    over_ = true;
    if (!status) {
      Error gone = status.error();
      failure_ = std::move(gone).with_context("the Docker daemon has gone away under the machine");
    } else if (*status != 200) {
      failure_ = failure("waiting for the container", {*status, ended_with_});
    } else {
      const auto told = nlohmann::json::parse(ended_with_, nullptr, false);
      const bool has = told.is_object() && told.contains("StatusCode");
      failure_ = Error(Errc::kIo, "the container was ended from outside" +
                                      (has ? ", with code " + told["StatusCode"].dump() : ""));
    }
  }

  // Whether somebody is there still.
  Result<bool> obey() {
    std::array<std::byte, 256> buffer;
    for (;;) {
      const auto n = sys::read_some(kControl, buffer);
      if (n && *n == 0) return false;
      if (!n) break;
      lines_.append(reinterpret_cast<const char*>(buffer.data()), *n);
    }
    for (std::size_t end = 0; (end = lines_.find('\n')) != std::string::npos;) {
      const bool hold = lines_.starts_with("pause");
      lines_.erase(0, end + 1);
      const Result<> done = hold ? pause(api_, id_) : resume(api_, id_);
      MVM_TRY(sys::write_full(kControl, done ? "ok\n" : "error " + done.error().text() + "\n"));
    }
    return true;
  }

  EngineApi api_;
  std::string id_;
  LogText log_;
  std::string lines_;
  std::string ended_with_;
  bool over_ = false;
  std::optional<Error> failure_;
};

Result<EngineApi> connect() { return EngineApi::connect(MVM_TRY(platform::docker_socket())); }

Result<> run(const std::string& file) {
  // Before anything is made: who ends us finds us cleaning up.
  const sys::UniqueFd signals = MVM_TRY(sys::signal_fd({SIGTERM}));
  ::signal(SIGPIPE, SIG_IGN);
  const Order order = MVM_TRY(parse_order(MVM_TRY(sys::read_file(file, mebibytes(1)))));
  EngineApi api = MVM_TRY(connect());
  std::string id = MVM_TRY(create(api, order));
  const std::filesystem::path machine = std::filesystem::path(order.lock).parent_path();
  return Running(std::move(api), std::move(id)).run(signals, machine.parent_path().string());
}

Result<> import_image(const std::string& digest, const std::string& path) {
  ::signal(SIGPIPE, SIG_IGN);
  EngineApi api = MVM_TRY(connect());
  return need_image(api, digest, path);
}

Result<> sweep_all(const std::string& locks) {
  EngineApi api = MVM_TRY(connect());
  return sweep(api, locks);
}

Result<> prune_images(bool dry_run) {
  EngineApi api = MVM_TRY(connect());
  const Pruned pruned = MVM_TRY(prune(api, dry_run));
  const nlohmann::json out = {{"images", pruned.images}, {"bytes", pruned.bytes}};
  return sys::write_full(STDOUT_FILENO, out.dump() + "\n");
}

Result<> print_version() {
  EngineApi api = MVM_TRY(connect());
  const Reply reply = MVM_TRY(api.call("GET", "/version"));
  if (!reply.ok()) return failure("asking for its version", reply);
  const auto version = nlohmann::json::parse(reply.body, nullptr, false);
  return sys::write_full(STDOUT_FILENO, version.value("Version", "") + "\n");
}

int main_of(const std::vector<std::string>& words) {
  const auto is = [&](std::size_t count, const char* verb) {
    return words.size() == count && words[0] == verb;
  };
  Result<> done;
  if (is(2, "run")) {
    done = run(words[1]);
  } else if (is(3, "import")) {
    done = import_image(words[1], words[2]);
  } else if (is(2, "sweep")) {
    done = sweep_all(words[1]);
  } else if (is(1, "prune") || (is(2, "prune") && words[1] == "--dry-run")) {
    done = prune_images(words.size() == 2);
  } else if (is(1, "version")) {
    done = print_version();
  } else {
    std::fputs(
        "usage: mvm-docker import DIGEST IMAGE|run ORDER|sweep LOCKS|prune [--dry-run]|version\n",
        stderr);
    return 64;
  }
  if (done) return 0;
  const Error& error = done.error();
  std::fprintf(stderr, "%s\n", error.text().c_str());
  if (!error.hint().empty()) std::fprintf(stderr, "  hint: %s\n", error.hint().c_str());
  return 1;
}

}  // namespace
}  // namespace mvm::docker

int main(int argc, char** argv) { return mvm::docker::main_of({argv + 1, argv + argc}); }
