// SPDX-License-Identifier: Apache-2.0
// What is asked of a running monitor through its API.
//
// Source: Firecracker's OpenAPI description: PATCH /vm, PUT /snapshot/create.
#pragma once

#include <functional>
#include <string>

#include "backend/backend.h"
#include "http/client.h"

namespace mvm::backend::firecracker {

class MonitorApi {
 public:
  using Done = Machine::Done;
  // Connects with the first request.
  MonitorApi(sys::EventLoop& loop, std::string socket_path)
      : client_(loop, std::move(socket_path)) {}

  // Errors: kIo with the monitor's own words; kNoSpace when they say that the disk is full;
  // kTimeout.
  void pause(Done done);
  void resume(Done done);
  void save(const SnapshotFiles& files, Done done);

 private:
  void send(const char* method, const char* target, std::string body, Millis limit, Done done);
  http::Client client_;
};

// The answer as a result: 2xx is done, else the monitor's message. Pure.
Result<> result_of(const http::Response& response, const std::string& request);

}  // namespace mvm::backend::firecracker
