// SPDX-License-Identifier: Apache-2.0
// How a pull tells what it is doing; the CLI draws it, tests and scripts ignore it.
#pragma once

#include <string_view>

#include "core/units.h"

namespace mvm::image {

class Progress {
 public:
  virtual ~Progress() = default;
  // A named step: "fetch", "unpack", "erofs", "digest". `total` is 0 when unknown.
  // Called often; done == 0 opens a step.
  virtual void update(std::string_view step, Bytes done, Bytes total) = 0;
};

class NoProgress final : public Progress {
 public:
  void update(std::string_view, Bytes, Bytes) override {}
};

}  // namespace mvm::image
