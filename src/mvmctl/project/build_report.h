// SPDX-License-Identifier: Apache-2.0
// What a build shows while it goes on: a line for each step with its time, on stderr.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"
#include "cli/progress.h"
#include "workflow/build.h"

namespace mvm::cli {

class BuildReport {
 public:
  explicit BuildReport(const Context& context) : context_(context), line_(context) {}

  workflow::BuildEvents events();
  void finish() { line_.finish(); }
  // [{"id", "took_ms", "cached"}]
  Json steps_json() const;

 private:
  void on_event(const build::Event& event);
  std::string title_of(const std::string& step) const;

  const Context& context_;
  Progress line_;
  build::Plan plan_;
  std::vector<build::Event> ended_;
};

}  // namespace mvm::cli
