// SPDX-License-Identifier: Apache-2.0
// What a sealed machine lets its host do.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "seal/manifest.h"
#include "wire/messages.h"

namespace mvm::seal {

// Names what a kExec or kServices request starts: programs, arguments, environment, user and
// directory, and for services everything about them; not the terminal, its TERM, and the time that
// it may take.
// 64 hex characters. What is at its standard value is not part of it, so that a field that is added
// to these messages changes no digest of an image that does not use it.
std::string start_digest(const wire::Open& open);

// The rules of a sealed machine. The entrypoint is started once per boot; services are joined as
// often as one likes.
class Policy {
 public:
  explicit Policy(Manifest manifest) : manifest_(std::move(manifest)) {}

  // Errors: kPermission, naming what is not part of the seal.
  Result<> admit(const wire::Open& open);
  Result<> admit(const wire::Configure& configure) const;
  // Whether a path without links lies in what may be copied out.
  Result<> admit_path(const std::string& path) const;

 private:
  Result<> admit_start(const wire::Open& open);
  Result<> admit_port(const std::string& address) const;

  Manifest manifest_;
  bool started_ = false;
};

}  // namespace mvm::seal
