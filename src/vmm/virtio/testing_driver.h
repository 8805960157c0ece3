// SPDX-License-Identifier: Apache-2.0
// For tests and fuzzers: a guest's driver over model memory, and a transport that counts what the
// device does.
#pragma once

#include <sys/epoll.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/event_loop.h"
#include "vmm/virtio/device.h"

namespace mvm::vmm::testing_driver {

struct Buffer {
  Gpa address = 0;
  std::uint32_t length = 0;
  bool writable = false;
};

// The driver's side of one queue, its rings at `base` (64 KiB are enough for 256 entries).
class DriverQueue {
 public:
  DriverQueue(const GuestMemory& memory, Gpa base, std::uint16_t size)
      : memory_(memory), base_(base), size_(size) {}

  QueueSetup setup() const { return {size_, true, base_, available(), used()}; }
  // Raw entries, for hostile guests.
  void set_descriptor(std::uint16_t index, std::uint64_t address, std::uint32_t length,
                      std::uint16_t flags, std::uint16_t next) {
    const Gpa at = base_ + 16ULL * index;
    memory_.write_object(at, address);
    memory_.write_object(at + 8, length);
    memory_.write_object(at + 12, flags);
    memory_.write_object(at + 14, next);
  }
  void make_available(std::uint16_t head) {
    memory_.write_object<std::uint16_t>(available() + 4 + 2ULL * (index_ % size_), head);
    set_available_index(++index_);
  }
  void set_available_index(std::uint16_t index) {
    index_ = index;
    memory_.write_object<std::uint16_t>(available() + 2, index);
  }
  // A well-formed request; returns its head. Descriptors are used in turn, so at most `size` may be
  // under way.
  std::uint16_t add(const std::vector<Buffer>& buffers) {
    const std::uint16_t head = next_;
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const std::uint16_t index = next_;
      next_ = static_cast<std::uint16_t>((next_ + 1) % size_);
      const bool last = i + 1 == buffers.size();
      set_descriptor(index, buffers[i].address, buffers[i].length,
                     static_cast<std::uint16_t>((last ? 0 : 1) | (buffers[i].writable ? 2 : 0)),
                     last ? std::uint16_t{0} : next_);
    }
    make_available(head);
    return head;
  }
  struct Used {
    std::uint32_t head = 0;
    std::uint32_t written = 0;
  };
  // The next request that the device has given back.
  std::optional<Used> take_used() {
    if (*memory_.read_object<std::uint16_t>(used() + 2) == seen_) return std::nullopt;
    const Gpa at = used() + 4 + 8ULL * (seen_++ % size_);
    return Used{*memory_.read_object<std::uint32_t>(at),
                *memory_.read_object<std::uint32_t>(at + 4)};
  }
  // With event indices: interrupt when the device's used index passes `index`.
  void set_used_event(std::uint16_t index) {
    memory_.write_object<std::uint16_t>(available() + 4 + 2ULL * size_, index);
  }
  void set_no_interrupt(bool on) { memory_.write_object<std::uint16_t>(available(), on ? 1 : 0); }
  std::uint16_t available_event() const {
    return *memory_.read_object<std::uint16_t>(used() + 4 + 8ULL * size_);
  }
  bool no_notify() const { return *memory_.read_object<std::uint16_t>(used()) == 1; }

 private:
  Gpa available() const { return base_ + 16ULL * size_; }
  Gpa used() const { return (available() + 6 + 2ULL * size_ + 3) / 4 * 4; }

  const GuestMemory& memory_;
  Gpa base_;
  std::uint16_t size_;
  std::uint16_t index_ = 0;
  std::uint16_t next_ = 0;
  std::uint16_t seen_ = 0;
};

// A device with its driver: model memory, queues from 1 MiB on, data buffers from 4 MiB on.
class Guest final : public DeviceHost {
 public:
  static constexpr Gpa kRings = 0x10'0000;
  static constexpr Gpa kData = 0x40'0000;

  explicit Guest(VirtioDevice& device, Bytes memory = mebibytes(16), bool event_index = false)
      : device_(device), memory_(GuestMemory::create(memory).value()), event_index_(event_index) {
    Gpa base = kRings;
    for (const std::uint16_t size : device.queue_sizes()) {
      queues_.emplace_back(size);
      drivers_.emplace_back(memory_, base, size);
      base += 0x10000;
    }
  }
  ~Guest() override {
    if (active_) device_.reset();
    for (const auto& [fd, watch] : watches_) loop_.remove(fd);
  }

  // What a driver does up to DRIVER_OK.
  Result<> activate(std::optional<std::uint64_t> accept = std::nullopt) {
    features_ = accept.value_or(device_.features()) | kFeatureVersion1 |
                (event_index_ ? kFeatureEventIndex : 0);
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      queues_[i].setup() = drivers_[i].setup();
      MVM_TRY(queues_[i].enable(memory_, event_index_));
    }
    active_ = true;
    return device_.activate(*this);
  }
  DriverQueue& driver(std::size_t index) { return drivers_[index]; }
  // A buffer of the guest, filled with `bytes`; addresses go up, page after page, and wrap.
  Buffer readable(std::string_view bytes) {
    const Buffer out{allocate(bytes.size()), static_cast<std::uint32_t>(bytes.size()), false};
    memory_.write(out.address, std::as_bytes(std::span(bytes)));
    return out;
  }
  Buffer writable(std::uint32_t length) { return {allocate(length), length, true}; }
  std::string text(Gpa address, std::size_t length) const {
    std::string out(length, '\0');
    memory_.read(address, std::as_writable_bytes(std::span(out)));
    return out;
  }
  // Adds a request, notifies, and returns what the device gave back at once.
  std::optional<DriverQueue::Used> request(std::size_t index, const std::vector<Buffer>& buffers) {
    drivers_[index].add(buffers);
    notify(index);
    return drivers_[index].take_used();
  }
  void notify(std::size_t index) {
    if (!failure) device_.notify(index);
  }
  // Runs the device's descriptor events until `done`, at most 30 seconds.
  bool run_until(const std::function<bool()>& done) {
    // What takes 100 ms alone takes seconds under the thread sanitizer on a loaded machine.
    const Deadline deadline = Deadline::after(Millis(30'000), "the device");
    while (!done()) {
      if (!loop_.run_once(deadline)) return false;
    }
    return true;
  }
  // Handles what is ready now.
  void turn() { (void)loop_.run_once(Deadline::after(Millis(0), "nothing")); }

  const GuestMemory& memory() override { return memory_; }
  Queue& queue(std::size_t index) override { return queues_[index]; }
  std::uint64_t accepted_features() const override { return features_; }
  void signal_used(std::size_t index) override {
    if (queues_[index].needs_interrupt()) ++interrupts;
  }
  void signal_config() override { ++config_changes; }
  void fail(const Error& error) override {
    if (!failure) failure = error;
  }
  Result<> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> call) override {
    const auto shared = std::make_shared<std::function<void(std::uint32_t)>>(std::move(call));
    const bool known = watches_.contains(fd);
    watches_[fd] = shared;
    if (known) return loop_.modify(fd, events);
    return loop_.add(fd, events, [this, fd](std::uint32_t got) {
      const auto it = watches_.find(fd);
      if (it == watches_.end()) return;
      const auto keep = it->second;
      (*keep)(got);
    });
  }
  void unwatch(int fd) override {
    if (watches_.erase(fd) > 0) loop_.remove(fd);
  }
  TimerId after(Millis delay, std::function<void()> call) override {
    return loop_.after(delay, std::move(call));
  }
  void cancel(TimerId id) override { loop_.cancel(id); }

  std::size_t interrupts = 0;
  std::size_t config_changes = 0;
  std::optional<Error> failure;

 private:
  Gpa allocate(std::size_t length) {
    const std::uint64_t step = (length + 4095) / 4096 * 4096;
    if (next_data_ + step > memory_.size().count) next_data_ = kData;
    return std::exchange(next_data_, next_data_ + step);
  }

  VirtioDevice& device_;
  GuestMemory memory_;
  bool event_index_;
  bool active_ = false;
  std::uint64_t features_ = 0;
  std::deque<Queue> queues_;
  std::deque<DriverQueue> drivers_;
  sys::EventLoop loop_ = sys::EventLoop::create().value();
  std::map<int, std::shared_ptr<std::function<void(std::uint32_t)>>> watches_;
  Gpa next_data_ = kData;
};

}  // namespace mvm::vmm::testing_driver
