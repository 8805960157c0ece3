// SPDX-License-Identifier: Apache-2.0
// The API on its socket: HTTP requests become ApiRequests for a controller, its answers become HTTP
// responses. Each request is logged with its outcome, without its body.
//
// Threads: everything on the loop's thread; the controller answers there, now or later.
#pragma once

#include <functional>

#include "core/result.h"
#include "http/server.h"
#include "vmm/api/answers.h"
#include "vmm/api/requests.h"

namespace mvm::vmm {

// To be called once. May be copied and outlive the client, the server and its loop's turn.
using AnswerCallback = std::function<void(Result<ApiAnswer>)>;
using Controller = std::function<void(ApiRequest, AnswerCallback)>;

class ApiServer {
 public:
  // `max_body` is --http-api-max-payload-size. The loop outlives the server.
  static Result<ApiServer> create(sys::EventLoop& loop, sys::UniqueFd listener,
                                  Controller controller, std::size_t max_body = 51200);

  // Takes over a connected stream as if it had been accepted.
  Result<> serve(sys::UniqueFd connection) { return server_.serve(std::move(connection)); }

 private:
  explicit ApiServer(http::Server server) : server_(std::move(server)) {}
  http::Server server_;
};

}  // namespace mvm::vmm
