// SPDX-License-Identifier: Apache-2.0
// Images made from this host's own packages: busybox and minimal Debian, each as one tar archive.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "image/source.h"
#include "spec/image_config.h"
#include "spec/vm_spec.h"
#include "sys/process.h"

namespace mvm::image {

// The architecture of this program.
spec::Arch host_arch();

// The static busybox of this host. Errors: kUnavailable when missing or dynamically linked.
Result<std::string> find_static_busybox();

// Writes the busybox tree: the program, a link per applet, accounts, mount points. The same for the
// same binary.
Result<> write_busybox_tar(const std::string& busybox, const std::string& tar);

// The host's own apt sources that have the suite, by format; none when it follows another one.
struct AptSources {
  std::string list;    // one line each
  std::string deb822;  // paragraphs
};
AptSources host_apt_sources(const std::string& suite);

struct DebianRecipe {
  std::string suite;
  std::vector<std::string> packages;
  std::vector<std::string> hooks;  // commands of /bin/sh in the new system
  AptSources sources;              // without any: mmdebstrap's own
};

// mmdebstrap as it is called for a recipe: the same archive and recipe give the same file.
// `work_dir` takes what it reads. Errors: kUnavailable without root and fakechroot.
struct DebianCommand {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // changes to ours
};
Result<DebianCommand> debian_command(const DebianRecipe& recipe, const std::string& work_dir,
                                     const std::string& tar);
// Why it failed. Pure.
Error debian_failure(const sys::Output& output);

// Runs mmdebstrap with the host's apt sources: follows the archive.
// Errors: kUnavailable (mmdebstrap or network missing), kNotFound (no such suite or package),
// kNoSpace.
Result<> write_debian_tar(const Source& source, const std::string& work_dir,
                          const std::string& tar);

// What both give a command: PATH.
spec::ImageConfig host_tree_config();

// True for an ELF program without an interpreter. Pure.
bool is_static_elf(std::string_view image);

}  // namespace mvm::image
