// SPDX-License-Identifier: Apache-2.0
// What clients ask of a running machine beside its streams: to be paused, to go on, to be saved.
//
//            pause                    save, of a running machine
//   running ──────▶ paused   running ───────────────────────────▶ saving ─┐ saved, or its client is
//      ▲               │        ▲                                         │ gone
//      └──── resume ───┘        └─────────────────────────────────────────┘
//
// A paused machine is saved and stays paused. Requests are carried out one after the other. While a
// machine is being saved nobody else may pause it, let it go on or save it: its disk is being
// copied. A stop is not asked here: it comes first, and ends what is under way.
//
// Threads: none.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "wire/messages.h"

namespace mvm::supervisor {

class Holds {
 public:
  using ClientId = std::uint64_t;
  // The guest, as far as it can be held.
  struct Guest {
    std::function<void(backend::Machine::Done)> pause;
    std::function<void(backend::Machine::Done)> resume;
    std::function<void(backend::Machine::Done)> save;
    // Removes what is left of a save that is over.
    std::function<void()> discard;
  };
  struct Handlers {
    std::function<void(ClientId, const wire::Answer&)> on_answer;
    // Paused by a client's wish, or no longer. Not called for a save.
    std::function<void(bool)> on_paused;
  };
  explicit Holds(Handlers handlers) : handlers_(std::move(handlers)) {}

  // The guest serves requests from now on.
  void begin(Guest guest);
  // It does not any more, and why: what is open is answered with that.
  void end(const Error& why);

  void request(ClientId client, wire::Request request);
  void client_gone(ClientId client);

  bool paused() const { return paused_; }

 private:
  struct Waiting {
    ClientId client = 0;
    wire::Request request;
  };
  void next();
  void act(const wire::Request& request);
  void pause();
  void resume();
  void save();
  void write();
  void saved();
  void let_go_on(std::function<void(Result<>)> then);
  void done(const Result<>& result);
  backend::Machine::Done guarded(std::function<void(Result<>)> then);

  Handlers handlers_;
  std::optional<Guest> guest_;
  Error ended_{Errc::kBusy, "the machine is not ready yet"};
  std::deque<Waiting> waiting_;     // the first is under way while busy_
  std::uint64_t guest_number_ = 0;  // answers of an earlier boot's guest are nobody's
  bool busy_ = false;
  bool paused_ = false;
  std::optional<ClientId> saver_;
};

}  // namespace mvm::supervisor
