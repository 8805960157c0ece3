// SPDX-License-Identifier: Apache-2.0
#include "supervisor/console_log.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "core/log.h"
#include "sys/io.h"

namespace mvm::supervisor {
namespace {

constexpr int kLogFlags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW;
constexpr std::size_t kMaxLine = 1024;

// Whatever a guest prints must not reach a terminal as escape sequences.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n' || c == '\t' || (c >= ' ' && c != 127)) out += c;
  }
  return out;
}

}  // namespace

Result<RotatingLog> RotatingLog::open(std::string path, Bytes limit) {
  sys::UniqueFd fd = MVM_TRY(sys::open_file(path, kLogFlags, 0600));
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno("stat " + path);
  return RotatingLog(std::move(path), limit, std::move(fd), static_cast<std::uint64_t>(st.st_size));
}

void RotatingLog::rotate() {
  if (::rename(path_.c_str(), (path_ + ".1").c_str()) != 0) return;
  auto fd = sys::open_file(path_, kLogFlags, 0600);
  if (!fd) return log::error(fd.error().text());
  fd_ = std::move(*fd);
  size_ = 0;
}

void RotatingLog::append(std::span<const std::byte> bytes) {
  if (size_ + bytes.size() > limit_.count) rotate();
  size_ += bytes.size();
  auto done = sys::write_full(fd_.get(), bytes);
  if (!done && !failed_) log::error("writing " + path_ + ": " + done.error().text());
  failed_ = !done;
}

std::optional<std::string> ConsoleScanner::feed(std::string_view bytes) {
  constexpr std::string_view kPanic = "Kernel panic - not syncing: ";
  std::optional<std::string> panic;
  tail_ += bytes;
  if (tail_.size() > 2 * kTail) tail_.erase(0, tail_.size() - kTail);
  for (const char c : bytes) {
    if (c != '\n') {
      if (line_.size() < kMaxLine) line_ += c;
      continue;
    }
    if (const std::size_t at = line_.find(kPanic); at != std::string::npos && !panic) {
      std::string text = printable(line_.substr(at + kPanic.size()));
      while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) text.pop_back();
      panic = std::move(text);
    }
    line_.clear();
  }
  return panic;
}

std::string ConsoleScanner::last_lines(int count) const {
  const std::string text = printable(tail_);
  std::size_t end = text.size();
  while (end > 0 && text[end - 1] == '\n') --end;
  std::size_t begin = end;
  for (int lines = 0; begin > 0; --begin) {
    if (text[begin - 1] == '\n' && ++lines == count) break;
  }
  return text.substr(begin, end - begin);
}

}  // namespace mvm::supervisor
