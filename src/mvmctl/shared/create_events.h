// SPDX-License-Identifier: Apache-2.0
// What `run`, `up` and `image pull` show while they work: the posture line and the progress line.
#pragma once

#include "cli/context.h"
#include "cli/progress.h"
#include "workflow/create.h"

namespace mvm::cli {

class CreateEvents final : public image::Progress {
 public:
  explicit CreateEvents(const Context& context) : context_(context), line_(context) {}

  void update(std::string_view step, Bytes done, Bytes total) override {
    this->step(std::string(step));
    line_.update(done, total.count == 0 ? std::nullopt : std::optional<Bytes>(total));
  }

  workflow::CreateEvents get() {
    return {*this, [this](const std::string& step) { this->step(step); },
            [this](const std::string& posture) { finish(), context_.note(posture); }};
  }
  void step(const std::string& label) { line_.step(label); }
  void finish() { line_.finish(); }

 private:
  const Context& context_;
  cli::Progress line_;
};

}  // namespace mvm::cli
