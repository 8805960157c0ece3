// SPDX-License-Identifier: Apache-2.0
// The encoding of message fields: core's, with the protocol's limits.
#pragma once

#include <string>
#include <vector>

#include "core/codec.h"
#include "wire/limits.h"

namespace mvm::wire {

using Writer = ByteWriter;

class Reader : public ByteReader {
 public:
  using ByteReader::ByteReader;
  std::string text(std::size_t limit = kMaxStringLength) { return ByteReader::text(limit); }
  std::vector<std::string> texts(std::size_t limit = kMaxListLength) {
    return ByteReader::texts(limit, kMaxStringLength);
  }
};

}  // namespace mvm::wire
