// SPDX-License-Identifier: Apache-2.0
// `mvmctl build`: a project into an image and a revision that names it.
//
// Nothing is done when nothing has changed. What is done is done by mvm-build.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "build/job.h"
#include "build/plan.h"
#include "core/result.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "workflow/project.h"

namespace mvm::workflow {

enum class Where {
  kAuto,    // here if this host has what the steps need, else in the builder
  kNative,  // here
  kVm,      // in the builder
};

// "auto", "native", "vm". Errors: kInvalidArgument.
Result<Where> parse_where(std::string_view text);

struct BuildRequest {
  std::string path = ".";  // the project, or a directory below it
  bool force = false;      // although nothing has changed
  bool refresh = false;    // and look again at what lies elsewhere; implies force
  Where where = Where::kAuto;
  std::string key = {};  // that signs a sealed image; empty: the configured or only one
};

struct BuildEvents {
  std::function<void(const build::Plan&)> on_plan;
  std::function<void(const build::Event&)> on_event;
  std::function<void(const std::string&)> on_step;  // other work that may take a while
  std::function<void(const std::string&)> on_note;  // what people should know
};

struct BuildResult {
  store::BuildRecord build;
  bool unchanged = false;  // it was there already
};

// Errors: those of the project; of signing_key() for a sealed one; of the steps with the path of
// their log; kBusy when a source changed meanwhile. Nothing is left then.
Result<BuildResult> build_project(const store::Layout& layout, const BuildRequest& request,
                                  const BuildEvents& events);

// The same for a project that is at hand.
Result<BuildResult> build_loaded(const store::Layout& layout, const Project& project,
                                 const BuildRequest& request, const BuildEvents& events);

}  // namespace mvm::workflow
