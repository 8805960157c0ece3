// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/http_request.h"

#include <http_parser.h>
#include <strings.h>

namespace mvm::vmm {
namespace {

struct Parse {
  HttpRequest request;
  std::string url;
  bool in_value = false;
  bool complete = false;
};

Parse& state(http_parser* parser) { return *static_cast<Parse*>(parser->data); }

int on_url(http_parser* parser, const char* at, std::size_t length) {
  state(parser).url.append(at, length);
  return 0;
}

int on_field(http_parser* parser, const char* at, std::size_t length) {
  Parse& parse = state(parser);
  if (parse.in_value || parse.request.headers.empty()) parse.request.headers.emplace_back();
  parse.in_value = false;
  parse.request.headers.back().first.append(at, length);
  return 0;
}

int on_value(http_parser* parser, const char* at, std::size_t length) {
  Parse& parse = state(parser);
  parse.in_value = true;
  if (!parse.request.headers.empty()) parse.request.headers.back().second.append(at, length);
  return 0;
}

// Stops here: what follows is the next request.
int on_complete(http_parser* parser) {
  state(parser).complete = true;
  state(parser).request.keep_alive = http_should_keep_alive(parser) != 0;
  http_parser_pause(parser, 1);
  return 0;
}

HttpRequest::Method method_of(const http_parser& parser) {
  switch (parser.method) {
    case HTTP_GET:
      return HttpRequest::Method::kGet;
    case HTTP_PUT:
      return HttpRequest::Method::kPut;
    case HTTP_HEAD:
      return HttpRequest::Method::kHead;
    default:
      return HttpRequest::Method::kOther;
  }
}

std::string path_of(const std::string& url) {
  http_parser_url parts;
  http_parser_url_init(&parts);
  if (http_parser_parse_url(url.data(), url.size(), 0, &parts) != 0) return {};
  if ((parts.field_set & (1 << UF_PATH)) == 0) return {};
  return url.substr(parts.field_data[UF_PATH].off, parts.field_data[UF_PATH].len);
}

}  // namespace

const std::string* HttpRequest::header(std::string_view name) const {
  for (const auto& [field, value] : headers) {
    if (field.size() == name.size() && ::strncasecmp(field.data(), name.data(), name.size()) == 0)
      return &value;
  }
  return nullptr;
}

Result<std::optional<HttpRequest>> parse_http_request(std::string_view bytes) {
  http_parser_settings settings;
  http_parser_settings_init(&settings);
  settings.on_url = on_url;
  settings.on_header_field = on_field;
  settings.on_header_value = on_value;
  settings.on_message_complete = on_complete;
  Parse parse;
  http_parser parser;
  http_parser_init(&parser, HTTP_REQUEST);
  parser.data = &parse;
  const std::size_t used = http_parser_execute(&parser, &settings, bytes.data(), bytes.size());
  const auto error = static_cast<http_errno>(parser.http_errno);
  if (error != HPE_OK && !parse.complete)
    return Error(Errc::kInvalidArgument,
                 std::string("not an HTTP request: ") + http_errno_description(error));
  if (!parse.complete) return std::optional<HttpRequest>();
  if (parser.http_major != 1) return Error(Errc::kInvalidArgument, "not HTTP/1");
  parse.request.method = method_of(parser);
  parse.request.minor_version = parser.http_minor == 0 ? 0 : 1;
  parse.request.path = path_of(parse.url);
  parse.request.consumed = used;
  return std::optional<HttpRequest>(std::move(parse.request));
}

}  // namespace mvm::vmm
