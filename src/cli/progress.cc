// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/output.h"
#include "sys/io.h"

namespace mvm::cli {
namespace {

constexpr Millis kShowAfter{1000};
constexpr Millis kRedrawEvery{100};
constexpr std::string_view kEraseLine = "\r\x1b[K";

std::size_t terminal_columns(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string elapsed_text(Millis elapsed) {
  if (elapsed >= Millis(60'000)) return format_duration(elapsed);
  const auto tenths = elapsed.count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + "s";
}

// The first `columns` code points.
std::string cut(const std::string& text, std::size_t columns) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (seen++ == columns) return text.substr(0, i);
  }
  return text;
}

}  // namespace

Progress::Progress(const Context& context)
    : Progress(context.err_fd, !context.quiet && !context.json && ::isatty(context.err_fd) == 1,
               terminal_columns(context.err_fd), Clock::now) {}

Progress::Progress(int fd, bool enabled, std::size_t columns, Now now)
    : fd_(fd), enabled_(enabled), columns_(columns), now_(std::move(now)) {}

void Progress::step(const std::string& label) {
  finish();
  label_ = printable(label);
  started_ = now_();
}

void Progress::update(Bytes done, std::optional<Bytes> total) {
  if (!enabled_ || label_.empty()) return;
  const Clock::time_point now = now_();
  if (now - started_ < kShowAfter) return;
  if (visible_ && now - drawn_ < kRedrawEvery) return;
  drawn_ = now;
  visible_ = true;
  const std::string text = std::string(kEraseLine) + line(done, total, now);
  // Progress that cannot be shown must not stop the work.
  if (!sys::write_full(fd_, text)) enabled_ = false;
}

void Progress::finish() {
  if (visible_) static_cast<void>(sys::write_full(fd_, kEraseLine).has_value());
  visible_ = false;
  label_.clear();
}

std::string Progress::line(Bytes done, std::optional<Bytes> total, Clock::time_point now) const {
  std::string figures;
  if (done.count > 0 || total) figures += "  " + format_size(done);
  if (total) figures += "/" + format_size(*total);
  figures += "  " + elapsed_text(std::chrono::duration_cast<Millis>(now - started_));
  // The last column stays free: writing into it makes some terminals wrap.
  const std::size_t room = columns_ > figures.size() + 1 ? columns_ - figures.size() - 1 : 0;
  return cut(cut(label_, room) + figures, columns_ > 0 ? columns_ - 1 : 0);
}

}  // namespace mvm::cli
