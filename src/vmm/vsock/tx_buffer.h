// SPDX-License-Identifier: Apache-2.0
// Bytes from the guest that the host's socket did not take yet: a ring that grows to its limit as
// it is needed, since most connections never need it.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>

namespace mvm::vmm {

class TxBuffer {
 public:
  // Shape: `limit` is a power of two.
  explicit TxBuffer(std::size_t limit) : limit_(limit) {}

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t limit() const { return limit_; }

  // Appends what follows the first `skip` bytes of `from`. False, and nothing is changed, when it
  // does not fit.
  bool append(std::span<const iovec> from, std::size_t skip);
  // The contents, oldest first. Returns how many of `out` are used: 0, 1 or 2.
  std::size_t contents(std::span<iovec, 2> out) const;
  void consume(std::size_t count);
  void clear() { consume(size_); }

 private:
  void grow(std::size_t needed);
  void put(const std::byte* from, std::size_t count);

  std::size_t limit_;
  std::size_t capacity_ = 0;
  std::size_t start_ = 0;
  std::size_t size_ = 0;
  std::unique_ptr<std::byte[]> ring_;
};

}  // namespace mvm::vmm
