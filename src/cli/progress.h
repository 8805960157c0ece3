// SPDX-License-Identifier: Apache-2.0
// The progress line: "pulling layer 2/5  12.3M/45.0M  3.2s" on stderr, rewritten in place.
//
// Shown on a terminal only, for steps that have lasted a second, never with --quiet or --json;
// removed when the step ends. update() draws at most ten times a second; what tells nothing for
// long (a tool that runs, a machine that boots) is drawn by a thread twice a second, so that the
// time goes on.
//
// Threads: step() starts the one that draws, finish() ends it; the methods are the owner's.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "cli/context.h"
#include "core/units.h"

namespace mvm::cli {

class Progress {
 public:
  using Now = std::function<Clock::time_point()>;

  // Draws on the context's stderr when that is a terminal.
  explicit Progress(const Context& context);
  // For tests: draws on `fd` when `enabled`, `columns` wide, by the given clock, in update() only.
  Progress(int fd, bool enabled, std::size_t columns, Now now);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { finish(); }

  // Begins a step; its second starts now. The step that is under way goes on.
  void step(const std::string& label);
  // Percentage of the step, where bytes are not known; -1: not known either.
  void percent(int value);
  // Progress of the step. `done` is left out when it is zero, `total` when it is not known.
  void update(Bytes done = {}, std::optional<Bytes> total = std::nullopt);
  // Removes the line. Call it before writing anything else to the terminal.
  void finish();

 private:
  using Lock = std::unique_lock<std::mutex>;
  void draw(const Lock&);
  void erase(const Lock&);
  void start_ticking(const Lock&);
  void tick();
  std::string line(Clock::time_point now) const;

  int fd_;
  bool enabled_;
  bool ticks_;
  std::size_t columns_;
  Now now_;

  std::mutex mutex_;  // of all that follows
  std::condition_variable ended_;
  std::thread ticker_;
  std::string label_;
  Bytes done_{};
  std::optional<Bytes> total_;
  int percent_ = -1;
  Clock::time_point started_{};
  Clock::time_point drawn_{};
  bool visible_ = false;
};

}  // namespace mvm::cli
