// SPDX-License-Identifier: Apache-2.0
// The verbs of projects: what is built from a directory, and with what.
#pragma once

#include "cli/command.h"

namespace mvm::cli {

CommandSpec make_init_command();
CommandSpec make_validate_command();
CommandSpec make_build_command();
CommandSpec make_builder_command();
CommandSpec make_key_command();
CommandSpec make_bundle_command();
CommandSpec make_manifest_command();

}  // namespace mvm::cli
