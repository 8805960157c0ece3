// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/api_server.h"

#include <memory>

#include "core/log.h"
#include "vmm/api/parse_request.h"

namespace mvm::vmm {
namespace {

// The most connections at once; a client keeps one, and a human a few.
constexpr std::size_t kMaxConnections = 128;

// One request, until it is answered.
struct Exchange {
  http::Responder respond;
  std::string name;  // "PUT /drives/rootfs"
  bool deprecated = false;
  bool carries_metadata = false;
};

void answer(Exchange& exchange, const ApiResponse& outcome) {
  http::Response response;
  response.status = outcome.status;
  response.body = outcome.body;
  if (exchange.deprecated) response.headers.push_back({"Deprecation", "true"});
  const std::string line = "api: " + exchange.name + ": " + std::to_string(outcome.status);
  if (outcome.status < 300)
    log::info(line);
  else
    log::error(line + " " + outcome.body);
  exchange.respond(response);
}

ApiResponse response_of(const Exchange& exchange, const Result<ApiAnswer>& outcome) {
  const bool too_large =
      exchange.carries_metadata && !outcome && outcome.error().code() == Errc::kLimit;
  return too_large ? fault(outcome.error().text(), 413) : to_response(outcome);
}

void handle(const Controller& controller, const http::Request& request, http::Responder responder) {
  auto exchange = std::make_shared<Exchange>(
      Exchange{.respond = std::move(responder), .name = request.method + " " + request.target});
  Result<ParsedRequest> parsed = parse_request(request.method, request.target, request.body);
  if (!parsed) return answer(*exchange, fault(parsed.error().text()));
  exchange->deprecated = parsed->deprecated;
  exchange->carries_metadata = carries_metadata(parsed->request);
  controller(std::move(parsed->request), [exchange](const Result<ApiAnswer>& outcome) {
    answer(*exchange, response_of(*exchange, outcome));
  });
}

}  // namespace

Result<ApiServer> ApiServer::create(sys::EventLoop& loop, sys::UniqueFd listener,
                                    Controller controller, std::size_t max_body) {
  http::ServerOptions options;
  options.limits.body_bytes = max_body;
  options.max_connections = kMaxConnections;
  options.server_name = "mvm-vmm API";
  auto handler = [controller = std::move(controller)](const http::Request& request,
                                                      http::Responder responder) {
    handle(controller, request, std::move(responder));
  };
  return ApiServer(MVM_TRY(
      http::Server::create(loop, std::move(listener), std::move(handler), std::move(options))));
}

}  // namespace mvm::vmm
