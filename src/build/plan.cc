// SPDX-License-Identifier: Apache-2.0
#include "build/plan.h"

#include <nlohmann/json.hpp>

#include "build/inputs.h"
#include "image/source.h"
#include "spec/vm_spec_json.h"
#include "sys/sha256.h"

namespace mvm::build {
namespace {

using Json = nlohmann::ordered_json;
using Kind = spec::SourceSpec::Kind;

std::string key_of(const Json& parts) {
  return sys::sha256_hex(parts.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json inputs_json(const std::vector<PlanInput>& inputs) {
  Json out = Json::array();
  for (const PlanInput& input : inputs)
    out.push_back({{"name", input.name}, {"digest", input.digest}});
  return out;
}

std::string title_of(const spec::SourceSpec& s) {
  switch (s.kind) {
    case Kind::kFlake:
      return "flake " + s.what + "#" + s.profile;
    case Kind::kDockerfile:
      return s.what + (s.stage.empty() ? "" : " up to " + s.stage);
    case Kind::kImage:
      return "image " + s.what;
    case Kind::kDir:
      return "directory " + s.what;
    case Kind::kDebian:
      break;
  }
  std::string out = "debian " + s.what;
  for (const std::string& package : s.packages)
    out += (&package == &s.packages.front() ? " with " : ", ") + package;
  return out;
}

// By what an image reference names.
void describe_image(const std::string& what, Step& step) {
  const auto source = image::parse_source(what);
  if (!source) return;
  switch (source->kind) {
    case image::SourceKind::kDebian:
      step.tools = {"mmdebstrap"};
      step.network = true;
      break;
    case image::SourceKind::kRegistry:
      step.tools = {"skopeo"};
      step.network = true;
      break;
    case image::SourceKind::kOciArchive:
    case image::SourceKind::kDockerArchive:
      step.tools = {"skopeo"};
      break;
    default:
      break;
  }
}

Step source_step(const spec::Manifest& m) {
  Step step;
  step.id = "source";
  step.title = title_of(m.source);
  switch (m.source.kind) {
    case Kind::kFlake:
      step.tools = {"nix"};
      step.network = true;  // of inputs that the lock file names; builds themselves have none
      break;
    case Kind::kDockerfile:
      step.tools = {"buildah", "runc"};
      step.network = true;  // of FROM; whether RUN has one is the manifest's to say
      break;
    case Kind::kDebian:
      step.tools = {"mmdebstrap"};
      step.network = true;
      break;
    case Kind::kImage:
      describe_image(m.source.what, step);
      break;
    case Kind::kDir:
      break;
  }
  return step;
}

}  // namespace

Result<Plan> make_plan(const spec::Manifest& m, const std::string& project) {
  Step source = source_step(m);
  Step overlay{.id = "overlay", .title = "files, environment and what runs"};
  Step assemble{.id = "assemble", .title = "one EROFS file", .tools = {"mkfs.erofs"}};
  for (const Input& input : MVM_TRY(inputs_of(m, project))) {
    Step& of = input.role == Role::kSource ? source : overlay;
    of.inputs.push_back({input.name, MVM_TRY(content_digest(input))});
  }
  // The name is no part of what is made; without one in the manifest it is the directory's.
  spec::Manifest nameless = m;
  nameless.name.clear();
  const Json manifest = Json::parse(spec::manifest_to_json(nameless));
  source.key = key_of({{"format", kFormat},
                       {"arch", spec::to_string(m.arch)},
                       {"source", manifest["source"]},
                       {"inputs", inputs_json(source.inputs)}});
  overlay.key = key_of(
      {{"source", source.key}, {"manifest", manifest}, {"inputs", inputs_json(overlay.inputs)}});
  assemble.key = key_of({{"overlay", overlay.key}});
  Step seal{.id = "seal", .title = "its hash tree", .tools = {"veritysetup"}};
  seal.key = key_of({{"assemble", assemble.key}});
  Plan plan;
  plan.steps = {std::move(source), std::move(overlay), std::move(assemble)};
  if (m.seal == spec::Seal::kSealed) plan.steps.push_back(std::move(seal));
  return plan;
}

std::string plan_to_json(const Plan& plan) {
  Json steps = Json::array();
  for (const Step& step : plan.steps) {
    steps.push_back({{"id", step.id},
                     {"title", step.title},
                     {"tools", step.tools},
                     {"network", step.network},
                     {"inputs", inputs_json(step.inputs)},
                     {"key", step.key}});
  }
  return Json{{"revision", plan.revision()}, {"steps", steps}}.dump(-1, ' ', false,
                                                                    Json::error_handler_t::replace);
}

}  // namespace mvm::build
