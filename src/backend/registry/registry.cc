// SPDX-License-Identifier: Apache-2.0
#include "backend/registry/registry.h"

#include <array>

#include "backend/docker/docker.h"
#include "backend/fake/fake.h"
#include "backend/firecracker/firecracker.h"
#include "backend/qemu/qemu.h"

namespace mvm::backend {
namespace {

std::array<const Backend*, 5> backends() {
  static const firecracker::FirecrackerBackend firecracker(firecracker::Monitor::kFirecracker);
  static const firecracker::FirecrackerBackend mvm_vmm(firecracker::Monitor::kMvmVmm);
  static const qemu::QemuBackend qemu;
  static const docker::DockerBackend docker;
  static const fake::FakeBackend fake;
  return {&firecracker, &mvm_vmm, &qemu, &docker, &fake};
}

const Feature& feature_of(Capability has) {
  for (const Feature& feature : features()) {
    if (feature.has == has) return feature;
  }
  return features().front();
}

// The test double is nobody's choice.
std::string names_with(Capability has) {
  std::string out;
  for (const Backend* backend : backends()) {
    if (backend->name() != "fake" && backend->capabilities().*has)
      out += (out.empty() ? "" : ", ") + std::string(backend->name());
  }
  return out;
}

}  // namespace

std::vector<std::string_view> backend_names() {
  std::vector<std::string_view> names;
  for (const Backend* backend : backends()) names.push_back(backend->name());
  return names;
}

Result<const Backend*> find_backend(std::string_view name) {
  std::string list;
  for (const Backend* backend : backends()) {
    if (backend->name() == name) return backend;
    list += (list.empty() ? "" : ", ") + std::string(backend->name());
  }
  return Error(Errc::kInvalidArgument, "there is no backend '" + std::string(name) + "'")
      .with_hint("choose one of " + list);
}

Result<> require(const Backend& backend, std::span<const Capability> needs) {
  const Capabilities can = backend.capabilities();
  for (const Capability need : needs) {
    if (can.*need) continue;
    return Error(Errc::kUnsupported, "the " + std::string(backend.name()) + " backend has no " +
                                         std::string(feature_of(need).words))
        .with_hint("--backend with it: " + names_with(need));
  }
  return {};
}

}  // namespace mvm::backend
