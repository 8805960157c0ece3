// SPDX-License-Identifier: Apache-2.0
// Why a figure is what it is: with MVM_BENCH_VERBOSE set, what an engine and its guest did
// meanwhile, on stderr.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

namespace mvm::bench {

class Counters {
 public:
  explicit Counters(pid_t engine);
  // Prints the differences since the construction, per second.
  void print(const std::string& what, double seconds) const;

 private:
  std::map<std::string, double> read() const;

  pid_t engine_;
  std::map<std::string, double> before_;
};

}  // namespace mvm::bench
