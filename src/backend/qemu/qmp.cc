// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/qmp.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <nlohmann/json.hpp>

#include "core/log.h"
#include "sys/io.h"

namespace mvm::backend::qemu {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::uint64_t id_of(const json& object) {
  const auto it = object.find("id");
  return it != object.end() && it->is_number_unsigned() ? it->get<std::uint64_t>() : 0;
}

std::string command_line(std::string_view command, std::uint64_t id) {
  return json({{"execute", command}, {"id", id}}).dump() + "\n";
}

Error gone(std::string_view command) {
  return Error(Errc::kIo, "qemu has gone before it answered '" + std::string(command) + "'");
}

}  // namespace

Result<QmpMessage> parse_qmp(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return Error(Errc::kCorrupt, "qmp: not an object");
  QmpMessage message;
  message.id = id_of(object);
  if (object.contains("QMP")) {
    message.kind = QmpMessage::Kind::kGreeting;
  } else if (object.contains("event")) {
    message.kind = QmpMessage::Kind::kEvent;
    message.name = text_of(object, "event");
    if (const auto data = object.find("data"); data != object.end() && data->is_object())
      message.reason = text_of(*data, "reason");
  } else if (object.contains("return")) {
    message.kind = QmpMessage::Kind::kReturn;
  } else if (const auto error = object.find("error"); error != object.end() && error->is_object()) {
    message.kind = QmpMessage::Kind::kError;
    message.name = text_of(*error, "desc");
  } else {
    return Error(Errc::kCorrupt, "qmp: unknown message");
  }
  return message;
}

Qmp::~Qmp() {
  if (fd_) loop_.remove(fd_.get());
}

Result<> Qmp::start() {
  MVM_TRY(sys::set_nonblocking(fd_.get(), true));
  transmit(command_line("qmp_capabilities", 0));
  return loop_.add(fd_.get(), EPOLLIN, [this](std::uint32_t) { receive(); });
}

void Qmp::execute(std::string_view command, Done done) {
  if (!fd_) {
    if (done) done(gone(command));
    return;
  }
  const std::uint64_t id = next_id_++;
  open_[id] = {std::string(command), std::move(done)};
  const std::string line = command_line(command, id);
  if (ready_)
    transmit(line);
  else
    waiting_ += line;
}

// The commands are short and few, and QEMU always reads: a socket that is full means a dead engine.
void Qmp::transmit(const std::string& line) {
  if (!fd_) return;
  if (::send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size()))
    log::warn("qmp: engine does not take commands");
}

void Qmp::answer(const QmpMessage& message) {
  const auto it = open_.find(message.id);
  const Command command = it == open_.end() ? Command{} : std::move(it->second);
  if (it != open_.end()) open_.erase(it);
  Result<> result;
  if (message.kind == QmpMessage::Kind::kError) {
    result = Error(Errc::kIo, "qemu refused '" + command.name + "': " + message.name);
    log::warn("qmp: " + result.error().text());
  }
  if (command.done) command.done(std::move(result));
}

void Qmp::fail_all() {
  for (auto& [id, command] : std::exchange(open_, {})) {
    if (command.done) command.done(gone(command.name));
  }
}

void Qmp::handle(const QmpMessage& message) {
  switch (message.kind) {
    case QmpMessage::Kind::kGreeting:
      return;
    case QmpMessage::Kind::kEvent:
      return on_event_(message);
    case QmpMessage::Kind::kError:
      return answer(message);
    case QmpMessage::Kind::kReturn:
      if (ready_) return answer(message);
      ready_ = true;
      transmit(waiting_);
      waiting_.clear();
  }
}

void Qmp::receive() {
  if (!fd_) return;
  std::array<std::byte, 16384> chunk;
  const auto n = sys::read_some(fd_.get(), chunk);
  if (!n && n.error().errnum() == EAGAIN) return;
  if (!n || *n == 0 || buffer_.size() > kMaxLine) {
    loop_.remove(fd_.get());
    fd_.reset();
    return fail_all();
  }
  buffer_.append(reinterpret_cast<const char*>(chunk.data()), *n);
  std::size_t end;
  while ((end = buffer_.find('\n')) != std::string::npos) {
    const std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    auto message = parse_qmp(line);
    if (message)
      handle(*message);
    else
      log::warn(message.error().text());
  }
}

}  // namespace mvm::backend::qemu
