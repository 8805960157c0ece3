// SPDX-License-Identifier: Apache-2.0
// What runs in a machine, made of its image and of what was asked.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/result.h"
#include "spec/image_config.h"
#include "spec/vm_spec.h"
#include "workflow/create.h"

namespace mvm::workflow {

using HostEnv = std::function<std::optional<std::string>(const std::string&)>;

// The command of the machine, whoever starts it; argv empty: nothing is named. Pure.
spec::ProcessSpec process_for(const CreateRequest& request, const spec::ImageConfig& image,
                              const HostEnv& host_env);

// Sets what the supervisor starts: process, services, health, and what all of them share. Answers
// with process_for(). Errors: kCorrupt for an image whose label cannot be read.
Result<spec::ProcessSpec> set_guest(spec::VmSpec& vm, const CreateRequest& request,
                                    const spec::ImageConfig& image, const HostEnv& host_env);

}  // namespace mvm::workflow
