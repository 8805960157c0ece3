// SPDX-License-Identifier: Apache-2.0
// Where a Docker daemon of this host listens; Podman's service speaks the same.
#pragma once

#include <string>

#include "core/result.h"

namespace mvm::platform {

// The socket that DOCKER_HOST ("unix:///PATH") names; without it the first of these that is there:
// /var/run/docker.sock, Podman's of this user, Podman's of root.
// Errors: kUnsupported for a daemon that is reached by another way; kNotFound.
Result<std::string> docker_socket();

}  // namespace mvm::platform
