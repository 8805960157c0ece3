// SPDX-License-Identifier: Apache-2.0
// The metadata service: a JSON document that the host writes through the API and the guest reads
// by HTTP.
//
//   GET /latest/meta-data         version 1: the value at that place of the document
//   PUT /latest/api/token         version 2: a session token, good for as many seconds as
//                                 X-metadata-token-ttl-seconds says; every GET then needs it in
//                                 X-metadata-token (both also by their X-aws-ec2-… names)
//
// With `Accept: application/json` a value comes as JSON; else as EC2's service writes it: a
// string's text, or the keys of an object, one a line, those of objects with a slash.
//
// Source: Firecracker API 1.x, MMDS; RFC 6901 (pointer), RFC 7396 (merge patch).
// Threads: any; a lock of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/units.h"

namespace mvm::vmm {

struct MmdsOptions {
  bool session_tokens = false;  // version 2
  bool imds_compat = false;     // EC2's form whatever the guest accepts
};

struct MmdsStats {
  std::uint64_t requests = 0;
  std::uint64_t malformed = 0;      // not HTTP
  std::uint64_t no_token = 0;       // GET without one; refused in version 2 only
  std::uint64_t invalid_token = 0;  // GET with an expired or foreign one
};

// An answer to the first request of a stream.
struct MmdsReply {
  std::string bytes;
  std::size_t consumed = 0;  // of the request; everything when the connection is to close
  bool close = false;
};

class Mmds {
 public:
  static constexpr Bytes kDefaultLimit{51'200};

  explicit Mmds(Bytes limit = kDefaultLimit);
  ~Mmds();

  void configure(const MmdsOptions& options);

  // Replaces the document. Errors: kInvalidArgument when it is not JSON or nested deeper than 128;
  // kLimit when it is larger than the limit without its white space.
  Result<> put(std::string_view json);
  // Merges into the document. Errors: kNotFound when there is none yet; those of put().
  Result<> patch(std::string_view json);
  // The document without white space; "null" when there is none.
  std::string get() const;

  // Answers the first request in `stream`; nothing when it is not all there yet.
  std::optional<MmdsReply> respond(std::string_view stream, Clock::time_point now);
  MmdsStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mvm::vmm
