// SPDX-License-Identifier: Apache-2.0
#include "agent_client/session.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sys/files.h"
#include "sys/io.h"
#include "sys/pty.h"
#include "sys/signals.h"

namespace mvm::agent_client {
namespace {

class Session {
 public:
  Session(Client& client, const SessionIo& io, const SessionOptions& options)
      : client_(client), loop_(client.loop()), io_(io), options_(options) {}
  ~Session() {
    if (stream_) stream_->abandon();
    set_input_watch(false);
    if (signals_) loop_.remove(signals_.get());
  }

  Result<wire::Closed> run(const wire::Open& request) {
    MVM_TRY(watch_signals());
    if (options_.raw_terminal) raw_.emplace(MVM_TRY(sys::RawMode::enter(io_.input)));
    stream_ = MVM_TRY(client_.streams().open(request, handlers()));
    if (io_.input < 0) {
      stream_->send_eof();
    } else {
      // epoll refuses regular files: they are always ready, and read whenever there is credit.
      struct stat st;
      input_always_ready_ = ::fstat(io_.input, &st) == 0 && S_ISREG(st.st_mode);
      pump_input();
    }
    Deadline deadline = Deadline::none();
    if (options_.give_up)
      deadline = Deadline::after(*options_.give_up, "the end of the guest's process");
    while (!closed_) {
      if (failure_) return *failure_;
      MVM_TRY(loop_.run_once(deadline));
    }
    if (failure_) return *failure_;
    if (output_broken_) return wire::Closed{wire::Outcome::kSignalled, SIGPIPE, ""};
    // We cancel only what we no longer read: this came from the machine.
    if (closed_->outcome == wire::Outcome::kCancelled) return client_.wait_end_reason();
    return *closed_;
  }

 private:
  StreamHandlers handlers() {
    StreamHandlers h;
    h.on_data = [this](std::uint8_t channel, std::span<const std::byte> bytes) {
      write_out(channel, bytes);
    };
    h.on_credit = [this] { pump_input(); };
    h.on_started = options_.on_started;
    h.on_closed = [this](const wire::Closed& closed) { closed_ = closed; };
    return h;
  }

  void write_out(std::uint8_t channel, std::span<const std::byte> bytes) {
    if (std::string* text = channel == wire::kStderr ? io_.error_text : io_.output_text) {
      const std::size_t room = kMostText - std::min(kMostText, text->size());
      text->append(reinterpret_cast<const char*>(bytes.data()), std::min(room, bytes.size()));
      moved(bytes.size());
      return stream_->consumed(channel, bytes.size());
    }
    const int fd = channel == wire::kStderr ? io_.errors : io_.output;
    if (fd >= 0 && !output_broken_) {
      if (auto done = sys::write_full(fd, bytes); !done) {
        output_broken_ = true;
        if (done.error().errnum() != EPIPE)
          failure_ = std::move(done).error().with_context("writing output");
        stream_->cancel();
      }
    }
    moved(bytes.size());
    stream_->consumed(channel, bytes.size());
  }

  void moved(std::size_t bytes) {
    total_ += bytes;
    if (options_.on_progress) options_.on_progress(total_);
  }

  // Reads input while there is credit; a pipe or terminal is then watched, and left alone without
  // credit.
  void pump_input() {
    if (!stream_ || io_.input < 0 || input_done_) return;
    if (!input_always_ready_) return set_input_watch(stream_->credit() > 0);
    while (!input_done_ && stream_->credit() > 0 && !stream_->closed()) read_input();
  }

  void read_input() {
    chunk_.resize(wire::kMaxInputChunk);
    const std::size_t limit = std::min<std::size_t>(chunk_.size(), stream_->credit());
    const auto n = sys::read_some(io_.input, std::span(chunk_).first(limit));
    if (!n && n.error().errnum() == EAGAIN) return;
    if (!n || *n == 0) {
      input_done_ = true;
      set_input_watch(false);
      return stream_->send_eof();
    }
    stream_->send(std::span(chunk_).first(*n));
    moved(*n);
  }

  void set_input_watch(bool on) {
    if (on == watching_input_) return;
    watching_input_ = on;
    if (!on) return loop_.remove(io_.input);
    auto added = loop_.add(io_.input, EPOLLIN, [this](std::uint32_t) {
      read_input();
      pump_input();
    });
    if (!added) {  // some other kind of file that epoll refuses (a device such as /dev/zero)
      watching_input_ = false;
      input_always_ready_ = true;
      pump_input();
    }
  }

  Result<> watch_signals() {
    if (!options_.forward_signals) return {};
    signals_ =
        MVM_TRY(sys::signal_fd({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH}));
    return loop_.add(signals_.get(), EPOLLIN, [this](std::uint32_t) {
      while (const auto info = sys::read_signal(signals_.get()))
        on_signal(static_cast<int>(info->ssi_signo));
    });
  }

  void on_signal(int signum) {
    if (!stream_) return;
    if (signum != SIGWINCH) return stream_->send_signal(signum);
    if (!options_.raw_terminal) return;
    if (const auto size = sys::window_size(io_.input))
      stream_->send_resize(size->rows, size->columns);
  }

  Client& client_;
  sys::EventLoop& loop_;
  const SessionIo io_;
  const SessionOptions& options_;
  sys::UniqueFd signals_;
  std::optional<sys::RawMode> raw_;
  std::shared_ptr<Stream> stream_;
  std::optional<wire::Closed> closed_;
  std::optional<Error> failure_;
  std::uint64_t total_ = 0;
  bool input_always_ready_ = false;
  bool watching_input_ = false;
  std::vector<std::byte> chunk_;
  bool input_done_ = false;
  bool output_broken_ = false;
};

}  // namespace

Result<wire::Closed> run_session(Client& client, const wire::Open& request, const SessionIo& io,
                                 const SessionOptions& options) {
  Session session(client, io, options);
  return session.run(request);
}

Error closed_error(const wire::Closed& closed, const std::string& guest_words) {
  std::string text = guest_words.empty() ? closed.message : guest_words;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.empty()) text = "the guest gave no reason";
  const bool missing = text.find("No such file") != std::string::npos;
  return Error(missing ? Errc::kNotFound : Errc::kIo, "guest: " + text);
}

Result<std::string> collect(Client& client, const wire::Open& request, Bytes limit) {
  std::string out;
  std::string words;
  std::optional<wire::Closed> closed;
  std::shared_ptr<Stream> stream;
  bool over = false;
  StreamHandlers handlers;
  handlers.on_data = [&](std::uint8_t channel, std::span<const std::byte> bytes) {
    std::string& into = channel == wire::kStderr ? words : out;
    if (!over && into.size() + bytes.size() <= limit.count) {
      into.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    } else if (!std::exchange(over, true)) {
      stream->cancel();
    }
    stream->consumed(channel, bytes.size());
  };
  handlers.on_closed = [&](const wire::Closed& c) { closed = c; };
  stream = MVM_TRY(client.streams().open(request, handlers));
  sys::ScopeGuard forget([&] { stream->abandon(); });
  stream->send_eof();
  const Deadline never = Deadline::none();
  while (!closed) MVM_TRY(client.loop().run_once(never));
  if (over) return Error(Errc::kLimit, "the guest's answer is larger than " + format_size(limit));
  if (closed->outcome == wire::Outcome::kExited && closed->code == 0) return out;
  return closed_error(*closed, words);
}

}  // namespace mvm::agent_client
