// SPDX-License-Identifier: Apache-2.0
#include "bench_vmm_counters.h"

#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace mvm::bench {
namespace {

namespace fs = std::filesystem;

// Source: Linux Documentation/virt/kvm: the statistics that debugfs shows for each machine.
constexpr const char* kKvmFiles[] = {
    "exits",     "io_exits",       "mmio_exits",       "halt_exits",
    "irq_exits", "irq_injections", "irq_window_exits", "host_state_reload"};

bool wanted() { return std::getenv("MVM_BENCH_VERBOSE") != nullptr; }

double number_in(const fs::path& path) {
  std::ifstream in(path);
  double out = 0;
  in >> out;
  return out;
}

std::string word_in(const fs::path& path) {
  std::ifstream in(path);
  std::string out;
  in >> out;
  return out;
}

// CPU time and waits of each thread, under its name.
void add_threads(pid_t pid, std::map<std::string, double>& out) {
  std::error_code none;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", none)) {
    const std::string name = word_in(task.path() / "comm");
    out["ms of " + name] += number_in(task.path() / "schedstat") / 1e6;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("voluntary_ctxt_switches:", 0) == 0)
        out["waits of " + name] += std::atof(line.c_str() + 24);
    }
  }
}

}  // namespace

Counters::Counters(pid_t engine) : engine_(engine) {
  if (wanted()) before_ = read();
}

std::map<std::string, double> Counters::read() const {
  std::map<std::string, double> out;
  add_threads(engine_, out);
  // Of the host's end, whose thread may be over.
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  out["ms of the host's end"] = ms(usage.ru_utime) + ms(usage.ru_stime);
  out["waits of the host's end"] = static_cast<double>(usage.ru_nvcsw);
  std::error_code none;
  for (const auto& process : fs::directory_iterator("/proc", none)) {
    if (word_in(process.path() / "comm") == "mvm-netd")
      add_threads(std::atoi(process.path().filename().c_str()), out);
  }
  const std::string prefix = std::to_string(engine_) + "-";
  for (const auto& machine : fs::directory_iterator("/sys/kernel/debug/kvm", none)) {
    if (machine.path().filename().string().rfind(prefix, 0) != 0) continue;
    for (const char* file : kKvmFiles) out[file] += number_in(machine.path() / file);
  }
  return out;
}

void Counters::print(const std::string& what, double seconds) const {
  if (!wanted()) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  for (const auto& [name, after] : read()) {
    const auto then = before_.find(name);
    const double change = (after - (then == before_.end() ? 0 : then->second)) / seconds;
    if (change >= 1) std::fprintf(stderr, "  %-26s %10.0f /s\n", name.c_str(), change);
  }
}

}  // namespace mvm::bench
