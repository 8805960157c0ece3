// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/mmds.h"

#include <charconv>
#include <mutex>
#include <nlohmann/json.hpp>

#include "vmm/mmds/http_request.h"
#include "vmm/mmds/token.h"

namespace mvm::vmm {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 128;
constexpr std::string_view kTokenPath = "/latest/api/token";

// A header has our name and EC2's.
struct HeaderNames {
  const char* ours;
  const char* ec2;
};
constexpr HeaderNames kTokenHeader = {"X-metadata-token", "X-aws-ec2-metadata-token"};
constexpr HeaderNames kTtlHeader = {"X-metadata-token-ttl-seconds",
                                    "X-aws-ec2-metadata-token-ttl-seconds"};

struct FoundHeader {
  const char* name = nullptr;
  const std::string* value = nullptr;
};

FoundHeader find(const HttpRequest& request, const HeaderNames& names) {
  for (const char* name : {names.ours, names.ec2}) {
    if (const std::string* value = request.header(name)) return {name, value};
  }
  return {};
}

struct Reply {
  int status = 200;
  std::string body;
  const char* type = "text/plain";
  std::string extra_headers;
};

Reply refusal(int status, std::string why) { return {status, std::move(why), "text/plain", ""}; }

const char* reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Not Implemented";
  }
}

std::string render(const Reply& reply, int minor_version, bool close, bool with_body) {
  std::string out = "HTTP/1." + std::to_string(minor_version) + " " + std::to_string(reply.status) +
                    " " + reason(reply.status) +
                    "\r\nServer: mvm-vmm\r\nConnection: " + (close ? "close" : "keep-alive") +
                    "\r\n" + reply.extra_headers + "Content-Type: " + reply.type +
                    "\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n";
  if (with_body) out += reply.body;
  return out;
}

Result<json> parse_document(std::string_view text) {
  bool too_deep = false;
  json out = json::parse(
      text,
      [&too_deep](int depth, json::parse_event_t, json&) {
        too_deep = too_deep || depth > kMaxDepth;
        return !too_deep;
      },
      false);
  if (too_deep)
    return Error(Errc::kInvalidArgument,
                 "metadata is nested deeper than " + std::to_string(kMaxDepth));
  if (out.is_discarded()) return Error(Errc::kInvalidArgument, "metadata is not JSON");
  return out;
}

// A lone surrogate or broken UTF-8 in a string must not end the process.
std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// The place in the document that a path names: doubled and trailing slashes do not count.
std::string pointer_of(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || !out.ends_with('/')) out += c;
  }
  if (out.ends_with('/')) out.pop_back();
  return out;
}

const json* find(const json& document, const std::string& pointer) {
  try {
    return &document.at(json::json_pointer(pointer));
  } catch (const json::exception&) {
    return nullptr;
  }
}

std::optional<std::string> imds_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return std::nullopt;
  std::string out;
  for (const auto& [key, inner] : value.items()) {
    if (!out.empty()) out += '\n';
    out += key;
    if (inner.is_object()) out += '/';
  }
  return out;
}

bool accepts_json(const HttpRequest& request) {
  const std::string* accept = request.header("Accept");
  return accept != nullptr && accept->find("application/json") != std::string::npos;
}

}  // namespace

struct Mmds::State {
  explicit State(Bytes size_limit) : limit(size_limit) {}

  Result<> store(json next) {
    if (text_of(next).size() > limit.count)
      return Error(Errc::kLimit,
                   "metadata is larger than " + std::to_string(limit.count) + " bytes");
    document = std::move(next);
    initialized = true;
    return {};
  }

  Reply reply_to(const HttpRequest& request, Clock::time_point now) {
    if (request.path.empty()) return refusal(400, "the request's target has no path");
    if (request.method == HttpRequest::Method::kGet) return reply_to_get(request, now);
    if (request.method == HttpRequest::Method::kPut) return reply_to_put(request, now);
    Reply out = refusal(405, "only GET and PUT are served here");
    out.extra_headers = "Allow: GET, PUT\r\n";
    return out;
  }

  Reply reply_to_get(const HttpRequest& request, Clock::time_point now) {
    const FoundHeader token = find(request, kTokenHeader);
    const bool given = token.value != nullptr;
    const bool valid = given && authority.valid(*token.value, now);
    if (!given) ++stats.no_token;
    if (given && !valid) ++stats.invalid_token;
    // In version 1 a token is looked at for the counters only.
    if (options.session_tokens && !given)
      return refusal(401, std::string("no session token: send one as ") + kTokenHeader.ours +
                              " or " + kTokenHeader.ec2);
    if (options.session_tokens && !valid) return refusal(401, "the session token is not valid");
    return value_at(request);
  }

  Reply value_at(const HttpRequest& request) const {
    const json* value = find(document, pointer_of(request.path));
    if (value == nullptr) return refusal(404, "there is no resource " + request.path);
    const bool as_json = accepts_json(request);
    const char* type = as_json ? "application/json" : "text/plain";
    if (as_json && !options.imds_compat) return {200, text_of(*value), type, ""};
    if (auto text = imds_text(*value)) return {200, std::move(*text), type, ""};
    return refusal(501, "the value is neither an object nor a string; ask for application/json");
  }

  Reply reply_to_put(const HttpRequest& request, Clock::time_point now) const {
    // Whoever forwards requests must not hand out tokens to others.
    if (request.header("X-Forwarded-For") != nullptr)
      return refusal(400, "the header X-Forwarded-For is not allowed here");
    if (pointer_of(request.path) != kTokenPath)
      return refusal(404, "there is no resource " + request.path);
    const FoundHeader ttl = find(request, kTtlHeader);
    if (ttl.value == nullptr)
      return refusal(400, std::string("no life time for the token: send it as ") + kTtlHeader.ours +
                              " or " + kTtlHeader.ec2);
    std::uint32_t seconds = 0;
    const char* end = ttl.value->data() + ttl.value->size();
    const auto parsed = std::from_chars(ttl.value->data(), end, seconds);
    if (parsed.ec != std::errc() || parsed.ptr != end || seconds < TokenAuthority::kMinSeconds ||
        seconds > TokenAuthority::kMaxSeconds)
      return refusal(400, "the life time of a token is from " +
                              std::to_string(TokenAuthority::kMinSeconds) + " to " +
                              std::to_string(TokenAuthority::kMaxSeconds) + " seconds");
    return {200, authority.issue(seconds, now), "text/plain",
            std::string(ttl.name) + ": " + std::to_string(seconds) + "\r\n"};
  }

  mutable std::mutex lock;
  const Bytes limit;
  MmdsOptions options;
  MmdsStats stats;
  json document;
  bool initialized = false;
  TokenAuthority authority;
};

Mmds::Mmds(Bytes limit) : state_(std::make_unique<State>(limit)) {}
Mmds::~Mmds() = default;

void Mmds::configure(const MmdsOptions& options) {
  const std::lock_guard guard(state_->lock);
  state_->options = options;
}

Result<> Mmds::put(std::string_view json_text) {
  json next = MVM_TRY(parse_document(json_text));
  const std::lock_guard guard(state_->lock);
  return state_->store(std::move(next));
}

Result<> Mmds::patch(std::string_view json_text) {
  const json change = MVM_TRY(parse_document(json_text));
  const std::lock_guard guard(state_->lock);
  if (!state_->initialized) return Error(Errc::kNotFound, "there is no metadata to change yet");
  json next = state_->document;
  next.merge_patch(change);
  return state_->store(std::move(next));
}

std::string Mmds::get() const {
  const std::lock_guard guard(state_->lock);
  return text_of(state_->document);
}

std::optional<MmdsReply> Mmds::respond(std::string_view stream, Clock::time_point now) {
  const auto request = parse_http_request(stream);
  if (request && !*request) return std::nullopt;
  const std::lock_guard guard(state_->lock);
  ++state_->stats.requests;
  if (!request) {
    ++state_->stats.malformed;
    return MmdsReply{render(refusal(400, request.error().text()), 1, true, true), stream.size(),
                     true};
  }
  const HttpRequest& wanted = **request;
  const bool close = !wanted.keep_alive;
  return MmdsReply{render(state_->reply_to(wanted, now), wanted.minor_version, close,
                          wanted.method != HttpRequest::Method::kHead),
                   wanted.consumed, close};
}

MmdsStats Mmds::stats() const {
  const std::lock_guard guard(state_->lock);
  return state_->stats;
}

}  // namespace mvm::vmm
