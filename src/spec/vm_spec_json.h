// SPDX-License-Identifier: Apache-2.0
// VmSpec as JSON: what the CLI hands to a supervisor and what the catalogue keeps.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "spec/vm_spec.h"

namespace mvm::spec {

constexpr int kVmSpecSchema = 1;

std::string to_json(const VmSpec& vm);

// Errors: kCorrupt naming the field; kUnsupported when the schema is not ours, naming both numbers.
Result<VmSpec> vm_spec_from_json(std::string_view text);

std::string_view to_string(Isolation isolation);
std::string_view to_string(Arch arch);
std::string_view to_string(Protocol protocol);
// Errors: kInvalidArgument listing the valid words.
Result<Isolation> parse_isolation(std::string_view text);
Result<Arch> parse_arch(std::string_view text);

}  // namespace mvm::spec
