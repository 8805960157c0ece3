// SPDX-License-Identifier: Apache-2.0
// What an image says about how to run it: the part of an OCI image configuration that mvm honours.
//
// Source: OCI image-spec v1.1, config.md, "config" object.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace mvm::spec {

struct ImageConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;            // "NAME=VALUE"
  std::string user;                        // "", "name", "uid", "name:group", "uid:gid"
  std::string working_dir;                 // "" means /
  std::string stop_signal;                 // "" means SIGTERM
  std::vector<std::string> exposed_ports;  // "80/tcp"
  std::map<std::string, std::string> labels;
};

}  // namespace mvm::spec
