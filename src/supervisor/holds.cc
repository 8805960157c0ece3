// SPDX-License-Identifier: Apache-2.0
#include "supervisor/holds.h"

#include <algorithm>
#include <utility>

#include "core/log.h"

namespace mvm::supervisor {

using wire::RequestKind;

void Holds::begin(Guest guest) {
  guest_ = std::move(guest);
  ++guest_number_;
}

void Holds::end(const Error& why) {
  guest_.reset();
  ended_ = why;
  ++guest_number_;
  busy_ = paused_ = false;
  saver_.reset();
  for (const Waiting& open : std::exchange(waiting_, {}))
    handlers_.on_answer(open.client, {ended_});
}

void Holds::request(ClientId client, wire::Request request) {
  waiting_.push_back({client, request});
  next();
}

void Holds::client_gone(ClientId client) {
  // The request that is under way is carried out; its answer is nobody's.
  const auto first = waiting_.begin() + (busy_ ? 1 : 0);
  waiting_.erase(
      std::remove_if(first, waiting_.end(), [&](const Waiting& w) { return w.client == client; }),
      waiting_.end());
  if (saver_ != client) return;
  log::info("the client that saved the machine has gone");
  // In turn with the others: the save itself may still be under way.
  waiting_.insert(waiting_.begin() + (busy_ ? 1 : 0), {client, {RequestKind::kSaved}});
  next();
}

void Holds::next() {
  if (busy_ || waiting_.empty()) return;
  busy_ = true;
  act(waiting_.front().request);
}

// Ends the request that is under way.
void Holds::done(const Result<>& result) {
  const Waiting open = waiting_.front();
  waiting_.pop_front();
  busy_ = false;
  wire::Answer answer;
  if (!result) answer.failure = result.error();
  handlers_.on_answer(open.client, answer);
  next();
}

// The guest's answer counts only while it is the same guest.
backend::Machine::Done Holds::guarded(std::function<void(Result<>)> then) {
  return [this, number = guest_number_, then = std::move(then)](Result<> result) {
    if (number == guest_number_) then(std::move(result));
  };
}

void Holds::act(const wire::Request& request) {
  if (!guest_) return done(ended_);
  if (saver_ && *saver_ != waiting_.front().client)
    return done(Error(Errc::kBusy, "a snapshot of it is being made").with_hint("try again"));
  switch (request.kind) {
    case RequestKind::kPause:
      return pause();
    case RequestKind::kResume:
      return resume();
    case RequestKind::kSave:
      return save();
    case RequestKind::kSaved:
      return saved();
  }
}

// Twice is as good as once.
void Holds::pause() {
  if (paused_) return done({});
  guest_->pause(guarded([this](const Result<>& result) {
    if (result) {
      paused_ = true;
      handlers_.on_paused(true);
    }
    done(result);
  }));
}

void Holds::resume() {
  if (!paused_) return done({});
  guest_->resume(guarded([this](const Result<>& result) {
    if (result) {
      paused_ = false;
      handlers_.on_paused(false);
    }
    done(result);
  }));
}

void Holds::save() {
  if (saver_) return done(Error(Errc::kInvalidArgument, "the machine is being saved already"));
  saver_ = waiting_.front().client;
  if (paused_) return write();
  guest_->pause(guarded([this](const Result<>& result) {
    if (result) return write();
    saver_.reset();
    done(result);
  }));
}

void Holds::write() {
  guest_->save(guarded([this](const Result<>& result) {
    if (result) return done(result);
    // What could not be saved goes on.
    let_go_on([this, result](const Result<>& gone_on) {
      if (!gone_on) log::error("going on after a failed save: " + gone_on.error().text());
      done(result);
    });
  }));
}

void Holds::saved() {
  if (!saver_) return done(Error(Errc::kInvalidArgument, "the machine is not being saved"));
  let_go_on([this](const Result<>& result) { done(result); });
}

void Holds::let_go_on(std::function<void(Result<>)> then) {
  saver_.reset();
  guest_->discard();
  if (paused_) return then({});
  guest_->resume(guarded(std::move(then)));
}

}  // namespace mvm::supervisor
