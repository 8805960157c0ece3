// SPDX-License-Identifier: Apache-2.0
// The Docker Engine API over its unix socket; Podman's service speaks it too.
//
// Blocking calls, and streams that a poll() goes on with. Source: Docker Engine API v1.41.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/units.h"

namespace mvm::docker {

struct Reply {
  int status = 0;
  std::string body;
  bool ok() const { return status >= 200 && status < 300; }
};

// The API's own words of a failure: {"message": "…"}.
std::string message_of(const Reply& reply);
Error failure(std::string_view what, const Reply& reply);

class EngineApi {
 public:
  // Errors: kUnavailable when nobody answers; kPermission; kUnsupported for an API older than
  // 1.40, or one that does without all that we speak.
  static Result<EngineApi> connect(const std::string& socket);
  EngineApi(EngineApi&&) noexcept;
  EngineApi& operator=(EngineApi&&) noexcept;
  ~EngineApi();

  // Errors: those of the connection. A reply of any status is a success.
  // `body` is JSON, or empty.
  Result<Reply> call(const std::string& method, const std::string& target,
                     const std::string& body = {}, Millis limit = Millis(60'000));
  // The body is what can be read from `fd` until its end; when `whole` is false then, the request
  // is cut off, and fails.
  Result<Reply> upload(const std::string& target, int fd, const std::atomic<bool>& whole);

  // A reply that comes in pieces as something happens. `on_end` comes once, from poll().
  void stream(const std::string& method, const std::string& target,
              std::function<void(std::string_view)> on_data,
              std::function<void(Result<int>)> on_end);
  // Waits until the replies of all streams have begun, or for a second: not everybody begins one
  // before there is something to say.
  Result<> await_begun();
  // Goes on with the streams, and waits until there is more of one, one of `fds` is readable, or
  // the time is over.
  Result<> poll(std::span<const int> fds, Millis limit);

 private:
  struct State;
  explicit EngineApi(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mvm::docker
