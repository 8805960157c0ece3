// SPDX-License-Identifier: Apache-2.0
// The builder: a machine that builds for hosts that cannot, or may not, do it themselves.
//
// It is an ordinary machine named mvm-builder. Its image is a Debian that mvm has built natively,
// its volume of the same name keeps what builds keep, and it ends by itself when nobody builds for
// a while.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent_client/client.h"
#include "core/result.h"
#include "core/units.h"
#include "store/layout.h"
#include "workflow/machines.h"

namespace mvm::workflow {

inline constexpr char kBuilderName[] = "mvm-builder";  // of the machine and of its volume
inline constexpr char kBuilderCache[] = "/build";      // where the volume lies in the guest

struct BuilderShape {
  std::uint32_t vcpus = 0;  // 0: those of this host, four at most
  Bytes memory = gibibytes(2);
  Bytes cache = gibibytes(32);  // of the volume, when it is made
  Millis idle{10 * 60 * 1000};  // after which it ends
  std::string backend = "auto";
  std::optional<spec::Isolation> least_isolation;
};

// As the configuration has it. Errors: those of the configuration.
Result<BuilderShape> builder_shape(const store::Layout& layout);

struct BuilderEvents {
  std::function<void(const std::string&)> on_step;  // work that may take a while
  std::function<void(const std::string&)> on_note;  // what people should know: the backend, say
};

// A connection to the builder, whose guest is ready.
struct Builder {
  Machine machine;
  std::unique_ptr<sys::EventLoop> loop;  // outlives the client
  std::unique_ptr<agent_client::Client> client;
};

// The builder, started when it does not run or is an earlier mvm's. Errors: those of building its
// image, whose hint says what would make one; those of starting a machine.
Result<Builder> enter_builder(const store::Layout& layout, const BuilderShape& shape,
                              const BuilderEvents& events);

// Whether it runs or not. Nothing when there is none. Errors: kAlreadyExists when a machine of this
// name is not ours.
Result<std::optional<Machine>> find_builder(const store::Layout& layout);

// Stops it and removes the machine; its cache stays. False when there was none.
Result<bool> stop_builder(const store::Layout& layout);

// Stops it and removes its cache; what that has freed.
Result<Bytes> prune_builder(const store::Layout& layout);

}  // namespace mvm::workflow
