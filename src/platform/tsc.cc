// SPDX-License-Identifier: Apache-2.0
#include "platform/tsc.h"

#include <charconv>
#include <ctime>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::platform {
namespace {

#if defined(__x86_64__)
constexpr std::int64_t kMeasureNs = 20'000'000;
constexpr int kAttempts = 3;

struct Reading {
  std::int64_t ns;
  std::uint64_t ticks;
  std::uint64_t uncertainty;  // ticks that passed while the clock was read
};

Reading read_both() {
  timespec ts{};
  const std::uint64_t before = __rdtsc();
  ::clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
  const std::uint64_t after = __rdtsc();
  return {ts.tv_sec * 1'000'000'000 + ts.tv_nsec, before + (after - before) / 2, after - before};
}
#endif

}  // namespace

std::uint32_t measure_tsc_khz() {
#if defined(__x86_64__)
  std::uint32_t best = 0;
  std::uint64_t least = ~0ULL;
  for (int i = 0; i < kAttempts; ++i) {
    const Reading begin = read_both();
    Reading end = begin;
    while (end.ns - begin.ns < kMeasureNs) end = read_both();
    // Being interrupted between the two clocks is what spoils a measurement; it shows.
    const std::uint64_t uncertainty = begin.uncertainty + end.uncertainty;
    if (uncertainty >= least) continue;
    least = uncertainty;
    best = static_cast<std::uint32_t>((end.ticks - begin.ticks) * 1'000'000 /
                                      static_cast<std::uint64_t>(end.ns - begin.ns));
  }
  return best;
#else
  return 0;
#endif
}

std::uint32_t tsc_khz_cached(const std::string& cache_dir) {
  const std::string path = cache_dir + "/tsc-khz";
  const std::string boot = sys::read_file("/proc/sys/kernel/random/boot_id").value_or("\n");
  if (const auto text = sys::read_file(path, kibibytes(1)); text && text->starts_with(boot)) {
    std::uint32_t khz = 0;
    const char* at = text->data() + boot.size();
    if (std::from_chars(at, text->data() + text->size(), khz).ec == std::errc() && khz > 100'000)
      return khz;
  }
  const std::uint32_t khz = measure_tsc_khz();
  // A cache that cannot be written costs the next start a measurement, nothing else.
  if (sys::make_dirs(cache_dir)) (void)sys::write_atomic(path, boot + std::to_string(khz) + "\n");
  return khz;
}

}  // namespace mvm::platform
