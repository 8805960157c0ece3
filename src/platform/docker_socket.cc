// SPDX-License-Identifier: Apache-2.0
#include "platform/docker_socket.h"

#include <cstdlib>
#include <vector>

#include "sys/io.h"

namespace mvm::platform {

Result<std::string> docker_socket() {
  constexpr std::string_view kScheme = "unix://";
  const char* host = std::getenv("DOCKER_HOST");
  if (host != nullptr && *host != '\0') {
    const std::string_view text(host);
    if (text.starts_with(kScheme)) return std::string(text.substr(kScheme.size()));
    return Error(Errc::kUnsupported, "DOCKER_HOST is " + std::string(text) +
                                         ": machines need a Docker daemon of this host")
        .with_hint("DOCKER_HOST=unix:///PATH");
  }
  std::vector<std::string> places = {"/var/run/docker.sock"};
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"))
    places.push_back(std::string(runtime) + "/podman/podman.sock");
  places.emplace_back("/run/podman/podman.sock");
  for (const std::string& place : places) {
    if (sys::path_exists(place)) return place;
  }
  return Error(Errc::kNotFound, "there is no Docker socket: " + places.front())
      .with_hint("apt-get install docker.io, or name a socket: DOCKER_HOST=unix:///PATH");
}

}  // namespace mvm::platform
