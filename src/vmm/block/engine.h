// SPDX-License-Identifier: Apache-2.0
// How a disk's reads and flushes are carried out: those are what waits for the medium.
//
// Writes are not here: they end in the page cache, and there a plain pwritev is two to ten times
// faster than io_uring, which hands buffered writes of most file systems to a kernel thread.
//
// Threads: none; the owner serialises.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/result.h"

namespace mvm::vmm {

// Source: Firecracker API 1.x, Drive.io_engine.
enum class EngineKind : std::uint8_t { kSync = 0, kAsync = 1 };

class Engine {
 public:
  // The owner's number of an operation.
  using Tag = std::uint16_t;
  struct Done {
    Tag tag = 0;
    int result = 0;  // bytes read (perhaps fewer than asked for), or -errno
  };

  virtual ~Engine() = default;
  virtual EngineKind kind() const = 0;
  // How many operations may be under way; the owner keeps to it.
  virtual std::size_t depth() const = 0;
  // Readable when take() has something; -1 when operations end before submit() returns.
  virtual int completion_fd() const = 0;
  // Starts an operation. `ranges` must stay until submit(), what they point to until it is done.
  virtual void read(Tag tag, int fd, std::uint64_t offset, std::span<const iovec> ranges) = 0;
  virtual void flush(Tag tag, int fd) = 0;
  // Sends what has been started.
  virtual void submit() = 0;
  // The next operation that has ended, if any.
  virtual std::optional<Done> take() = 0;
  // Waits until take() has something; something must be under way.
  virtual void wait() = 0;
};

// preadv and fdatasync, one at a time.
std::unique_ptr<Engine> make_sync_engine();
// io_uring. Errors: kUnavailable when the kernel has none or refuses it.
Result<std::unique_ptr<Engine>> make_async_engine();

}  // namespace mvm::vmm
