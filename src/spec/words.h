// SPDX-License-Identifier: Apache-2.0
// Parts of a specification as people write them, on command lines and in manifests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "spec/vm_spec.h"

namespace mvm::spec {

// 1 to 63 of a-z A-Z 0-9 . _ -, beginning with a letter or digit. Errors: kInvalidArgument.
Result<> check_name(const std::string& name, std::string_view what = "machine");

// "[IP:]HOST:GUEST[/udp]". Errors: kInvalidArgument quoting it.
Result<PortForward> parse_forward(std::string_view text);
std::string format_forward(const PortForward& forward);

// "NAME:PATH[:SIZE]", as in "data:/var/lib/data:10G". Errors: kInvalidArgument quoting it.
Result<VolumeSpec> parse_volume(std::string_view text);

// "no", "on-failure", "on-failure:3". Errors: kInvalidArgument quoting it.
Result<RestartPolicy> parse_restart(std::string_view text);

// Gives an environment of "NAME=VALUE" this variable, in the place of one of the same name.
void set_variable(std::vector<std::string>& env, const std::string& name, const std::string& value);

}  // namespace mvm::spec
