// SPDX-License-Identifier: Apache-2.0
// A kernel made for guests: Debian's source, and a configuration that has what a guest needs built
// in and nothing else. The same source, configuration and compiler give the same bytes.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "kernel/kernel.h"
#include "kernel/obtain.h"

namespace mvm::kernel {

struct CompileOptions {
  std::string config;    // "CONFIG_X=y" lines, set over `make allnoconfig`
  unsigned jobs = 1;     // compilers at once
  bool force = false;    // although one of these inputs is here
  std::string log_path;  // of make; kept when it fails
  std::function<void(const Progress&)> progress;
};

// Takes some minutes. One at a time per cache; another waits. Errors: kUnavailable
// without a tool, naming its package; kNotFound when apt knows no source; kUnsupported naming the
// lines of the configuration that the source does not have; kNoSpace; kIo with make's complaint.
Result<Kernel> compile(const std::string& cache_dir, spec::Arch arch,
                       const CompileOptions& options);

// Two configurations, the later one's lines in the place of the earlier one's. Pure.
std::string merge_configs(std::string_view base, std::string_view over);

// The lines of `wanted` that the kernel's own .config does not have; "X=n" wants X not to be set.
// Pure.
std::vector<std::string> missing_options(std::string_view wanted, std::string_view dot_config);

}  // namespace mvm::kernel
