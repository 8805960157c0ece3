// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sys/process.h"

namespace mvm::bench {

double Samples::median() const {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  if (sorted.empty()) return 0;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
double Samples::min() const {
  return values.empty() ? 0 : *std::min_element(values.begin(), values.end());
}
double Samples::max() const {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

Samples repeat(int count, const std::function<double()>& once) {
  Samples out;
  for (int i = 0; i < count; ++i) out.values.push_back(once());
  return out;
}

Pair alternate(int count, const std::function<double()>& ours,
               const std::function<double()>& floor) {
  Pair out;
  for (int i = 0; i < count; ++i) {
    const bool ours_first = i % 2 == 1;
    if (ours_first) out.ours.values.push_back(ours());
    out.floor.values.push_back(floor());
    if (!ours_first) out.ours.values.push_back(ours());
  }
  return out;
}

Samples Pair::differences() const {
  Samples out;
  const std::size_t count = std::min(ours.values.size(), floor.values.size());
  for (std::size_t i = 0; i + 1 < count; i += 2)
    out.values.push_back(
        (ours.values[i] - floor.values[i] + ours.values[i + 1] - floor.values[i + 1]) / 2);
  return out;
}

double time_ms(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

bool Line::met() const {
  const double ratio = floor ? ours.median() / floor->median() : 0;
  if (at_most && ours.median() > *at_most) return false;
  if (ratio_at_most && ratio > *ratio_at_most) return false;
  return !(ratio_at_least && ratio < *ratio_at_least);
}

namespace {

std::string bar_text(const Line& line) {
  char text[64] = "-";
  if (line.at_most) std::snprintf(text, sizeof text, "<= %g %s", *line.at_most, line.unit.c_str());
  if (line.ratio_at_most) std::snprintf(text, sizeof text, "<= %.2f x", *line.ratio_at_most);
  if (line.ratio_at_least) std::snprintf(text, sizeof text, ">= %.2f x", *line.ratio_at_least);
  return text;
}

nlohmann::json samples_json(const Samples& s) {
  return {{"median", s.median()}, {"min", s.min()}, {"max", s.max()}, {"samples", s.values}};
}

}  // namespace

int Report::finish() const {
  bool all_met = true;
  nlohmann::json lines = nlohmann::json::array();
  std::printf("%s\n%-44s %10s %10s %10s %8s  %-12s %s\n", name_.c_str(), "what", "median", "min",
              "floor", "ratio", "bar", "met");
  for (const Line& line : lines_) {
    const double ratio = line.floor ? line.ours.median() / line.floor->median() : 0;
    std::printf("%-44s %10.2f %10.2f ", (line.name + " [" + line.unit + "]").c_str(),
                line.ours.median(), line.ours.min());
    if (line.floor)
      std::printf("%10.2f %8.2f", line.floor->median(), ratio);
    else
      std::printf("%10s %8s", "-", "-");
    std::printf("  %-12s %s%s\n", bar_text(line).c_str(), line.met() ? "yes" : "NO",
                line.floor_name.empty() ? "" : ("   floor: " + line.floor_name).c_str());
    nlohmann::json object = {{"name", line.name},
                             {"unit", line.unit},
                             {"ours", samples_json(line.ours)},
                             {"met", line.met()}};
    if (line.floor)
      object["floor"] = samples_json(*line.floor), object["floor_name"] = line.floor_name,
      object["ratio"] = ratio;
    if (line.at_most) object["bar_at_most"] = *line.at_most;
    if (line.ratio_at_most) object["bar_ratio_at_most"] = *line.ratio_at_most;
    if (line.ratio_at_least) object["bar_ratio_at_least"] = *line.ratio_at_least;
    lines.push_back(std::move(object));
    all_met = all_met && line.met();
  }
  if (const char* path = std::getenv("MVM_BENCH_JSON")) {
    std::ofstream out(path, std::ios::app);
    out << nlohmann::json({{"schema", 1}, {"bench", name_}, {"lines", lines}}).dump() << "\n";
  }
  return all_met ? 0 : 1;
}

void die(const std::string& message) {
  std::fprintf(stderr, "bench: %s\n", message.c_str());
  std::exit(2);
}

std::string run_ok(const std::vector<std::string>& argv, const std::string& in) {
  sys::Command command;
  command.argv = argv;
  command.working_dir = in;
  auto out = sys::run(std::move(command));
  if (!out || !out->status.ok()) die(argv[0] + ": " + (out ? out->err : out.error().text()));
  return out->out;
}

}  // namespace mvm::bench
