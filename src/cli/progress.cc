// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/output.h"
#include "sys/io.h"

namespace mvm::cli {
namespace {

constexpr Millis kShowAfter{1000};
constexpr Millis kRedrawEvery{100};
constexpr Millis kTick{500};
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
               terminal_columns(context.err_fd), Clock::now) {
  ticks_ = true;
}

Progress::Progress(int fd, bool enabled, std::size_t columns, Now now)
    : fd_(fd), enabled_(enabled), ticks_(false), columns_(columns), now_(std::move(now)) {}

void Progress::step(const std::string& label) {
  if (!enabled_) return;
  const Lock lock(mutex_);
  const std::string shown = printable(label);
  if (shown == label_) return;
  erase(lock);
  label_ = shown;
  done_ = {};
  total_.reset();
  percent_ = -1;
  started_ = now_();
  start_ticking(lock);
}

void Progress::percent(int value) {
  if (!enabled_) return;
  const Lock lock(mutex_);
  percent_ = value;
  draw(lock);
}

void Progress::update(Bytes done, std::optional<Bytes> total) {
  if (!enabled_) return;
  const Lock lock(mutex_);
  done_ = done;
  total_ = total;
  draw(lock);
}

void Progress::draw(const Lock&) {
  if (!enabled_ || label_.empty()) return;
  const Clock::time_point now = now_();
  if (now - started_ < kShowAfter) return;
  if (visible_ && now - drawn_ < kRedrawEvery) return;
  drawn_ = now;
  visible_ = true;
  // Progress that cannot be shown must not stop the work.
  if (!sys::write_full(fd_, std::string(kEraseLine) + line(now))) enabled_ = false;
}

void Progress::erase(const Lock&) {
  if (visible_) static_cast<void>(sys::write_full(fd_, kEraseLine).has_value());
  visible_ = false;
  label_.clear();
}

void Progress::finish() {
  {
    const Lock lock(mutex_);
    erase(lock);
  }
  if (!ticker_.joinable()) return;
  ended_.notify_one();
  ticker_.join();
}

// Signals are for the thread that waits for them.
void Progress::start_ticking(const Lock&) {
  if (!ticks_ || ticker_.joinable()) return;
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  ticker_ = std::thread([this] { tick(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Progress::tick() {
  Lock lock(mutex_);
  while (!label_.empty()) {
    ended_.wait_for(lock, kTick);
    draw(lock);
  }
}

std::string Progress::line(Clock::time_point now) const {
  std::string figures;
  if (percent_ >= 0) figures += "  " + std::to_string(percent_) + "%";
  if (done_.count > 0 || total_) figures += "  " + format_size(done_);
  if (total_) figures += "/" + format_size(*total_);
  figures += "  " + elapsed_text(std::chrono::duration_cast<Millis>(now - started_));
  // The last column stays free: writing into it makes some terminals wrap.
  const std::size_t room = columns_ > figures.size() + 1 ? columns_ - figures.size() - 1 : 0;
  return cut(cut(label_, room) + figures, columns_ > 0 ? columns_ - 1 : 0);
}

}  // namespace mvm::cli
