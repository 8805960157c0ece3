// SPDX-License-Identifier: Apache-2.0
// The table of verbs. Only the verb that the command line names is built.
#pragma once

#include <span>

#include "cli/command.h"
#include "cli/own_verbs.h"

namespace mvm::cli {

// Every verb, in the order of the overview; hidden ones (empty group) last.
std::span<const VerbEntry> verbs();

// The factories, each in the verb_*.cc file of its name or of its nearest relative. Those of
// projects: project/verbs.h.
CommandSpec make_run_command();
CommandSpec make_up_command();
CommandSpec make_exec_command();
CommandSpec make_console_command();
CommandSpec make_ls_command();
CommandSpec make_inspect_command();
CommandSpec make_logs_command();
CommandSpec make_cp_command();
CommandSpec make_diff_command();
CommandSpec make_forward_command();
CommandSpec make_wait_command();
CommandSpec make_pause_command();
CommandSpec make_resume_command();
CommandSpec make_stop_command();
CommandSpec make_kill_command();
CommandSpec make_rm_command();
CommandSpec make_image_command();
CommandSpec make_snapshot_command();
CommandSpec make_volume_command();
CommandSpec make_kernel_command();
CommandSpec make_cache_command();
CommandSpec make_doctor_command();
CommandSpec make_platform_command();
CommandSpec make_backend_command();
CommandSpec make_config_command();
CommandSpec make_assemble_command();

}  // namespace mvm::cli
