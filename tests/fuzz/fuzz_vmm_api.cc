// SPDX-License-Identifier: Apache-2.0
// The monitor's API. An input is one of
//   "FILE\n" and a configuration file
//   "STREAM\n" and the bytes of a connection
//   "METHOD PATH\n" and a body
// What is accepted must read the same however its bytes arrive, and what is told of a machine must
// configure the same machine.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/parser.h"
#include "vmm/api/answers.h"
#include "vmm/api/config_file.h"
#include "vmm/api/fields.h"
#include "vmm/api/parse_request.h"

namespace {

namespace http = mvm::http;
namespace vmm = mvm::vmm;
using mvm::Result;

void require(bool condition) {
  if (!condition) std::abort();
}

// Every request of a stream that is handed over in pieces of this size, and whether it ended well.
std::vector<std::string> requests_of(std::string_view bytes, std::size_t piece) {
  http::Parser parser(http::Parser::Kind::kRequest, {.head_bytes = 2048, .body_bytes = 2048});
  std::vector<std::string> out;
  while (!bytes.empty()) {
    const Result<std::size_t> used = parser.feed(bytes.substr(0, piece));
    if (!used) {
      out.emplace_back("error");
      return out;
    }
    bytes.remove_prefix(*used);
    if (!parser.done()) {
      if (*used == 0) return out;
      continue;
    }
    const http::Request request = parser.take_request();
    require(request.body.size() <= 2048);
    out.push_back(request.method + " " + request.target + "\n" + request.body);
    if (!request.keep_alive) return out;
  }
  return out;
}

void check_request(std::string_view method, std::string_view path, std::string_view body) {
  const Result<vmm::ParsedRequest> parsed = vmm::parse_request(method, path, body);
  if (!parsed) return require(!vmm::fault(parsed.error().text()).body.empty());
  if (const auto* put = std::get_if<vmm::PutMmds>(&parsed->request))
    require(vmm::normalized_object(put->json).value() == put->json);
}

void check_stream(std::string_view bytes) {
  const std::vector<std::string> whole = requests_of(bytes, bytes.size());
  require(requests_of(bytes, 1) == whole);
  for (const std::string& request : whole) {
    const std::size_t blank = request.find(' ');
    const std::size_t line = request.find('\n', blank == std::string::npos ? 0 : blank);
    if (blank == std::string::npos || line == std::string::npos) continue;
    const std::string_view text = request;
    check_request(text.substr(0, blank), text.substr(blank + 1, line - blank - 1),
                  text.substr(line + 1));
  }
}

vmm::VmConfig configured(const std::vector<vmm::ApiRequest>& requests) {
  vmm::VmConfig out;
  for (const vmm::ApiRequest& request : requests) {
    if (const auto* put = std::get_if<vmm::PutMachineConfig>(&request)) out.machine = put->config;
    if (const auto* put = std::get_if<vmm::PutBootSource>(&request)) out.boot_source = put->config;
    if (const auto* put = std::get_if<vmm::PutDrive>(&request)) out.drives.push_back(put->config);
    if (const auto* put = std::get_if<vmm::PutNetwork>(&request))
      out.network_interfaces.push_back(put->config);
    if (const auto* put = std::get_if<vmm::PutVsock>(&request)) out.vsock = put->config;
    if (const auto* put = std::get_if<vmm::PutBalloon>(&request)) out.balloon = put->config;
    if (const auto* put = std::get_if<vmm::PutEntropy>(&request)) out.entropy = put->config;
    if (const auto* put = std::get_if<vmm::PutSerial>(&request)) out.serial = put->config;
    if (const auto* put = std::get_if<vmm::PutLogger>(&request)) out.logger = put->config;
    if (const auto* put = std::get_if<vmm::PutMetrics>(&request)) out.metrics = put->config;
    if (const auto* put = std::get_if<vmm::PutMmdsConfig>(&request)) out.mmds = put->config;
  }
  return out;
}

void check_file(std::string_view text) {
  const auto requests = vmm::parse_config_file(text);
  if (!requests) return;
  const std::string told = vmm::to_json(configured(*requests));
  const auto again = vmm::parse_config_file(told);
  require(again.has_value());
  require(vmm::to_json(configured(*again)) == told);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\n');
  if (end == std::string_view::npos) return 0;
  const std::string_view line = input.substr(0, end);
  const std::string_view rest = input.substr(end + 1);
  if (line == "FILE") {
    check_file(rest);
  } else if (line == "STREAM") {
    check_stream(rest);
  } else if (const std::size_t blank = line.find(' '); blank != std::string_view::npos) {
    check_request(line.substr(0, blank), line.substr(blank + 1), rest);
  }
  return 0;
}
