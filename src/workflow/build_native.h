// SPDX-License-Identifier: Apache-2.0
// A build as processes of this host, in namespaces of their own.
#pragma once

#include <functional>

#include "build/job.h"
#include "core/result.h"
#include "workflow/programs.h"

namespace mvm::workflow {

// Runs mvm-build on the job. It ends with us, and everything it has started too.
// Errors: the job's own.
Result<build::Built> build_natively(const build::Job& job, const Programs& programs,
                                    const std::function<void(const build::Event&)>& on_event);

// The lines of mvm-build as they come, in pieces of any length.
class BuildLines {
 public:
  explicit BuildLines(std::function<void(const build::Event&)> on_event)
      : on_event_(std::move(on_event)) {}
  // Errors: kGuestFault for what is no line of mvm-build's.
  Result<> feed(std::string_view text);
  // What it said at its end. Errors: the build's; kGuestFault when it said nothing.
  Result<build::Built> result() const;

 private:
  std::function<void(const build::Event&)> on_event_;
  std::string partial_;
  std::optional<build::Built> built_;
  std::optional<Error> error_;
};

}  // namespace mvm::workflow
