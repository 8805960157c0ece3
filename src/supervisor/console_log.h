// SPDX-License-Identifier: Apache-2.0
// Logs that a guest fills: bounded in size, rotated once (FILE and FILE.1), and watched for a
// kernel panic.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "core/result.h"
#include "core/units.h"
#include "sys/unique_fd.h"

namespace mvm::supervisor {

// Appends to a file; when it reaches the limit it becomes FILE.1 and a new one begins.
class RotatingLog {
 public:
  static Result<RotatingLog> open(std::string path, Bytes limit);
  // Errors are told once in the supervisor's log and then swallowed: a full disk must not stop the
  // guest.
  void append(std::span<const std::byte> bytes);

 private:
  RotatingLog(std::string path, Bytes limit, sys::UniqueFd fd, std::uint64_t size)
      : path_(std::move(path)), limit_(limit), fd_(std::move(fd)), size_(size) {}
  void rotate();
  std::string path_;
  Bytes limit_;
  sys::UniqueFd fd_;
  std::uint64_t size_;
  bool failed_ = false;
};

// Reads the guest kernel's console: keeps its end for error messages and finds the line of a panic.
class ConsoleScanner {
 public:
  static constexpr std::size_t kTail = 4096;
  // The panic's message, when these bytes complete its line.
  std::optional<std::string> feed(std::string_view bytes);
  // The last lines, at most `count`, without control characters.
  std::string last_lines(int count) const;

 private:
  std::string tail_;
  std::string line_;
};

}  // namespace mvm::supervisor
