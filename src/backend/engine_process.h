// SPDX-License-Identifier: Apache-2.0
// The part that engines share: a child process with its control, agent and console streams.
#pragma once

#include <string>

#include "backend/backend.h"

namespace mvm::backend {

struct EngineProcess {
  sys::Child child;
  sys::Child network;          // the plan's network process, where it has one
  sys::UniqueFd network_link;  // whose closing ends a network of namespace and tap device
  sys::UniqueFd control;       // our ends of the socket pairs
  sys::UniqueFd agent;
  sys::UniqueFd console;
  sys::UniqueFd exchange;
  sys::UniqueFd errors;  // the engine's stdout and stderr, non-blocking
};

// The answer of an engine that cannot write snapshots, or be started from one.
Error no_snapshots(std::string_view backend);

// The memory behind an exchange disk: a file without a name.
Result<sys::UniqueFd> make_exchange();

// Makes the plan's directories and links, and what it names accessible to the plan's user. A file
// of another file system cannot be linked and is copied; one to be written is then an error.
// Errors: kPermission: a file that this user may not read, and that may not be opened to it.
Result<> prepare_files(const LaunchPlan& plan);
// The file becomes this user's, uid and gid; 0: it stays as it is.
Result<> give(const std::string& path, std::uint32_t user);

// Starts the plan's program, and its network process, so that they die with us, with every stream
// connected. Errors: of a network namespace also what its process says.
Result<EngineProcess> start_engine(const LaunchPlan& plan);

// Collects what an engine writes on stderr, keeping the end of it.
class ErrorTail {
 public:
  static constexpr std::size_t kKeep = 8192;
  using Listener = std::function<void(std::span<const std::byte>)>;
  ErrorTail() = default;
  // Every byte goes there too, if it is not empty.
  explicit ErrorTail(Listener listener) : listener_(std::move(listener)) {}
  // Reads what is there. False at end of file.
  bool drain(int fd);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  Listener listener_;
};

}  // namespace mvm::backend
