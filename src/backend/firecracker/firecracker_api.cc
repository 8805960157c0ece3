// SPDX-License-Identifier: Apache-2.0
#include "backend/firecracker/firecracker_api.h"

#include <cstring>
#include <nlohmann/json.hpp>

namespace mvm::backend::firecracker {
namespace {

using nlohmann::json;

constexpr Millis kHoldLimit{30'000};
// Memory is written at the disk's speed, and there may be much of it.
constexpr Millis kSaveLimit{60LL * 60 * 1000};

}  // namespace

Result<> result_of(const http::Response& response, const std::string& request) {
  if (response.status / 100 == 2) return {};
  const json body = json::parse(response.body, nullptr, false);
  std::string why = "status " + std::to_string(response.status);
  if (body.is_object() && body.contains("fault_message") && body["fault_message"].is_string())
    why = body["fault_message"].get<std::string>();
  // The monitor's answers have no code but the status.
  const bool full = why.find(::strerror(ENOSPC)) != std::string::npos;
  return Error(full ? Errc::kNoSpace : Errc::kIo, request + ": " + why);
}

void MonitorApi::send(const char* method, const char* target, std::string body, Millis limit,
                      Done done) {
  const std::string request = std::string(method) + " " + target;
  client_.send(method, target, std::move(body), limit,
               [request, done = std::move(done)](const Result<http::Response>& response) {
                 done(response ? result_of(*response, request) : Result<>(response.error()));
               });
}

void MonitorApi::pause(Done done) {
  send("PATCH", "/vm", R"({"state":"Paused"})", kHoldLimit, std::move(done));
}

void MonitorApi::resume(Done done) {
  send("PATCH", "/vm", R"({"state":"Resumed"})", kHoldLimit, std::move(done));
}

void MonitorApi::save(const SnapshotFiles& files, Done done) {
  const json body = {{"snapshot_path", files.state}, {"mem_file_path", files.memory}};
  send("PUT", "/snapshot/create", body.dump(-1, ' ', false, json::error_handler_t::replace),
       kSaveLimit, std::move(done));
}

}  // namespace mvm::backend::firecracker
