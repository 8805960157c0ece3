// SPDX-License-Identifier: Apache-2.0
// One HTTP/1 request out of a byte stream, as much of it as the metadata service looks at.
//
// Threads: none.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace mvm::vmm {

struct HttpRequest {
  enum class Method { kGet, kPut, kHead, kOther };
  Method method = Method::kOther;
  int minor_version = 1;  // HTTP/1.minor
  bool keep_alive = true;
  std::string path;  // without the query; empty when the target has none
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t consumed = 0;  // bytes of the stream

  // The value of the first header of this name, whatever its case.
  const std::string* header(std::string_view name) const;
};

// The first request of `bytes`, or nothing when it is not all there yet.
// Errors: kInvalidArgument when it is not HTTP/1.
Result<std::optional<HttpRequest>> parse_http_request(std::string_view bytes);

}  // namespace mvm::vmm
