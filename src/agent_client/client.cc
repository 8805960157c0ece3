// SPDX-License-Identifier: Apache-2.0
#include "agent_client/client.h"

#include <cerrno>

namespace mvm::agent_client {

using wire::FrameType;
using wire::VmPhase;

Error state_error(const wire::VmState& state) {
  Error error(Errc::kGuestFault, state.message.empty() ? "the machine has failed" : state.message);
  if (state.hint.empty()) return error;
  return std::move(error).with_hint(state.hint);
}

Client::Client(sys::EventLoop& loop, sys::UniqueFd fd)
    : loop_(loop),
      link_(loop, std::move(fd),
            {[this](const wire::Frame& frame) { return on_frame(frame); },
             [this](const std::optional<Error>& error) { on_closed(error); },
             {}}),
      streams_([this](std::uint32_t stream, FrameType type, std::uint8_t channel,
                      std::span<const std::byte> payload) {
        link_.send(stream, type, channel, payload);
      }) {}

Result<std::unique_ptr<Client>> Client::attach(sys::EventLoop& loop, sys::UniqueFd fd) {
  auto client = std::unique_ptr<Client>(new Client(loop, std::move(fd)));
  MVM_TRY(client->link_.start());
  client->link_.send_control(FrameType::kHello,
                             wire::encode(wire::Hello{wire::kProtocolVersion, "mvmctl", ""}));
  return client;
}

Result<> Client::on_frame(const wire::Frame& frame) {
  if (frame.stream != 0) return streams_.handle(frame);
  switch (frame.type) {
    case FrameType::kHello:
      MVM_TRY(wire::decode_hello(frame.payload));
      return {};
    case FrameType::kState:
      state_ = MVM_TRY(wire::decode_vm_state(frame.payload));
      return {};
    case FrameType::kAnswer:
      answer_ = MVM_TRY(wire::decode_answer(frame.payload));
      return {};
    default:
      return Error(Errc::kGuestFault, "supervisor protocol: unexpected frame");
  }
}

void Client::on_closed(const std::optional<Error>& error) {
  // A reset: it ended with something of ours unread, or before it took the connection.
  const bool ended = !error || error->errnum() == ECONNRESET;
  failure_ = ended ? Error(Errc::kNotFound, "the supervisor has ended") : *error;
  streams_.close_all({wire::Outcome::kCancelled, 0, lost().text()});
  if (on_disconnected) on_disconnected();
}

Error Client::lost() const {
  if (state_ && state_->phase == VmPhase::kFailed) return state_error(*state_);
  if (state_ && (state_->phase == VmPhase::kStopped || state_->phase == VmPhase::kStopping))
    return Error(Errc::kGuestFault, "the machine has stopped");
  if (state_ && state_->phase == VmPhase::kPaused && link_.open())
    return Error(Errc::kUnavailable, "it is paused").with_hint(std::string(state_->hint));
  return failure_ ? *failure_ : Error(Errc::kNotFound, "the supervisor has ended");
}

Result<> Client::wait_ready(const Deadline& deadline) {
  for (;;) {
    if (state_ && state_->phase == VmPhase::kReady) return {};
    if (state_ && state_->phase != VmPhase::kStarting) return lost();
    if (!link_.open()) return lost();
    MVM_TRY(loop_.run_once(deadline));
  }
}

Result<> Client::wait_healthy(const Deadline& deadline) {
  for (;;) {
    MVM_TRY(wait_ready(deadline));
    switch (state_->health) {
      case wire::Health::kHealthy:
        return {};
      case wire::Health::kUnhealthy:
        return Error(Errc::kGuestFault, "it is unhealthy");
      case wire::Health::kNone:
        return Error(Errc::kUnsupported, "nothing in it has a check of health")
            .with_hint("give a service one in mvm.toml: [services.NAME.health]");
      case wire::Health::kStarting:
        break;
    }
    MVM_TRY(loop_.run_once(deadline));
  }
}

Result<> Client::wait_requests(const Deadline& deadline) {
  auto ready = wait_ready(deadline);
  const bool paused = state_ && state_->phase == VmPhase::kPaused && link_.open();
  return paused ? Result<>() : std::move(ready);
}

Result<> Client::ask(const wire::Request& request, const Deadline& deadline) {
  answer_.reset();
  link_.send_control(FrameType::kRequest, wire::encode(request));
  while (!answer_) {
    if (!link_.open()) return lost();
    MVM_TRY(loop_.run_once(deadline));
  }
  if (answer_->failure) return *answer_->failure;
  return {};
}

Result<wire::VmState> Client::wait_stopped(const Deadline& deadline) {
  for (;;) {
    const bool over =
        state_ && (state_->phase == VmPhase::kStopped || state_->phase == VmPhase::kFailed);
    // The end of the connection, not the last state, says that everything has been cleaned up.
    if (!link_.open()) return over ? Result<wire::VmState>(*state_) : Result<wire::VmState>(lost());
    MVM_TRY(loop_.run_once(deadline));
  }
}

Error Client::wait_end_reason() {
  const Deadline deadline = Deadline::after(Millis(10'000), "word of what became of the machine");
  const auto undecided = [this] {
    return !state_ || state_->phase == VmPhase::kReady || state_->phase == VmPhase::kPaused ||
           state_->phase == VmPhase::kStopping;
  };
  while (link_.open() && undecided()) {
    if (auto turn = loop_.run_once(deadline); !turn) return turn.error();
  }
  if (state_ && state_->phase == VmPhase::kStarting)
    return Error(Errc::kGuestFault, "the machine was restarted");
  if (state_ && state_->phase == VmPhase::kStopped && !state_->message.empty())
    return Error(Errc::kGuestFault, "the machine has ended: " + state_->message);
  return lost();
}

void Client::request_stop(const wire::Stop& stop) {
  link_.send_control(FrameType::kStop, wire::encode(stop));
}

}  // namespace mvm::agent_client
