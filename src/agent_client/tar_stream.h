// SPDX-License-Identifier: Apache-2.0
// The host's half of `mvmctl cp`: files of this host to a tar stream and back, in a child process
// that is joined to the agent stream by a pipe. Nothing is buffered, so a copy may have any size.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "sys/process.h"
#include "sys/unique_fd.h"

namespace mvm::agent_client {

// A child that reads or writes a tar stream at its end of a pipe.
class TarChild {
 public:
  TarChild(sys::Child child, sys::UniqueFd pipe, sys::UniqueFd errors)
      : child_(std::move(child)), pipe_(std::move(pipe)), errors_(std::move(errors)) {}
  // Our end of the pipe; closed by close_pipe() when there is nothing more to say.
  int pipe() const { return pipe_.get(); }
  void close_pipe() { pipe_.reset(); }
  // Waits for its end. Errors: what it complained about.
  Result<> finish();

 private:
  sys::Child child_;
  sys::UniqueFd pipe_;
  sys::UniqueFd errors_;
};

struct PackRequest {
  std::string path;         // file or directory of this host
  std::string member_name;  // what it is called in the stream; "." for a directory's content alone
  bool keep_owner = false;  // otherwise everything belongs to root
};
// Errors: kNotFound before anything is started.
Result<TarChild> pack(const PackRequest& request);

struct UnpackRequest {
  std::string directory;  // existing; nothing is written outside it, whatever the guest sends
  std::string
      rename_to;  // replaces the first component of every member; empty: that component is dropped
};
Result<TarChild> unpack(const UnpackRequest& request);

// Which part of a member name stays, or nothing when the name is not acceptable (absolute, "..",
// wrong root). Pure. Shape: ("etc/passwd", "copy") → "copy/passwd"; ("etc/passwd", "") → "passwd";
// ("etc", "") → "."
std::optional<std::string> rebase_member(std::string_view member, std::string_view rename_to);

}  // namespace mvm::agent_client
