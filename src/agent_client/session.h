// SPDX-License-Identifier: Apache-2.0
// One stream joined to descriptors of this process: what `exec`, `run`, `console` and `cp` do once
// connected.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "agent_client/client.h"
#include "core/units.h"

namespace mvm::agent_client {

struct SessionIo {
  int input = -1;   // -1: the guest's process gets an empty stdin
  int output = -1;  // -1: dropped
  int errors = -1;
  // Instead of `output` and `errors`: collected here; what lies beyond kMostText bytes is dropped.
  std::string* output_text = nullptr;
  std::string* error_text = nullptr;
};
constexpr std::size_t kMostText = 16 * 1024 * 1024;

struct SessionOptions {
  bool raw_terminal = false;  // put `input` into raw mode and follow its window size
  bool forward_signals =
      false;  // INT, TERM, HUP, QUIT, USR1, USR2 of ours go to the guest's process
  // A guest that does not answer its own timeout is given up on after this.
  std::optional<Millis> give_up;
  std::function<void(std::uint32_t pid)> on_started;
  std::function<void(std::uint64_t bytes)> on_progress;  // bytes moved so far, either way
};

// Runs the request to its end, pumping bytes. When the reader of our output goes away the stream is
// cancelled and the result is that of a process ended by SIGPIPE. Errors: those of the connection;
// how the process ended is the result.
Result<wire::Closed> run_session(Client& client, const wire::Open& request, const SessionIo& io,
                                 const SessionOptions& options = {});

// The same for requests that answer with data: collects stdout.
// Errors: a non-zero end becomes an error with the guest's own words; kLimit over `limit`.
Result<std::string> collect(Client& client, const wire::Open& request, Bytes limit = mebibytes(64));

// A file request that failed, as an error: the guest's message with a code that fits it.
Error closed_error(const wire::Closed& closed, const std::string& guest_words);

}  // namespace mvm::agent_client
