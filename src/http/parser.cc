// SPDX-License-Identifier: Apache-2.0
#include "http/parser.h"

#include <http_parser.h>
#include <strings.h>

#include <optional>

namespace mvm::http {
namespace {

constexpr std::size_t kHeaderExtra = 4;  // colon, blank and line end

}  // namespace

struct Parser::State {
  http_parser parser{};
  ParserLimits limits;
  std::string target;
  std::vector<Header> headers;
  std::string body;
  std::size_t head_size = 0;
  bool begun = false;
  bool in_value = false;
  bool done = false;
  bool keep_alive = true;
  bool expects_continue = false;
  std::optional<Error> error;

  void start_message() {
    target.clear();
    headers.clear();
    body.clear();
    head_size = 0;
    begun = in_value = done = expects_continue = false;
  }

  int fail(Errc code, std::string message) {
    error.emplace(code, std::move(message));
    return -1;  // 1 would only mean "no body" after the headers
  }

  int count_head(std::size_t length) {
    head_size += length;
    if (head_size <= limits.head_bytes) return 0;
    return fail(Errc::kLimit, "the headers are larger than the limit of " +
                                  std::to_string(limits.head_bytes) + " bytes");
  }

  int refuse_body(std::uint64_t size) {
    return fail(Errc::kLimit, "Request payload with size " + std::to_string(size) +
                                  " is larger than the limit of " +
                                  std::to_string(limits.body_bytes) + " allowed by server.");
  }

  int add_field(std::string_view text) {
    if (headers.empty() || in_value) {
      headers.emplace_back();
      head_size += kHeaderExtra;
    }
    in_value = false;
    headers.back().name.append(text);
    return count_head(text.size());
  }

  int add_value(std::string_view text) {
    in_value = true;
    if (!headers.empty()) headers.back().value.append(text);
    return count_head(text.size());
  }

  int add_body(std::string_view text) {
    if (text.size() > limits.body_bytes - body.size())
      return refuse_body(body.size() + text.size());
    body.append(text);
    return 0;
  }

  int head_complete() {
    if (parser.http_major != 1) return fail(Errc::kInvalidArgument, "Unsupported HTTP version.");
    keep_alive = http_should_keep_alive(&parser) != 0;
    // An offer to speak another protocol is not taken up (RFC 9110, 7.8).
    parser.upgrade = 0;
    const bool has_length = parser.content_length != UINT64_MAX;
    if (has_length && parser.content_length > limits.body_bytes)
      return refuse_body(parser.content_length);
    expects_continue =
        ::strcasecmp(std::string(header(headers, "Expect")).c_str(), "100-continue") == 0;
    return 0;
  }

  int message_complete() {
    expects_continue = false;
    // A provisional response (1xx) is not the answer.
    if (parser.type == HTTP_RESPONSE && parser.status_code < 200) {
      start_message();
      return 0;
    }
    done = true;
    http_parser_pause(&parser, 1);
    return 0;
  }
};

namespace {

// http_parser calls these; each hands over to the State that `data` points to.
template <class State, int (State::*Method)()>
int on_event(http_parser* parser) {
  return (static_cast<State*>(parser->data)->*Method)();
}

template <class State, int (State::*Method)(std::string_view)>
int on_bytes(http_parser* parser, const char* bytes, std::size_t length) {
  return (static_cast<State*>(parser->data)->*Method)(std::string_view(bytes, length));
}

template <class State>
http_parser_settings settings() {
  http_parser_settings out{};
  out.on_message_begin = [](http_parser* parser) {
    auto* state = static_cast<State*>(parser->data);
    state->start_message();
    state->begun = true;
    return 0;
  };
  out.on_url = [](http_parser* parser, const char* bytes, std::size_t length) {
    auto* state = static_cast<State*>(parser->data);
    state->target.append(bytes, length);
    return state->count_head(length);
  };
  out.on_header_field = on_bytes<State, &State::add_field>;
  out.on_header_value = on_bytes<State, &State::add_value>;
  out.on_headers_complete = on_event<State, &State::head_complete>;
  out.on_body = on_bytes<State, &State::add_body>;
  out.on_message_complete = on_event<State, &State::message_complete>;
  return out;
}

}  // namespace

Parser::Parser(Kind kind, ParserLimits limits) : state_(std::make_unique<State>()) {
  state_->limits = limits;
  http_parser_init(&state_->parser, kind == Kind::kRequest ? HTTP_REQUEST : HTTP_RESPONSE);
  state_->parser.data = state_.get();
}

Parser::Parser(Parser&&) noexcept = default;
Parser& Parser::operator=(Parser&&) noexcept = default;
Parser::~Parser() = default;

Result<std::size_t> Parser::feed(std::string_view bytes) {
  State& state = *state_;
  if (state.error) return *state.error;
  if (state.done || bytes.empty()) return std::size_t{0};
  const http_parser_settings calls = settings<State>();
  const std::size_t used = http_parser_execute(&state.parser, &calls, bytes.data(), bytes.size());
  if (state.error) return *state.error;
  const http_errno code = HTTP_PARSER_ERRNO(&state.parser);
  if (code == HPE_PAUSED) {
    http_parser_pause(&state.parser, 0);
    return used;
  }
  if (code == HPE_HEADER_OVERFLOW)
    state.fail(Errc::kLimit, "the headers are larger than the parser's limit");
  else if (code != HPE_OK)
    state.fail(Errc::kInvalidArgument,
               std::string("Invalid request: ") + http_errno_description(code));
  if (state.error) return *state.error;
  return used;
}

Result<> Parser::finish() {
  State& state = *state_;
  if (state.error) return *state.error;
  if (state.done) return {};
  const http_parser_settings calls = settings<State>();
  http_parser_execute(&state.parser, &calls, nullptr, 0);
  if (state.error) return *state.error;
  if (state.done || !state.begun) return {};
  state.fail(Errc::kInvalidArgument, "the stream ended in the middle of a message");
  return *state.error;
}

bool Parser::done() const { return state_->done; }

bool Parser::in_message() const { return state_->begun && !state_->done; }

bool Parser::take_expects_continue() { return std::exchange(state_->expects_continue, false); }

Request Parser::take_request() {
  State& state = *state_;
  Request out;
  out.method = http_method_str(static_cast<http_method>(state.parser.method));
  out.target = std::move(state.target);
  out.headers = std::move(state.headers);
  out.body = std::move(state.body);
  out.keep_alive = state.keep_alive;
  state.start_message();
  return out;
}

Response Parser::take_response() {
  State& state = *state_;
  Response out;
  out.status = state.parser.status_code;
  out.headers = std::move(state.headers);
  out.body = std::move(state.body);
  out.content_type = header(out.headers, "Content-Type");
  out.keep_alive = state.keep_alive;
  state.start_message();
  return out;
}

}  // namespace mvm::http
