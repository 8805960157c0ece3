// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/queue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

namespace mvm::vmm {
namespace {

constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirect = 4;
constexpr std::uint16_t kNoInterrupt = 1;  // the driver's flag
constexpr std::uint16_t kNoNotify = 1;     // ours

struct Descriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

// The rings are shared with running vcpus, so every access is one atomic load or store.
std::uint16_t load16(const std::byte* at) {
  return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(const_cast<std::byte*>(at)))
      .load(std::memory_order_acquire);
}

void store16(std::byte* at, std::uint16_t value) {
  std::atomic_ref(*reinterpret_cast<std::uint16_t*>(at)).store(value, std::memory_order_release);
}

// Copied once; what the guest changes afterwards does not count.
Descriptor load_descriptor(const std::byte* table, std::size_t index) {
  Descriptor out;
  std::memcpy(&out, table + index * sizeof(Descriptor), sizeof out);
  // A compiler may read plain memory twice, once for each use; not across this.
  asm volatile("" : "+m"(out) : : "memory");
  return out;
}

Error fault(const std::string& what) { return Error(Errc::kGuestFault, "virtqueue: " + what); }

// Copies `length` bytes between segments and a flat buffer, beginning `offset` bytes into them.
template <class Copy>
std::size_t walk(std::span<const iovec> segments, std::uint64_t offset, std::size_t length,
                 Copy copy) {
  std::size_t done = 0;
  for (const iovec& segment : segments) {
    if (done == length) break;
    if (offset >= segment.iov_len) {
      offset -= segment.iov_len;
      continue;
    }
    const std::size_t part = std::min(segment.iov_len - offset, length - done);
    copy(static_cast<std::byte*>(segment.iov_base) + offset, done, part);
    done += part;
    offset = 0;
  }
  return done;
}

std::size_t slice(std::span<const iovec> segments, std::uint64_t offset, std::uint64_t length,
                  std::span<iovec> out) {
  std::size_t count = 0;
  for (const iovec& segment : segments) {
    if (length == 0 || count == out.size()) break;
    if (offset >= segment.iov_len) {
      offset -= segment.iov_len;
      continue;
    }
    const std::size_t part = std::min<std::uint64_t>(segment.iov_len - offset, length);
    out[count++] = {static_cast<std::byte*>(segment.iov_base) + offset, part};
    length -= part;
    offset = 0;
  }
  return count;
}

}  // namespace

std::size_t Chain::read(std::uint64_t offset, std::span<std::byte> into) const {
  return walk(readable(), offset, into.size(),
              [&](const std::byte* host, std::size_t at, std::size_t part) {
                std::memcpy(into.data() + at, host, part);
              });
}

std::size_t Chain::write(std::uint64_t offset, std::span<const std::byte> from) const {
  return walk(writable(), offset, from.size(),
              [&](std::byte* host, std::size_t at, std::size_t part) {
                std::memcpy(host, from.data() + at, part);
              });
}

std::size_t Chain::readable_slice(std::uint64_t offset, std::uint64_t length,
                                  std::span<iovec> out) const {
  return slice(readable(), offset, length, out);
}

std::size_t Chain::writable_slice(std::uint64_t offset, std::uint64_t length,
                                  std::span<iovec> out) const {
  return slice(writable(), offset, length, out);
}

Result<> Queue::map_rings(const GuestMemory& memory) {
  const std::uint64_t size = setup_.size;
  if (size == 0 || size > max_size_ || !std::has_single_bit(size))
    return fault("a queue of size " + std::to_string(size) + ", allowed are powers of two up to " +
                 std::to_string(max_size_));
  if (setup_.descriptors % 16 != 0 || setup_.available % 2 != 0 || setup_.used % 4 != 0)
    return fault("rings that are not aligned");
  // Each ring has two more bytes than its entries and header: the other side's event index.
  const auto descriptors = memory.slice(setup_.descriptors, 16 * size);
  const auto available = memory.slice(setup_.available, 6 + 2 * size);
  const auto used = memory.slice(setup_.used, 6 + 8 * size);
  if (!descriptors || !available || !used) return fault("rings outside of memory");
  descriptors_ = descriptors->data();
  available_ = available->data();
  used_ = used->data();
  memory_ = &memory;
  return {};
}

Result<> Queue::enable(const GuestMemory& memory, bool event_index) {
  MVM_TRY(map_rings(memory));
  next_available_ = next_used_ = signalled_used_ = staged_ = 0;
  event_index_ = event_index;
  return {};
}

void Queue::disable() {
  memory_ = nullptr;
  descriptors_ = available_ = used_ = nullptr;
}

void Queue::reset() {
  disable();
  setup_ = {};
  next_available_ = next_used_ = signalled_used_ = staged_ = 0;
}

// Adds one descriptor's range to the chain.
Result<> Queue::append(Chain& chain, std::uint64_t address, std::uint32_t length, bool writable) {
  if (chain.count_ == Chain::kMaxSegments || chain.count_ >= setup_.size)
    return fault("a chain of more than " + std::to_string(setup_.size) + " descriptors");
  if (!writable && chain.count_ != chain.readable_count_)
    return fault("a readable descriptor after a writable one");
  if (length == 0) return fault("a descriptor of no bytes");
  const auto range = memory_->slice(address, length);
  if (!range) return fault("a descriptor that points outside of memory");
  chain.addresses_[chain.count_] = address;
  chain.segments_[chain.count_++] = {range->data(), length};
  if (writable) {
    chain.writable_bytes_ += length;
  } else {
    ++chain.readable_count_;
    chain.readable_bytes_ += length;
  }
  return {};
}

Result<> Queue::collect(Chain& chain, const std::byte* table, std::size_t entries,
                        std::uint16_t index, bool indirect_allowed) {
  // A loop is a chain of more steps than the table has entries.
  for (std::size_t step = 0; step < entries; ++step) {
    if (index >= entries) return fault("a descriptor index beyond the table");
    const Descriptor d = load_descriptor(table, index);
    if ((d.flags & kIndirect) != 0) {
      if (!indirect_allowed || (d.flags & kNext) != 0)
        return fault("an indirect table that is not the last descriptor");
      const std::size_t count = d.length / sizeof(Descriptor);
      if (d.length % sizeof(Descriptor) != 0 || count == 0 || count > Chain::kMaxSegments)
        return fault("an indirect table of " + std::to_string(d.length) + " bytes");
      const auto inner = memory_->slice(d.address, d.length);
      if (!inner) return fault("an indirect table outside of memory");
      return collect(chain, inner->data(), count, 0, false);
    }
    MVM_TRY(append(chain, d.address, d.length, (d.flags & kWrite) != 0));
    if ((d.flags & kNext) == 0) return {};
    index = d.next;
  }
  return fault("a chain without end");
}

Result<bool> Queue::pop(Chain& chain) {
  if (!enabled()) return false;
  const std::uint16_t ready = load16(available_ + 2);
  const auto waiting = static_cast<std::uint16_t>(ready - next_available_);
  if (waiting == 0) return false;
  if (waiting > setup_.size) return fault("more requests available than the queue has room for");
  const std::uint16_t head = load16(available_ + 4 + 2 * (next_available_ % setup_.size));
  chain.head_ = head;
  chain.count_ = chain.readable_count_ = 0;
  chain.readable_bytes_ = chain.writable_bytes_ = 0;
  MVM_TRY(collect(chain, descriptors_, setup_.size, head, true));
  ++next_available_;
  return true;
}

void Queue::push(const Chain& chain, std::uint32_t written) {
  stage(chain, written);
  publish();
}

void Queue::stage(const Chain& chain, std::uint32_t written) {
  if (!enabled()) return;
  const std::array<std::uint32_t, 2> element = {chain.head_, written};
  const auto slot = static_cast<std::uint16_t>(next_used_ + staged_++);
  const std::size_t offset = 4 + 8 * (std::size_t{slot} % setup_.size);
  std::memcpy(used_ + offset, element.data(), sizeof element);
  memory_->mark_dirty(setup_.used + offset, sizeof element);
  // What was written went past GuestMemory::write; the writable part is dirty as far as it went.
  std::uint64_t left = written;
  for (std::size_t i = chain.readable_count_; i < chain.count_ && left > 0; ++i) {
    const std::uint64_t part = std::min<std::uint64_t>(left, chain.segments_[i].iov_len);
    memory_->mark_dirty(chain.addresses_[i], part);
    left -= part;
  }
}

void Queue::publish() {
  if (!enabled()) return;
  next_used_ = static_cast<std::uint16_t>(next_used_ + std::exchange(staged_, std::uint16_t{0}));
  store16(used_ + 2, next_used_);
  memory_->mark_dirty(setup_.used, 4);
}

void Queue::unstage() {
  next_available_ =
      static_cast<std::uint16_t>(next_available_ - std::exchange(staged_, std::uint16_t{0}));
}

bool Queue::needs_interrupt() {
  const std::uint16_t from = signalled_used_;
  if (!enabled() || from == next_used_) return false;
  signalled_used_ = next_used_;
  // The driver writes its wish and then looks at our index; we do it the other way round.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!event_index_) return (load16(available_) & kNoInterrupt) == 0;
  const std::uint16_t wanted = load16(available_ + 4 + 2 * setup_.size);
  return static_cast<std::uint16_t>(next_used_ - wanted - 1) <
         static_cast<std::uint16_t>(next_used_ - from);
}

bool Queue::arm() {
  if (!enabled()) return false;
  if (event_index_) {
    store16(used_ + 4 + 8 * std::size_t{setup_.size}, next_available_);
    memory_->mark_dirty(setup_.used + 4 + 8 * setup_.size, 2);
  } else {
    set_flags(0);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return load16(available_ + 2) != next_available_;
}

void Queue::disarm() {
  // With event indices, an index that is not moved on asks for nothing.
  if (enabled() && !event_index_) set_flags(kNoNotify);
}

void Queue::set_flags(std::uint16_t flags) {
  store16(used_, flags);
  memory_->mark_dirty(setup_.used, 2);
}

void Queue::save(ByteWriter& out) const {
  out.number(setup_.size).boolean(setup_.ready);
  out.number(setup_.descriptors).number(setup_.available).number(setup_.used);
  // What is staged goes to the driver again after a restore.
  const auto popped = static_cast<std::uint16_t>(next_available_ - staged_);
  out.boolean(enabled()).number(popped).number(next_used_).number(signalled_used_);
}

Result<> Queue::restore(ByteReader& in, const GuestMemory& memory, bool event_index) {
  reset();
  setup_.size = in.number<std::uint16_t>();
  setup_.ready = in.boolean();
  setup_.descriptors = in.number<std::uint64_t>();
  setup_.available = in.number<std::uint64_t>();
  setup_.used = in.number<std::uint64_t>();
  const bool was_enabled = in.boolean();
  const auto next_available = in.number<std::uint16_t>();
  const auto next_used = in.number<std::uint16_t>();
  const auto signalled = in.number<std::uint16_t>();
  if (!in.ok()) return Error(Errc::kCorrupt, "saved virtqueue is too short");
  if (!was_enabled) return {};
  if (auto mapped = map_rings(memory); !mapped)
    return Error(Errc::kCorrupt, "saved " + mapped.error().message());
  next_available_ = next_available;
  next_used_ = next_used;
  signalled_used_ = signalled;
  event_index_ = event_index;
  return {};
}

}  // namespace mvm::vmm
