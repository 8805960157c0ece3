// SPDX-License-Identifier: Apache-2.0
#include "http/client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <list>
#include <span>
#include <utility>

#include "http/parser.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::http {
namespace {

constexpr std::size_t kReadChunk = 16 * 1024;

}  // namespace

class Client::State : public std::enable_shared_from_this<State> {
 public:
  State(sys::EventLoop& loop, std::string path, sys::UniqueFd stream)
      : loop_(loop),
        path_(std::move(path)),
        fd_(std::move(stream)),
        parser_(Parser::Kind::kResponse, limits()) {}

  ~State() { shut_down(); }

  // The client has been destroyed; a callback of this object may be running.
  void shut_down() {
    loop_.cancel_deferred(this);
    for (const Entry& entry : queue_) loop_.cancel(entry.timer);
    queue_.clear();
    disconnect();
  }

  void send(Request request, Millis limit, Callback callback) {
    Entry& entry = queue_.emplace_back();
    entry.id = next_id_++;
    entry.name = request.method + " " + request.target;
    entry.request = std::move(request);
    entry.callback = std::move(callback);
    entry.timer =
        loop_.after(limit, [this, id = entry.id, deadline = Deadline::after(limit, entry.name)] {
          time_out(id, deadline.error());
        });
    loop_.defer(this, [this] { advance(); });
  }

  std::size_t pending() const { return queue_.size(); }

 private:
  struct Entry {
    std::uint64_t id = 0;
    std::string name;
    Request request;
    Callback callback;
    sys::EventLoop::TimerId timer = 0;
  };

  static ParserLimits limits() { return {.head_bytes = 64 * 1024, .body_bytes = kMaxBody}; }

  // Sends the first request of the queue, unless one is under way.
  void advance() {
    if (under_way_ || queue_.empty()) return;
    if (const Result<> ready = connect(); !ready) return fail_first(ready.error());
    under_way_ = true;
    output_ = serialize(queue_.front().request);
    sent_ = 0;
    flush();
  }

  // The server has closed a connection of which the loop has not told us yet.
  bool ended_while_idle() const {
    char byte = 0;
    return ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  }

  Result<> connect() {
    if (watched_ && ended_while_idle()) disconnect();
    if (watched_) return {};
    if (!fd_) {
      if (path_.empty()) return Error(Errc::kIo, "the connection has ended");
      fd_ = MVM_TRY(sys::connect_unix_nofollow(path_));
    }
    MVM_TRY(sys::set_nonblocking(fd_.get(), true));
    parser_ = Parser(Parser::Kind::kResponse, limits());
    MVM_TRY(loop_.add(fd_.get(), EPOLLIN, [this](std::uint32_t events) { on_events(events); }));
    watched_ = true;
    return {};
  }

  void disconnect() {
    if (watched_) loop_.remove(fd_.get());
    fd_.reset();
    watched_ = under_way_ = false;
    output_.clear();
    sent_ = 0;
  }

  void on_events(std::uint32_t events) {
    const std::shared_ptr<State> keep = shared_from_this();
    if ((events & EPOLLOUT) != 0) flush();
    if (watched_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_input();
  }

  void flush() {
    while (sent_ < output_.size()) {
      const ssize_t count =
          ::send(fd_.get(), output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) break;
      if (count < 0) {
        // The server refuses to read on; its answer may be here all the same.
        output_.clear();
        sent_ = 0;
        break;
      }
      sent_ += static_cast<std::size_t>(count);
    }
    const bool more = sent_ < output_.size();
    const auto events = static_cast<std::uint32_t>(more ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (const Result<> modified = loop_.modify(fd_.get(), events); !modified)
      fail_first(modified.error());
  }

  void read_input() {
    std::array<char, kReadChunk> chunk;
    const Result<std::size_t> count =
        sys::read_some(fd_.get(), std::as_writable_bytes(std::span(chunk)));
    if (!count) {
      if (count.error().errnum() != EAGAIN) broken(count.error());
      return;
    }
    if (*count == 0) return end_of_stream();
    std::string_view bytes(chunk.data(), *count);
    while (!bytes.empty()) {
      const Result<std::size_t> used = parser_.feed(bytes);
      if (!used) return broken(used.error());
      bytes.remove_prefix(*used);
      if (!parser_.done()) continue;
      // Bytes behind an answer belong to nothing that was asked: they end the connection.
      answered(bytes.empty());
      return;
    }
    // An answer that nobody asked for yet.
    if (!under_way_) disconnect();
  }

  void end_of_stream() {
    const Result<> finished = parser_.finish();
    if (under_way_ && finished && parser_.done()) return answered(false);
    broken(finished ? Error(Errc::kIo, "the server closed the connection before its answer")
                    : finished.error());
  }

  void answered(bool keep) {
    Response response = parser_.take_response();
    if (!under_way_ || !keep || !response.keep_alive || sent_ < output_.size()) {
      const bool expected = under_way_;
      disconnect();
      if (!expected) return;
    }
    finish_first(std::move(response));
  }

  // What waits in the queue has not been sent and does not suffer from it.
  void broken(Error error) {
    if (!under_way_) return disconnect();
    fail_first(std::move(error));
  }

  // The connection cannot be trusted any more.
  void fail_first(Error error) {
    disconnect();
    if (queue_.empty()) return;
    std::string name = queue_.front().name;
    finish_first(std::move(error).with_context(std::move(name)));
  }

  void finish_first(Result<Response> result) {
    under_way_ = false;
    Entry entry = std::move(queue_.front());
    queue_.pop_front();
    loop_.cancel(entry.timer);
    if (!queue_.empty()) loop_.defer(this, [this] { advance(); });
    const std::shared_ptr<State> keep = shared_from_this();
    entry.callback(std::move(result));
  }

  void time_out(std::uint64_t id, Error error) {
    const auto it = std::find_if(queue_.begin(), queue_.end(),
                                 [id](const Entry& entry) { return entry.id == id; });
    if (it == queue_.end()) return;
    // An answer that comes late must not be taken for the next request's.
    if (it == queue_.begin() && under_way_) disconnect();
    Entry entry = std::move(*it);
    queue_.erase(it);
    if (!queue_.empty()) loop_.defer(this, [this] { advance(); });
    const std::shared_ptr<State> keep = shared_from_this();
    entry.callback(std::move(error));
  }

  sys::EventLoop& loop_;
  const std::string path_;
  sys::UniqueFd fd_;
  Parser parser_;
  std::list<Entry> queue_;  // the first is under way, if under_way_
  std::string output_;
  std::size_t sent_ = 0;
  std::uint64_t next_id_ = 1;
  bool watched_ = false;
  bool under_way_ = false;
};

Client::Client(sys::EventLoop& loop, std::string socket_path)
    : state_(std::make_shared<State>(loop, std::move(socket_path), sys::UniqueFd())) {}
Client::Client(sys::EventLoop& loop, sys::UniqueFd stream)
    : state_(std::make_shared<State>(loop, std::string(), std::move(stream))) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&& other) noexcept {
  if (state_ && state_ != other.state_) state_->shut_down();
  state_ = std::move(other.state_);
  return *this;
}
Client::~Client() {
  if (state_) state_->shut_down();
}

void Client::send(Request request, Millis limit, Callback callback) {
  state_->send(std::move(request), limit, std::move(callback));
}

void Client::send(std::string method, std::string target, std::string body, Millis limit,
                  Callback callback) {
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  send(std::move(request), limit, std::move(callback));
}

std::size_t Client::pending() const { return state_->pending(); }

}  // namespace mvm::http
