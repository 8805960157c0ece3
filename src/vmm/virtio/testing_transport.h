// SPDX-License-Identifier: Apache-2.0
// For tests of the transport: a device that notes what it is told, the driver's side of the
// registers, and a driver for another thread.
#pragma once

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "vmm/virtio/mmio_transport.h"
#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm::testing_transport {

// Source: VIRTIO 1.2, table 4.1.
namespace reg {
constexpr std::uint64_t kMagic = 0x00;
constexpr std::uint64_t kVersion = 0x04;
constexpr std::uint64_t kDeviceId = 0x08;
constexpr std::uint64_t kDeviceFeatures = 0x10;
constexpr std::uint64_t kDeviceFeaturesSelect = 0x14;
constexpr std::uint64_t kDriverFeatures = 0x20;
constexpr std::uint64_t kDriverFeaturesSelect = 0x24;
constexpr std::uint64_t kQueueSelect = 0x30;
constexpr std::uint64_t kQueueSizeMax = 0x34;
constexpr std::uint64_t kQueueSize = 0x38;
constexpr std::uint64_t kQueueReady = 0x44;
constexpr std::uint64_t kQueueNotify = 0x50;
constexpr std::uint64_t kInterruptStatus = 0x60;
constexpr std::uint64_t kInterruptAck = 0x64;
constexpr std::uint64_t kStatus = 0x70;
constexpr std::uint64_t kQueueDescLow = 0x80;
constexpr std::uint64_t kQueueDescHigh = 0x84;
constexpr std::uint64_t kQueueDriverLow = 0x90;
constexpr std::uint64_t kQueueDeviceLow = 0xa0;
constexpr std::uint64_t kConfigGeneration = 0xfc;
constexpr std::uint64_t kConfig = 0x100;
}  // namespace reg

constexpr std::uint32_t kFakeFeature = 1U << 3;

class FakeDevice final : public VirtioDevice {
 public:
  DeviceType type() const override { return DeviceType::kEntropy; }
  std::uint64_t features() const override { return kFakeFeature; }
  std::span<const std::uint16_t> queue_sizes() const override { return kSizes; }
  // Every byte is its own offset.
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override {
    for (std::byte& byte : out) byte = static_cast<std::byte>(offset++);
  }
  void write_config(std::uint32_t, std::span<const std::byte>) override { ++config_writes; }
  Result<> activate(DeviceHost& given) override {
    ++activations;
    host = &given;
    return on_activate ? on_activate(given) : Result<>();
  }
  void notify(std::size_t queue) override {
    notified.push_back(queue);
    if (on_notify) on_notify(queue);
  }
  void reset() override { ++resets; }
  void quiesce() override { ++quiesced; }
  void save(ByteWriter& out) const override { out.number(state); }
  Result<> restore(ByteReader& in) override {
    state = in.number<std::uint32_t>();
    if (!in.ok()) return Error(Errc::kCorrupt, "saved device is too short");
    return {};
  }

  int activations = 0, resets = 0, quiesced = 0, config_writes = 0;
  std::uint32_t state = 7;
  std::vector<std::size_t> notified;
  DeviceHost* host = nullptr;
  std::function<Result<>(DeviceHost&)> on_activate;
  std::function<void(std::size_t)> on_notify;

 private:
  static constexpr std::array<std::uint16_t, 2> kSizes = {8, 4};
};

// Gives every request of a queue back at once.
inline void echo(DeviceHost& host, std::size_t index) {
  Queue& queue = host.queue(index);
  Chain chain;
  do {
    queue.disarm();
    while (queue.pop(chain).value()) queue.push(chain, 0);
  } while (queue.arm());
  host.signal_used(index);
}

// A driver with event indices whose requests are one byte each, for a thread of its own. What it
// shares with the device it reads and writes as atomically as a guest's processor does.
class AtomicDriver {
 public:
  AtomicDriver(const GuestMemory& memory, const QueueSetup& setup)
      : size_(setup.size),
        available_(memory.slice(setup.available, 6 + 2ULL * size_)->data()),
        used_(memory.slice(setup.used, 6 + 8ULL * size_)->data()) {
    for (std::uint16_t i = 0; i < size_; ++i) {
      memory.write_object<std::uint64_t>(setup.descriptors + 16ULL * i, 0x10'0000);
      memory.write_object<std::uint32_t>(setup.descriptors + 16ULL * i + 8, 1);
      memory.write_object<std::uint32_t>(setup.descriptors + 16ULL * i + 12, 2);
    }
  }
  bool add_and_wants_notification() {
    const auto slot = static_cast<std::uint16_t>(index_ % size_);
    at(available_ + 4 + 2 * slot).store(slot, std::memory_order_relaxed);
    at(available_ + 2).store(++index_, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const auto event = at(used_ + 4 + 8 * size_).load(std::memory_order_seq_cst);
    return event == static_cast<std::uint16_t>(index_ - 1);
  }
  // Until the device has given back all but as many as the queue has room for.
  void await_used() const {
    while (static_cast<std::uint16_t>(index_ - at(used_ + 2).load()) >= size_)
      std::this_thread::yield();
  }

 private:
  static std::atomic_ref<std::uint16_t> at(std::byte* where) {
    return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(where));
  }
  std::uint16_t size_;
  std::byte* available_;
  std::byte* used_;
  std::uint16_t index_ = 0;
};

// A socket whose other end is closed.
class HungUpSocket {
 public:
  HungUpSocket() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    mine_.reset(ends[0]);
    ::close(ends[1]);
  }
  int fd() const { return mine_.get(); }

 private:
  sys::UniqueFd mine_;
};

class TransportTest : public ::testing::Test {
 protected:
  TransportTest() { replace_transport(); }

  // A fresh device and transport on the same memory.
  void replace_transport() {
    transport.reset();
    auto fresh = std::make_unique<FakeDevice>();
    device = fresh.get();
    transport = MmioTransport::create("fake", std::move(fresh), memory, *io,
                                      {[this] { ++raised; }, [this] { on_catch_up(); }})
                    .value();
  }
  std::uint32_t read(std::uint64_t offset) {
    std::uint32_t value = 0;
    transport->read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void write(std::uint64_t offset, std::uint32_t value) {
    transport->write(offset, std::as_bytes(std::span(&value, 1)));
  }
  void accept(std::uint64_t features) {
    for (const std::uint32_t half : {0U, 1U}) {
      write(reg::kDriverFeaturesSelect, half);
      write(reg::kDriverFeatures, static_cast<std::uint32_t>(features >> (32 * half)));
    }
  }
  void negotiate(std::uint64_t features) {
    write(reg::kStatus, 1);
    accept(features | kFeatureVersion1);
    write(reg::kStatus, 1 | 8);
  }
  void set_up(std::uint32_t index) {
    const QueueSetup setup = driver(index).setup();
    write(reg::kQueueSelect, index);
    write(reg::kQueueSize, setup.size);
    write(reg::kQueueDescLow, static_cast<std::uint32_t>(setup.descriptors));
    write(reg::kQueueDriverLow, static_cast<std::uint32_t>(setup.available));
    write(reg::kQueueDeviceLow, static_cast<std::uint32_t>(setup.used));
    write(reg::kQueueReady, 1);
  }
  // All that a driver does.
  void start(std::uint64_t features = 0) {
    negotiate(features);
    set_up(0);
    set_up(1);
    write(reg::kStatus, 1 | 8 | 4);
  }
  testing_driver::DriverQueue& driver(std::size_t index) { return drivers[index]; }
  void notify(std::uint32_t queue) { write(reg::kQueueNotify, queue); }
  // What KVM makes of a notification.
  void ring(std::size_t queue) { add_one(transport->notify_fds()[queue]); }
  void signal_event() { add_one(event.get()); }
  // A used buffer, and its interrupt.
  void interrupt() {
    driver(1).add({{0x10'0000, 4, true}});
    Chain chain;
    ASSERT_TRUE(transport->queue(1).pop(chain).value());
    transport->queue(1).push(chain, 4);
    transport->signal_used(1);
  }
  void fail_in_notify() {
    device->on_notify = [this](std::size_t) {
      device->host->fail(Error(Errc::kGuestFault, "a test"));
    };
    notify(0);
    turn();
  }
  bool needs_reset() { return (read(reg::kStatus) & 64) != 0; }
  // Handles what is ready now.
  void turn() { (void)loop.run_once(Deadline::after(Millis(0), "nothing")); }
  void run_until(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::after(Millis(60'000), "the test");
    while (!done()) ASSERT_TRUE(loop.run_once(deadline).has_value());
  }
  void on_vcpu(const std::function<void()>& work) {
    std::atomic<bool> ended = false;
    std::thread vcpu([&] {
      work();
      ended = true;
      io->wake();
    });
    run_until([&] { return ended.load(); });
    vcpu.join();
  }
  std::vector<std::byte> saved() {
    transport->pause();
    ByteWriter out;
    transport->save(out);
    return out.take();
  }

  sys::EventLoop loop = sys::EventLoop::create().value();
  std::unique_ptr<IoThread> io = IoThread::create(loop).value();
  GuestMemory memory = GuestMemory::create(mebibytes(2)).value();
  std::array<testing_driver::DriverQueue, 2> drivers = {
      testing_driver::DriverQueue(memory, 0x1'0000, 8),
      testing_driver::DriverQueue(memory, 0x2'0000, 4)};
  sys::UniqueFd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  int raised = 0;
  std::function<void()> on_catch_up = [] {};
  FakeDevice* device = nullptr;  // the transport's
  std::unique_ptr<MmioTransport> transport;

 private:
  static void add_one(int fd) {
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(fd, &one, sizeof one), 8);
  }
};

}  // namespace mvm::vmm::testing_transport
