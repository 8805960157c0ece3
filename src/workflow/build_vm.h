// SPDX-License-Identifier: Apache-2.0
// A build in the builder: the same mvm-build and the same job, with paths of the guest.
#pragma once

#include <functional>

#include "build/job.h"
#include "core/result.h"
#include "workflow/builder.h"
#include "workflow/programs.h"

namespace mvm::workflow {

// Streams the project's inputs in, runs mvm-build there, and streams the image out to job.output,
// whose digest is computed here. On a failure the logs of the steps are in job.work_dir.
// Errors: the job's own; kGuestFault when the builder ends or lies.
Result<build::Built> build_in_builder(const build::Job& job, const Programs& programs,
                                      Builder& builder,
                                      const std::function<void(const build::Event&)>& on_event);

// The job as the guest sees it: absolute paths of the host lie below `root`. Pure.
Result<build::Job> job_in_guest(const build::Job& job, const std::string& root);

}  // namespace mvm::workflow
