// SPDX-License-Identifier: Apache-2.0
// Guest memory whose pages another process provides when they are touched, by userfaultfd(2).
// The protocol, which is Firecracker's, is in docs/formats/snapshot.md.
//
// A handler that dies leaves every vcpu that touches a missing page waiting for ever; that is why
// its end can be watched.
//
// Threads: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"
#include "sys/unique_fd.h"
#include "vmm/snapshot/page_runs.h"

namespace mvm::vmm {

class UffdBackend {
 public:
  // Registers the parts, which must be private anonymous memory that nobody has touched, and hands
  // them to the handler that listens on the socket. Keep the object for as long as the memory is
  // used: without it untouched pages would silently be zero.
  // Errors: kNotFound when nobody listens; kPermission, with a hint, when this user may not have
  // faults of the kernel itself handled; kUnavailable on a kernel without userfaultfd.
  static Result<UffdBackend> connect(const std::string& socket_path,
                                     std::span<const MemoryPart> parts);

  // Readable when the handler's process has ended; -1 when it cannot be watched (another pid
  // namespace).
  int handler_pidfd() const { return handler_.get(); }

 private:
  UffdBackend(sys::UniqueFd uffd, sys::UniqueFd handler)
      : uffd_(std::move(uffd)), handler_(std::move(handler)) {}

  sys::UniqueFd uffd_;
  sys::UniqueFd handler_;
};

}  // namespace mvm::vmm
