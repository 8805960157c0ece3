// SPDX-License-Identifier: Apache-2.0
// The disk on which the host puts input in bulk, read past the page cache: a request of a megabyte
// fills the process's pipe without the guest touching a byte (ADR 0012).
//
// Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::agent {

class InputDisk {
 public:
  // Finds the disk and opens it; called when it is first needed.
  using Open = std::function<Result<sys::UniqueFd>()>;
  explicit InputDisk(Open open) : open_(std::move(open)) {}

  // Errors: kGuestFault when this guest has none.
  Result<> open();
  // Whether its pages can be moved. Those of a file would change while they wait in a pipe.
  bool moves() const { return direct_; }
  // Moves up to `length` bytes from `offset` into an empty pipe. Returns the count, at least 1.
  // Errors: the disk's.
  Result<std::size_t> move(int pipe, std::uint64_t offset, std::size_t length);
  // Copies up to `length` bytes from `offset` as far as `fd` takes them. Errors: EAGAIN when it
  // takes none now; those of writing; the disk's.
  Result<std::size_t> copy(int fd, std::uint64_t offset, std::size_t length);

 private:
  Open open_;
  sys::UniqueFd disk_;
  bool direct_ = false;
  std::unique_ptr<std::byte, void (*)(void*)> buffer_{nullptr, nullptr};
};

}  // namespace mvm::agent
