// SPDX-License-Identifier: Apache-2.0
// `mvmctl cp`: files between host and guest, of any size, as tar streams.
#pragma once

#include <functional>
#include <string>

#include "agent_client/client.h"
#include "core/result.h"

namespace mvm::workflow {

struct CopyRequest {
  std::string from;  // host path or guest path
  std::string to;
  bool keep_owner = false;
  bool follow_links = false;  // a symbolic link named by `from` is copied as what it points to
  std::function<void(std::uint64_t bytes)> on_progress = {};
};

// As cp -r: an existing directory as target receives the source inside; SRC/. copies the content
// alone. Errors: kNotFound naming the side; kNoSpace; the guest's own words.
Result<> copy_to_guest(agent_client::Client& client, const CopyRequest& request);
Result<> copy_from_guest(agent_client::Client& client, const CopyRequest& request);

}  // namespace mvm::workflow
