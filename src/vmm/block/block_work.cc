// SPDX-License-Identifier: Apache-2.0
// The half of BlockDevice that takes requests, carries them out and answers them.
#include <algorithm>
#include <limits>

#include "core/log.h"
#include "vmm/block/block_device.h"
#include "vmm/block/block_slot.h"

namespace mvm::vmm {
namespace {

// After so many requests, the I/O thread looks after its other devices.
constexpr std::size_t kRequestsPerTurn = 512;
// The guest works on what has come while the rest is on its way.
constexpr std::uint64_t kBytesPerSignal = 512 << 10;

}  // namespace

void BlockDevice::process() {
  if (host_ == nullptr || waiting_ || !host_->queue(0).enabled()) return;
  for (std::size_t turn = 0; turn < kRequestsPerTurn; ++turn) {
    host_->queue(0).disarm();
    const Taken taken = take_requests();
    if (taken == Taken::kFailed) return;
    engine_->submit();
    const bool finished = finish_completed();
    if (taken == Taken::kNoRoom && finished) continue;
    if (taken == Taken::kAll && host_->queue(0).arm()) continue;
    if (taken == Taken::kBusy) resume_after(Millis(0));
    signal();
    return;
  }
  resume_after(Millis(0));
  signal();
}

// Takes requests from the queue and starts them.
BlockDevice::Taken BlockDevice::take_requests() {
  for (std::size_t count = 0; count < kRequestsPerTurn; ++count) {
    if (under_way_ == engine_->depth()) return Taken::kNoRoom;
    Slot& slot = *free_slot();
    auto popped = host_->queue(0).pop(slot.chain);
    if (popped && !*popped) return Taken::kAll;
    auto request = popped ? parse_block_request(slot.chain) : Result<BlockRequest>(popped.error());
    if (!request) {
      engine_->submit();
      host_->fail(request.error());
      return Taken::kFailed;
    }
    if (throttle(*request)) {
      host_->queue(0).undo_pop();
      return Taken::kThrottled;
    }
    free_.pop_back();
    begin(slot, *request);
  }
  return Taken::kBusy;
}

BlockDevice::Slot* BlockDevice::free_slot() {
  if (free_.empty()) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->tag = static_cast<Engine::Tag>(slots_.size() - 1);
    free_.push_back(slots_.back().get());
  }
  return free_.back();
}

// Whether the request must wait; a timer then goes on with it.
bool BlockDevice::throttle(const BlockRequest& request) {
  if (limiter_.unlimited()) return false;
  const bool moves_data = request.op == BlockOp::kRead || request.op == BlockOp::kWrite;
  const Millis wait = limiter_.consume(moves_data ? request.data_bytes : 0, 1, now_());
  if (wait == Millis(0)) return false;
  ++counters_.throttled;
  resume_after(wait);
  return true;
}

void BlockDevice::resume_after(Millis delay) {
  waiting_ = true;
  timer_ = host_->after(delay, [this] {
    waiting_ = false;
    process();
  });
}

void BlockDevice::begin(Slot& slot, const BlockRequest& request) {
  switch (request.op) {
    case BlockOp::kRead:
      return begin_read(slot, request);
    case BlockOp::kFlush:
      if (cache_ == BlockCache::kUnsafe) return complete(slot, BlockStatus::kUnsupported);
      slot.is_read = false;
      ++under_way_;
      return engine_->flush(slot.tag, disk_->fd());
    case BlockOp::kWrite:
      return complete(slot, write(slot, request));
    case BlockOp::kGetId:
      return complete(slot, identify(slot, request));
    case BlockOp::kDiscard:
    case BlockOp::kWriteZeroes:
      return complete(slot, change_ranges(slot, request));
  }
  ++counters_.bad_requests;
  complete(slot, BlockStatus::kUnsupported);
}

void BlockDevice::begin_read(Slot& slot, const BlockRequest& request) {
  if (!inside_disk(request, disk_->sectors())) return complete(slot, bad_request());
  slot.is_read = true;
  slot.offset = request.sector * kSectorSize;
  slot.bytes = request.data_bytes;
  slot.done = 0;
  ++under_way_;
  continue_read(slot);
}

void BlockDevice::continue_read(Slot& slot) {
  const std::size_t count =
      slot.chain.writable_slice(slot.done, slot.bytes - slot.done, slot.ranges);
  engine_->read(slot.tag, disk_->fd(), slot.offset + slot.done,
                std::span(slot.ranges).first(count));
}

BlockStatus BlockDevice::write(Slot& slot, const BlockRequest& request) {
  if (read_only_ || !inside_disk(request, disk_->sectors())) return bad_request();
  const std::size_t count =
      slot.chain.readable_slice(kBlockHeaderSize, request.data_bytes, slot.ranges);
  const auto done = disk_->write(request.sector * kSectorSize, std::span(slot.ranges).first(count),
                                 durable_writes_);
  if (!done) return host_failed(done.error());
  ++counters_.writes;
  counters_.write_bytes += request.data_bytes;
  unsignalled_bytes_ += request.data_bytes;
  return BlockStatus::kOk;
}

BlockStatus BlockDevice::change_ranges(Slot& slot, const BlockRequest& request) {
  if (read_only_) return bad_request();
  BlockRanges ranges;
  const BlockStatus status = parse_block_ranges(slot.chain, request, disk_->sectors(), ranges);
  if (status != BlockStatus::kOk) {
    ++counters_.bad_requests;
    return status;
  }
  const bool zeroes = request.op == BlockOp::kWriteZeroes;
  for (const BlockRange& range : std::span(ranges.ranges).first(ranges.count)) {
    if (range.sectors == 0) continue;
    const std::uint64_t offset = range.sector * kSectorSize;
    const std::uint64_t length = range.sectors * kSectorSize;
    const auto done =
        zeroes ? disk_->write_zeroes(offset, length, range.unmap) : disk_->discard(offset, length);
    if (!done) return host_failed(done.error());
  }
  ++(zeroes ? counters_.zeroes : counters_.discards);
  return BlockStatus::kOk;
}

BlockStatus BlockDevice::identify(Slot& slot, const BlockRequest& request) {
  if (request.data_bytes < kBlockIdSize) return bad_request();
  slot.chain.write(0, std::as_bytes(std::span(serial_)));
  return BlockStatus::kOk;
}

// Answers what the engine has done; false when there was nothing.
bool BlockDevice::finish_completed() {
  bool any = false;
  while (const auto done = engine_->take()) {
    any = true;
    finish(*slots_[done->tag], done->result);
  }
  return any;
}

void BlockDevice::finish(Slot& slot, int result) {
  const bool again = result == -EINTR || result == -EAGAIN;
  if (result > 0 && slot.is_read) slot.done += static_cast<std::uint64_t>(result);
  const bool partial = result > 0 && slot.is_read && slot.done < slot.bytes;
  if (again || partial) {
    if (slot.is_read) {
      continue_read(slot);
    } else {
      engine_->flush(slot.tag, disk_->fd());
    }
    return engine_->submit();
  }
  --under_way_;
  if (result < 0)
    return complete(slot, host_failed(Error::from_errno(
                              (slot.is_read ? "read of " : "flush of ") + path(), -result)));
  if (slot.is_read && result == 0)
    return complete(slot, host_failed(Error(Errc::kIo, path() + " is shorter than it was")));
  if (slot.is_read) {
    ++counters_.reads;
    counters_.read_bytes += slot.bytes;
    unsignalled_bytes_ += slot.bytes;
  } else {
    ++counters_.flushes;
  }
  complete(slot, BlockStatus::kOk);
}

void BlockDevice::complete(Slot& slot, BlockStatus status) {
  const std::uint64_t writable = slot.chain.writable_bytes();
  slot.chain.write(writable - 1, std::as_bytes(std::span(&status, 1)));
  // The status is the last byte, so the whole of it counts as written.
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  host_->queue(0).push(slot.chain, static_cast<std::uint32_t>(std::min(writable, kMost)));
  free_.push_back(&slot);
  unsignalled_ = true;
  if (unsignalled_bytes_ >= kBytesPerSignal) signal();
}

void BlockDevice::signal() {
  if (!unsignalled_ || host_ == nullptr) return;
  unsignalled_ = false;
  unsignalled_bytes_ = 0;
  host_->signal_used(0);
}

BlockStatus BlockDevice::bad_request() {
  ++counters_.bad_requests;
  return BlockStatus::kIoError;
}

BlockStatus BlockDevice::host_failed(const Error& error) {
  ++counters_.io_errors;
  if (!std::exchange(error_logged_, true)) log::error("drive " + id_ + ": " + error.text());
  return BlockStatus::kIoError;
}

}  // namespace mvm::vmm
