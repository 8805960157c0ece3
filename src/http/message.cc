// SPDX-License-Identifier: Apache-2.0
#include "http/message.h"

#include <strings.h>

#include <algorithm>
#include <array>

namespace mvm::http {
namespace {

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

void append_json_char(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  if (byte < 0x20) {
    out.append("\\u00");
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
    return;
  }
  if (c == '"' || c == '\\') out.push_back('\\');
  out.push_back(c);
}

}  // namespace

std::string_view header(const std::vector<Header>& headers, std::string_view name) {
  const auto it = std::find_if(headers.begin(), headers.end(), [name](const Header& candidate) {
    return candidate.name.size() == name.size() &&
           ::strncasecmp(candidate.name.data(), name.data(), name.size()) == 0;
  });
  return it == headers.end() ? std::string_view() : std::string_view(it->value);
}

std::string_view reason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 413:
      return "Payload Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "";
  }
}

Response error_response(int status, std::string_view text) {
  Response response;
  response.status = status;
  response.body = R"({"error":")";
  for (const char c : text) append_json_char(response.body, c);
  response.body += "\"}";
  return response;
}

std::string serialize(const Response& response, std::string_view server_name, bool keep_alive) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " ";
  out.append(reason(response.status)).append("\r\n");
  append_header(out, "Server", server_name);
  append_header(out, "Connection", keep_alive ? "keep-alive" : "close");
  for (const Header& extra : response.headers) append_header(out, extra.name, extra.value);
  if (response.status != 204) {
    append_header(out, "Content-Type", response.content_type);
    append_header(out, "Content-Length", std::to_string(response.body.size()));
  }
  out += "\r\n";
  if (response.status != 204) out += response.body;
  return out;
}

std::string serialize(const Request& request) {
  std::string out = request.method + " " + request.target + " HTTP/1.1\r\n";
  append_header(out, "Host", "localhost");
  append_header(out, "Accept", "application/json");
  for (const Header& extra : request.headers) append_header(out, extra.name, extra.value);
  if (!request.body.empty()) {
    append_header(out, "Content-Type", "application/json");
    append_header(out, "Content-Length", std::to_string(request.body.size()));
  }
  return out + "\r\n" + request.body;
}

}  // namespace mvm::http
