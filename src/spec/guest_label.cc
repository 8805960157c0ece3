// SPDX-License-Identifier: Apache-2.0
#include "spec/guest_label.h"

namespace mvm::spec {

std::string guest_label(const Manifest& manifest) {
  Manifest guest = manifest;
  guest.files.clear();
  guest.name.clear();
  return guest_to_json(guest);
}

Result<std::optional<Manifest>> guest_of(const ImageConfig& config) {
  const auto label = config.labels.find(kGuestLabel);
  if (label == config.labels.end()) return std::optional<Manifest>();
  auto guest = guest_from_json(label->second, std::string("label ") + kGuestLabel);
  if (!guest) return std::move(guest).error().with_code(Errc::kCorrupt);
  return std::optional<Manifest>(std::move(*guest));
}

}  // namespace mvm::spec
