// SPDX-License-Identifier: Apache-2.0
// From a method, a path and a body to the action that they ask for.
//
// Source: Firecracker API 1.x, paths. As there, a path that does not exist is a bad request (400),
// an unknown field is refused by its name, and deprecated fields are accepted.
#pragma once

#include <string_view>

#include "core/result.h"
#include "vmm/api/requests.h"

namespace mvm::vmm {

struct ParsedRequest {
  ApiRequest request;
  bool deprecated = false;  // the answer gets the header "Deprecation: true"
};

// Errors: kInvalidArgument; kUnsupported for what only Firecracker can do.
Result<ParsedRequest> parse_request(std::string_view method, std::string_view path,
                                    std::string_view body);

}  // namespace mvm::vmm
