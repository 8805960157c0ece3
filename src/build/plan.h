// SPDX-License-Identifier: Apache-2.0
// The plan of a build: its steps, what each reads, and the key under which its result is found
// again.
//
// A step's key is the digest of everything that its result depends on, so equal keys mean equal
// results; the last step's is the revision. Pure.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "spec/manifest.h"

namespace mvm::build {

// Raised when the same inputs come to give another image.
constexpr int kFormat = 2;

struct PlanInput {
  std::string name;    // as the manifest says it
  std::string digest;  // SHA-256 of its content
};

struct Step {
  std::string id;                       // "source", "overlay", "assemble", "seal"
  std::string title;                    // "debian bookworm with python3"
  std::vector<std::string> tools = {};  // programs that do it
  bool network = false;                 // it may reach the network
  std::vector<PlanInput> inputs = {};
  std::string key = {};  // 64 hex characters
};

struct Plan {
  std::vector<Step> steps;  // in their order
  const std::string& revision() const { return steps.back().key; }
  const Step& source() const { return steps.front(); }
};

// The digests are in the order of inputs_of(). Errors: those of reading and inputs_of().
Result<Plan> make_plan(const spec::Manifest& manifest, const std::string& project);

std::string plan_to_json(const Plan& plan);

}  // namespace mvm::build
