// SPDX-License-Identifier: Apache-2.0
// What the benchmarks share: samples, a table with floor, ratio and bar, and its JSON.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mvm::bench {

// One measured series.
struct Samples {
  std::vector<double> values;
  double median() const;
  double min() const;
  double max() const;
};

// Calls the function `count` times and keeps what it returns.
Samples repeat(int count, const std::function<double()>& once);
// Two series measured in turn, so that a noisy machine is noisy to both: floor, ours, ours, floor,
// and so on. Plain alternation would not do: some machines run every second engine slower (seen:
// 110 ms of 1.3 s, by what memory the one before has given back), and that would fall on one side.
struct Pair {
  Samples ours;
  Samples floor;
  // Ours minus floor, a value for each four runs that follow each other.
  Samples differences() const;
};
Pair alternate(int count, const std::function<double()>& ours,
               const std::function<double()>& floor);

// Wall-clock time of a function. Units: ms.
double time_ms(const std::function<void()>& work);

// One line of the report.
struct Line {
  std::string name;
  std::string unit;
  Samples ours;
  std::optional<Samples> floor = {};  // the same work without mvm, measured in the same run
  std::string floor_name = {};
  std::optional<double> at_most = {};        // bar on our median
  std::optional<double> ratio_at_most = {};  // bar on median / floor's median
  std::optional<double> ratio_at_least = {};
  bool met() const;
};

class Report {
 public:
  explicit Report(std::string name) : name_(std::move(name)) {}
  void add(Line line) { lines_.push_back(std::move(line)); }
  // Prints the table on stdout, writes JSON to the path in MVM_BENCH_JSON (appending one object a
  // line). Returns the process's exit code: 0 when every bar is met.
  int finish() const;

 private:
  std::string name_;
  std::vector<Line> lines_;
};

// What a program prints; one that fails ends the benchmark.
std::string run_ok(const std::vector<std::string>& argv, const std::string& in = "/");

// Ends the benchmark with a message when something that is not measured fails.
[[noreturn]] void die(const std::string& message);
template <class R>
auto must(R&& result) {
  if (!result) die(result.error().text());
  return std::move(*result);
}

}  // namespace mvm::bench
