// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/project/build_report.h"

#include <cstdio>

#include "cli/output.h"

namespace mvm::cli {

workflow::BuildEvents BuildReport::events() {
  return {[this](const build::Plan& plan) { plan_ = plan; },
          [this](const build::Event& event) { on_event(event); },
          [this](const std::string& step) { line_.step(step); },
          [this](const std::string& note) { line_.finish(), context_.note(note); }};
}

std::string BuildReport::title_of(const std::string& step) const {
  for (const build::Step& known : plan_.steps) {
    if (known.id == step) return known.title;
  }
  return step;
}

void BuildReport::on_event(const build::Event& event) {
  if (event.state == build::Event::State::kBegun) return line_.step(title_of(event.step));
  ended_.push_back(event);
  line_.finish();
  std::string time = "cached";
  if (event.state == build::Event::State::kDone) {
    const auto ms = event.took.count();
    time = ms < 1000 ? std::to_string(ms) + "ms"
                     : std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + "s";
  }
  std::string line = printable(event.step);
  line.resize(std::max<std::size_t>(line.size(), 10), ' ');
  time.insert(0, time.size() < 8 ? 8 - time.size() : 0, ' ');
  context_.note(line + time + "  " + printable(title_of(event.step)));
}

Json BuildReport::steps_json() const {
  Json out = Json::array();
  for (const build::Event& event : ended_)
    out.add(Json::object()
                .set("id", event.step)
                .set("took_ms", event.took)
                .set("cached", event.state == build::Event::State::kCached));
  return out;
}

}  // namespace mvm::cli
