// SPDX-License-Identifier: Apache-2.0
// How a pull tells what it is doing; the CLI draws it, tests and scripts ignore it.
#pragma once

#include <string_view>

#include "core/units.h"

namespace mvm::image {

class Progress {
 public:
  virtual ~Progress() = default;
  // A step in words: "fetching debian:bookworm". `total` is 0 when unknown. Called often; other
  // words open another step.
  virtual void update(std::string_view step, Bytes done, Bytes total) = 0;
};

class NoProgress final : public Progress {
 public:
  void update(std::string_view, Bytes, Bytes) override {}
};

}  // namespace mvm::image
