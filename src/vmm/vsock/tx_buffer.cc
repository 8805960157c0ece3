// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/tx_buffer.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mvm::vmm {
namespace {
constexpr std::size_t kLeastCapacity = 16 << 10;
}

bool TxBuffer::append(std::span<const iovec> from, std::size_t skip) {
  std::size_t total = 0;
  for (const iovec& part : from) total += part.iov_len;
  const std::size_t added = total - std::min(skip, total);
  if (added > limit_ - size_) return false;
  grow(size_ + added);
  for (const iovec& part : from) {
    const std::size_t skipped = std::min(skip, part.iov_len);
    skip -= skipped;
    put(static_cast<const std::byte*>(part.iov_base) + skipped, part.iov_len - skipped);
  }
  return true;
}

std::size_t TxBuffer::contents(std::span<iovec, 2> out) const {
  if (size_ == 0) return 0;
  const std::size_t first = std::min(size_, capacity_ - start_);
  out[0] = {ring_.get() + start_, first};
  out[1] = {ring_.get(), size_ - first};
  return first == size_ ? 1 : 2;
}

void TxBuffer::consume(std::size_t count) {
  size_ -= count;
  start_ = size_ == 0 ? 0 : (start_ + count) & (capacity_ - 1);
}

void TxBuffer::grow(std::size_t needed) {
  if (needed <= capacity_) return;
  const std::size_t capacity = std::min(limit_, std::max(kLeastCapacity, std::bit_ceil(needed)));
  auto ring = std::make_unique_for_overwrite<std::byte[]>(capacity);
  iovec parts[2];
  std::size_t at = 0;
  for (std::size_t i = 0, n = contents(parts); i < n; ++i) {
    std::memcpy(ring.get() + at, parts[i].iov_base, parts[i].iov_len);
    at += parts[i].iov_len;
  }
  ring_ = std::move(ring);
  capacity_ = capacity;
  start_ = 0;
}

void TxBuffer::put(const std::byte* from, std::size_t count) {
  while (count > 0) {
    const std::size_t end = (start_ + size_) & (capacity_ - 1);
    const std::size_t chunk = std::min(count, capacity_ - end);
    std::memcpy(ring_.get() + end, from, chunk);
    from += chunk;
    count -= chunk;
    size_ += chunk;
  }
}

}  // namespace mvm::vmm
