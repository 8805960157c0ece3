// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/verbs.h"

#include <array>

#include "mvmctl/project/verbs.h"

namespace mvm::cli {

std::span<const VerbEntry> verbs() {
  static constexpr std::string_view kRun = "Run";
  static constexpr std::string_view kLook = "Look and change";
  static constexpr std::string_view kEnd = "End";
  static constexpr std::string_view kBuild = "Build";
  static constexpr std::string_view kStore = "Images and files";
  static constexpr std::string_view kHost = "This host";
  static constexpr std::string_view kSelf = "This program";
  static constexpr std::array kVerbs = {
      VerbEntry{"run", kRun, "run one command in a fresh machine", make_run_command},
      VerbEntry{"up", kRun, "start a machine in the background", make_up_command},
      VerbEntry{"exec", kRun, "run a command in a running machine", make_exec_command},
      VerbEntry{"console", kRun, "open a shell in a running machine", make_console_command},
      VerbEntry{"ls", kLook, "list machines", make_ls_command, "ps"},
      VerbEntry{"inspect", kLook, "show everything about a machine", make_inspect_command},
      VerbEntry{"logs", kLook, "show what a machine has printed", make_logs_command},
      VerbEntry{"cp", kLook, "copy files into or out of a machine", make_cp_command},
      VerbEntry{"diff", kLook, "list what a machine has changed", make_diff_command},
      VerbEntry{"forward", kLook, "forward host ports into a machine", make_forward_command},
      VerbEntry{"wait", kLook, "wait until a machine is ready, healthy or stopped",
                make_wait_command},
      VerbEntry{"pause", kLook, "hold machines where they are", make_pause_command},
      VerbEntry{"resume", kLook, "let paused machines go on", make_resume_command},
      VerbEntry{"stop", kEnd, "stop machines", make_stop_command, "down"},
      VerbEntry{"kill", kEnd, "end machines at once", make_kill_command},
      VerbEntry{"rm", kEnd, "remove machines", make_rm_command},
      VerbEntry{"init", kBuild, "begin a project", make_init_command},
      VerbEntry{"validate", kBuild, "check a project's mvm.toml", make_validate_command},
      VerbEntry{"build", kBuild, "make a project's image", make_build_command},
      VerbEntry{"builder", kBuild, "the machine that builds for this host", make_builder_command},
      VerbEntry{"manifest", kBuild, "list, check and remove what was built", make_manifest_command},
      VerbEntry{"key", kBuild, "keys that sign and are trusted", make_key_command},
      VerbEntry{"bundle", kBuild, "images as one signed file", make_bundle_command},
      VerbEntry{"image", kStore, "pull, list, export and remove images", make_image_command},
      VerbEntry{"snapshot", kStore, "save machines and start from what was saved",
                make_snapshot_command},
      VerbEntry{"volume", kStore, "list and remove disks that outlive machines",
                make_volume_command},
      VerbEntry{"kernel", kStore, "fetch, build, choose and remove kernels", make_kernel_command},
      VerbEntry{"cache", kStore, "show and free what mvm keeps on disk", make_cache_command},
      VerbEntry{"doctor", kHost, "examine this host and say what to do", make_doctor_command},
      VerbEntry{"platform", kHost, "show which hosts are supported", make_platform_command},
      VerbEntry{"backend", kHost, "show what can run machines here, and what each can do",
                make_backend_command},
      VerbEntry{"config", kHost, "show and change defaults", make_config_command},
      VerbEntry{"completion", kSelf, "print a completion script for a shell",
                make_completion_command},
      VerbEntry{"help", kSelf, "explain a verb", make_help_command},
      VerbEntry{"version", kSelf, "print the version", make_version_command},
      VerbEntry{"__assemble", "", "assemble an image", make_assemble_command},
      VerbEntry{"__man", "", "write the man pages into a directory", make_man_command},
  };
  return kVerbs;
}

}  // namespace mvm::cli
