// SPDX-License-Identifier: Apache-2.0
// The support matrix: which hosts run what, how well, and how safe that is. Pure data and pure
// functions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "platform/host_facts.h"

namespace mvm::platform {

enum class Status { kSupported, kLimited, kExperimental, kFuture, kUnsupported };
std::string_view status_name(Status status);  // "supported"

struct MatrixRow {
  std::string_view id;  // "linux-kvm"
  std::string_view host;
  std::string_view arch;
  std::string_view backend;
  Status status;
  std::string_view notes;
  std::string_view posture;        // what the boundary around a guest is worth
  std::string_view image_builder;  // where Linux image work happens
};

std::span<const MatrixRow> matrix();

// The row this host belongs to; nothing on a system or processor the matrix does not know.
const MatrixRow* row_for(const HostFacts& facts);

// Whether machines can be started here at all.
struct Support {
  bool can_run = false;
  Status status = Status::kUnsupported;
  std::string reason;  // one sentence
  std::string hint;    // what to do; empty when nothing is to be done
};
Support decide(const HostFacts& facts);

}  // namespace mvm::platform
