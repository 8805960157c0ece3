// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/console.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "sys/io.h"

namespace mvm::agent {
namespace {

constexpr long kWarning = 4;  // kernel log levels: 4 and below are complaints
constexpr long kLevelMask = 7;

void replace(int fd, const char* path, int flags) {
  const int opened = ::open(path, flags);
  if (opened < 0 || opened == fd) return;
  ::dup2(opened, fd);
  if (opened > 2) ::close(opened);
}

}  // namespace

void open_console() {
  replace(0, "/dev/null", O_RDWR);
  replace(1, "/dev/console", O_WRONLY | O_NOCTTY);
  replace(2, "/dev/console", O_WRONLY | O_NOCTTY);
}

void say(std::string_view message) {
  const std::string line = "mvm-agent: " + std::string(message) + "\n";
  [[maybe_unused]] const ssize_t ignored = ::write(2, line.data(), line.size());
}

std::string last_kernel_complaint() {
  const auto log = sys::open_file("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  if (!log) return {};
  std::string last;
  std::array<char, 8192> record;
  for (;;) {
    const ssize_t n = ::read(log->get(), record.data(), record.size() - 1);
    if (n < 0 && errno == EPIPE) continue;  // overwritten while we read; the next one is there
    if (n <= 0) return last;
    const std::string_view text(record.data(), static_cast<std::size_t>(n));
    const std::size_t begin = text.find(';');
    if (begin == std::string_view::npos ||
        (std::strtol(record.data(), nullptr, 10) & kLevelMask) > kWarning)
      continue;
    last = text.substr(begin + 1, text.find('\n', begin) - begin - 1);
  }
}

}  // namespace mvm::agent
