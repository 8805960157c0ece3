// SPDX-License-Identifier: Apache-2.0
// The options that `run` and `up` share: everything that makes a machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "spec/manifest.h"
#include "workflow/config.h"
#include "workflow/create.h"

namespace mvm::cli {

// A project's current revision.
struct BootedProject {
  std::string name;
  std::string image;        // its name
  spec::Manifest manifest;  // with what its source has said
};

struct MachineOptions {
  workflow::CreateRequest request;
  std::string arch;
  // What the configuration file may set is empty here unless given.
  std::string image;
  std::string backend;
  std::string isolation;
  std::string network;
  std::optional<std::uint32_t> cpus;
  std::optional<Bytes> memory;
  std::optional<Bytes> disk;
  std::vector<std::string> publish;
  std::vector<std::string> volumes;
  std::string restart = "no";
  std::optional<std::string> tls_verify;
  bool build = false;  // the project first
};

// Appends the options, the IMAGE positional and the guest command.
void add_machine_options(CommandSpec& spec, MachineOptions& options);

// What the texts say, as a request; what they leave out comes from the project that is booted, else
// from the configuration. Errors: kInvalidArgument naming the option.
Result<workflow::CreateRequest> to_request(const MachineOptions& options,
                                           const workflow::Config& config,
                                           const std::optional<BootedProject>& project = {});

// The options of a registry, as `image pull` has them too.
void add_pull_options(CommandSpec& spec, image::PullRequest& pull,
                      std::optional<std::string>& tls_verify);

}  // namespace mvm::cli
