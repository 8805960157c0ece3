// SPDX-License-Identifier: Apache-2.0
#include "supervisor/exchange.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "sys/io.h"

namespace mvm::supervisor {
namespace {

// Less is sooner there as it is.
constexpr std::size_t kLeast = 32 * 1024;

}  // namespace

Exchange::Exchange(sys::EventLoop& loop, sys::UniqueFd memory, Send to_guest,
                   std::function<bool()> congested)
    : loop_(loop),
      memory_(std::move(memory)),
      to_guest_(std::move(to_guest)),
      congested_(std::move(congested)) {}

std::size_t Exchange::free_slots() const {
  return static_cast<std::size_t>(std::count(used_.begin(), used_.end(), false));
}

// In turn, so that the slots of one stream mostly lie side by side: the agent then reads several in
// one request.
std::optional<std::size_t> Exchange::take_slot() {
  for (std::size_t i = 0; i < kSlots; ++i) {
    const std::size_t slot = (next_slot_ + i) % kSlots;
    if (used_[slot]) continue;
    used_[slot] = touched_ = true;
    next_slot_ = slot + 1;
    return slot;
  }
  return std::nullopt;
}

void Exchange::release(std::size_t slot) { used_[slot] = false; }

void Exchange::give_back() {
  if (!std::exchange(touched_, false)) return;
  (void)::fallocate(memory_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    wire::kExchangeSize);
  piece_ = {};
  next_slot_ = 0;
}

Result<> Exchange::receive(const wire::Frame& frame,
                           const std::function<Result<>(const wire::Frame&)>& deliver) {
  touched_ = true;
  const wire::DataAt where = MVM_TRY(wire::decode_data_at(frame.payload));
  if (where.offset < wire::kExchangeInput || where.offset % kSlotSize != 0)
    return Error(Errc::kGuestFault, "guest agent sent data that is in no slot of its own");
  const std::size_t slot = (where.offset - wire::kExchangeInput) / kSlotSize;
  if (untold_[slot])
    return Error(Errc::kGuestFault, "guest agent did not wait for its data to be read");
  // Kept: to get it anew each time is to have its pages cleared each time.
  piece_.resize(wire::kMaxDataChunk);
  for (std::uint32_t done = 0; done < where.length;) {
    const std::size_t want = std::min<std::size_t>(piece_.size(), where.length - done);
    const ssize_t n = ::pread(memory_.get(), piece_.data(), want, where.offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("read the exchange disk");
    if (n == 0) return Error(Errc::kGuestFault, "the exchange disk ends too early");
    done += static_cast<std::uint32_t>(n);
    MVM_TRY(deliver({frame.stream, wire::FrameType::kData, frame.channel,
                     std::span(piece_).first(static_cast<std::size_t>(n)), where.length - done}));
  }
  untold_[slot] = true;
  tell_taken();
  return {};
}

// At most a bit is kept per slot, however little the guest reads and much it sends.
void Exchange::tell_taken() {
  for (std::size_t slot = 0; slot < kGuestSlots && untold_.any() && !congested_(); ++slot) {
    if (!untold_[slot]) continue;
    untold_[slot] = false;
    const auto offset = static_cast<std::uint32_t>(wire::kExchangeInput + slot * kSlotSize);
    to_guest_({0, wire::FrameType::kTaken, 0, wire::encode_u32(offset), 0});
  }
}

void Exchange::send_inline(std::uint32_t stream, Input& input, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const auto size = static_cast<std::uint32_t>(bytes.size());
  if (!input.sent.empty() && !input.sent.back().slot)
    input.sent.back().bytes += size;
  else
    input.sent.push_back({size, std::nullopt});
  to_guest_({stream, wire::FrameType::kData, wire::kStdin, bytes, 0});
}

void Exchange::send(const wire::Frame& frame) {
  if (frame.type != wire::FrameType::kData) {
    const auto it = inputs_.find(frame.stream);
    if (it != inputs_.end()) flush(frame.stream, it->second);
    return to_guest_(frame);
  }
  Input& input = inputs_[frame.stream];
  input.frame_ended = frame.rest == 0;
  if (!input.slot && frame.payload.size() + frame.rest >= kLeast) input.slot = take_slot();
  if (!input.slot) return send_inline(frame.stream, input, frame.payload);
  hold(input, frame.stream, frame.payload);
  if (input.slot && input.frame_ended) loop_.defer(this, [this] { flush_ended(); });
}

// What the disk cannot take goes behind what it has taken.
void Exchange::hold(Input& input, std::uint32_t stream, std::span<const std::byte> bytes) {
  while (!bytes.empty() && input.slot) {
    const std::size_t taken = place(input, bytes);
    bytes = bytes.subspan(taken);
    if (taken > 0 && input.placed < kSlotSize) continue;
    flush(stream, input);
    if (taken > 0 && !bytes.empty()) input.slot = take_slot();
  }
  send_inline(stream, input, bytes);
}

// Takes at most what fills a block that was begun, or all whole blocks, or the beginning of one.
// Returns how much; 0 when the memory takes nothing.
std::size_t Exchange::place(Input& input, std::span<const std::byte> bytes) {
  constexpr std::size_t kBlock = wire::kExchangeBlock;
  if (input.tail.empty() && bytes.size() >= kBlock) {
    const std::size_t room = kSlotSize - input.placed;
    const auto blocks = bytes.first(std::min(bytes.size() - bytes.size() % kBlock, room));
    return write_blocks(input, blocks) ? blocks.size() : 0;
  }
  const auto part = bytes.first(std::min(bytes.size(), kBlock - input.tail.size()));
  const std::size_t before = input.tail.size();
  input.tail.insert(input.tail.end(), part.begin(), part.end());
  if (input.tail.size() < kBlock) return part.size();
  if (!write_blocks(input, input.tail)) {
    input.tail.resize(before);
    return 0;
  }
  input.tail.clear();
  return part.size();
}

bool Exchange::write_blocks(Input& input, std::span<const std::byte> blocks) {
  if (!sys::write_at(memory_.get(), blocks, *input.slot * kSlotSize + input.placed)) return false;
  input.placed += static_cast<std::uint32_t>(blocks.size());
  return true;
}

// Whole blocks by their place, the rest as it is.
void Exchange::flush(std::uint32_t stream, Input& input) {
  if (!input.slot) return;
  const std::size_t slot = *std::exchange(input.slot, std::nullopt);
  if (const std::uint32_t placed = std::exchange(input.placed, 0); placed > 0) {
    input.sent.push_back({placed, slot});
    const wire::DataAt where{static_cast<std::uint32_t>(slot) * kSlotSize, placed};
    to_guest_({stream, wire::FrameType::kDataAt, wire::kStdin, wire::encode(where), 0});
  } else {
    release(slot);
  }
  send_inline(stream, input, std::exchange(input.tail, {}));
}

// What a client has begun to send and not ended it will send; everything else may be waited for.
void Exchange::flush_ended() {
  for (auto& [stream, input] : inputs_) {
    if (input.frame_ended) flush(stream, input);
  }
}

void Exchange::on_credit(std::uint32_t stream, std::uint32_t bytes) {
  const auto it = inputs_.find(stream);
  if (it == inputs_.end()) return;
  std::deque<Piece>& sent = it->second.sent;
  while (bytes > 0 && !sent.empty()) {
    Piece& first = sent.front();
    const std::uint32_t taken = std::min(bytes, first.bytes);
    bytes -= taken;
    first.bytes -= taken;
    if (first.bytes > 0) return;
    if (first.slot) release(*first.slot);
    sent.pop_front();
  }
}

void Exchange::on_closed(std::uint32_t stream) {
  const auto it = inputs_.find(stream);
  if (it == inputs_.end()) return;
  for (const Piece& piece : it->second.sent) {
    if (piece.slot) release(*piece.slot);
  }
  if (it->second.slot) release(*it->second.slot);
  inputs_.erase(it);
}

}  // namespace mvm::supervisor
