// SPDX-License-Identifier: Apache-2.0
// The progress line: "pulling layer 2/5  12.3M/45.0M  3.2s" on stderr, rewritten in place.
//
// Shown on a terminal only, for steps that have lasted a second, never with --quiet or --json;
// removed when the step ends. There is no thread and no timer: update() draws, at most ten times a
// second.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cli/context.h"
#include "core/units.h"

namespace mvm::cli {

class Progress {
 public:
  using Now = std::function<Clock::time_point()>;

  // Draws on the context's stderr when that is a terminal.
  explicit Progress(const Context& context);
  // For tests: draws on `fd` when `enabled`, `columns` wide, by the given clock.
  Progress(int fd, bool enabled, std::size_t columns, Now now);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { finish(); }

  // Begins a step; its second starts now.
  void step(const std::string& label);
  // Progress of the step. `done` is left out when it is zero, `total` when it is not known.
  void update(Bytes done = {}, std::optional<Bytes> total = std::nullopt);
  // Removes the line. Call it before writing anything else to the terminal.
  void finish();

 private:
  std::string line(Bytes done, std::optional<Bytes> total, Clock::time_point now) const;

  int fd_;
  bool enabled_;
  std::size_t columns_;
  Now now_;
  std::string label_;
  Clock::time_point started_{};
  Clock::time_point drawn_{};
  bool visible_ = false;
};

}  // namespace mvm::cli
