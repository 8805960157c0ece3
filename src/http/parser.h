// SPDX-License-Identifier: Apache-2.0
// Bytes of a stream to HTTP/1.1 messages, one after the other, with every size limited.
//
// The grammar is libhttp-parser's; this class adds the limits and gathers the parts.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "http/message.h"

namespace mvm::http {

struct ParserLimits {
  std::size_t head_bytes = 16 * 1024;  // request line and headers, trailers included
  std::size_t body_bytes = 51200;
};

class Parser {
 public:
  enum class Kind { kRequest, kResponse };

  Parser(Kind kind, ParserLimits limits);
  Parser(Parser&&) noexcept;
  Parser& operator=(Parser&&) noexcept;
  ~Parser();

  // Takes bytes up to the end of one message and returns how many; with done() the rest is to be
  // fed after take_request() or take_response(). After an error the stream cannot be read further.
  // Errors: kInvalidArgument for what is not HTTP, kLimit for what is too large.
  Result<std::size_t> feed(std::string_view bytes);
  // The stream has ended. Errors: kInvalidArgument in the middle of a message. A response without
  // a length ends here.
  Result<> finish();

  // A whole message is there.
  bool done() const;
  // Some of a message, but not all, is there.
  bool in_message() const;
  // The head is there, and the client waits for "100 Continue" before it sends the body. Told once.
  bool take_expects_continue();

  Request take_request();
  Response take_response();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mvm::http
