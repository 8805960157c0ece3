// SPDX-License-Identifier: Apache-2.0
// Requests and responses of HTTP/1.1 as plain values.
//
// Source: RFC 9110, RFC 9112.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mvm::http {

struct Header {
  std::string name;
  std::string value;
};

struct Request {
  std::string method;  // "GET"
  std::string target;  // "/drives/rootfs"; as it was sent, nothing decoded
  std::vector<Header> headers;
  std::string body;
  bool keep_alive = true;  // of a parsed request: the client may send another
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<Header> headers;  // apart from length, type and connection
  bool keep_alive = true;       // of a parsed response: the server takes another
};

// The value of the first header of this name, in any case; empty when there is none.
std::string_view header(const std::vector<Header>& headers, std::string_view name);

// "Not Found" for 404; empty for codes that mvm does not use.
std::string_view reason(int status);

// {"error":"TEXT"}, with whatever JSON demands to be escaped.
Response error_response(int status, std::string_view text);

// The bytes of a message. A 204 has no body. The text of headers must not hold CR or LF.
std::string serialize(const Response& response, std::string_view server_name, bool keep_alive);
std::string serialize(const Request& request);

}  // namespace mvm::http
