// SPDX-License-Identifier: Apache-2.0
// The virtio-mmio transport: one device's register page, its queues and its interrupt.
//
// Source: VIRTIO 1.2, section 4.2.2 (version 2 of the register layout).
// Threads: read() and write() from vcpus; everything else on the I/O thread. Register accesses and
// queue work exclude each other by the device's lock; a write to Status, which starts or stops the
// device, is carried out by the I/O thread while the vcpu waits. Interrupt status and its
// acknowledgement take no lock.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "core/codec.h"
#include "core/result.h"
#include "sys/unique_fd.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/io_thread.h"

namespace mvm::vmm {

// How a device interrupts the guest; both are called from the I/O thread, under the device's lock.
struct InterruptWires {
  std::function<void()> raise = [] {};
  // Makes what the guest has written to kInterruptAck and nobody has seen yet.
  std::function<void()> catch_up = [] {};
};

class MmioTransport final : public DeviceHost {
 public:
  static constexpr std::uint64_t kSize = 0x1000;
  static constexpr std::uint64_t kQueueNotify = 0x50;
  // Writes to it may be made late, as long as they come before the next access to the page and
  // before catch_up() returns.
  static constexpr std::uint64_t kInterruptAck = 0x64;

  static Result<std::unique_ptr<MmioTransport>> create(std::string name,
                                                       std::unique_ptr<VirtioDevice> device,
                                                       const GuestMemory& memory, IoThread& io,
                                                       InterruptWires interrupts);
  ~MmioTransport() override;

  const std::string& name() const { return name_; }
  VirtioDevice& device() { return *device_; }
  // Calls `work` with the device under its lock. For the API: on the I/O thread. While paused, no
  // request that it has started is under way when this returns.
  void with_device(const std::function<void(VirtioDevice&)>& work);
  // An event descriptor a queue, to be bound to writes of the queue's number at kQueueNotify.
  std::vector<int> notify_fds() const;

  void read(std::uint64_t offset, std::span<std::byte> out);
  void write(std::uint64_t offset, std::span<const std::byte> in);

  // While paused no queue is worked on; what the guest asks for meanwhile is done at resume().
  void pause();
  void resume();
  // On a paused transport.
  void save(ByteWriter& out) const;
  // On a fresh one, which is then paused; interrupts that the guest has not acknowledged are raised
  // again. Errors: kCorrupt; those of the device's activate().
  Result<> restore(ByteReader& in);

  const GuestMemory& memory() override { return memory_; }
  Queue& queue(std::size_t index) override { return queues_[index]; }
  std::uint64_t accepted_features() const override { return driver_features_; }
  void signal_used(std::size_t index) override;
  void signal_config() override;
  void fail(const Error& error) override;
  Result<> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> call) override;
  void unwatch(int fd) override;
  TimerId after(Millis delay, std::function<void()> call) override;
  void cancel(TimerId id) override;

 private:
  struct Watch {
    std::uint32_t events = 0;
    std::uint32_t applied = 0;  // in the loop now
    std::shared_ptr<std::function<void(std::uint32_t)>> call;
  };
  struct Timer {
    sys::EventLoop::TimerId in_loop = 0;
    std::function<void()> call;
    bool due = false;  // it went off while paused
  };
  MmioTransport(std::string name, std::unique_ptr<VirtioDevice> device, const GuestMemory& memory,
                IoThread& io, InterruptWires interrupts);
  std::uint32_t read_register(std::uint64_t offset) const;
  void write_register(std::uint64_t offset, std::uint32_t value);
  void write_queue_register(std::uint64_t offset, std::uint32_t value);
  void write_status(std::uint32_t value);
  void activate();
  void stop_device();
  template <class Call>
  void on_device(Call call);
  void on_notify(std::size_t index);
  void on_timer(TimerId id);
  void forget_timers();
  Result<> restore_registers(ByteReader& in);
  void interrupt(std::uint32_t cause);
  Result<> apply(int fd, Watch& watch);
  std::uint64_t offered_features() const;
  bool negotiated(std::uint64_t feature) const { return (driver_features_ & feature) != 0; }

  const std::string name_;
  const std::unique_ptr<VirtioDevice> device_;
  const GuestMemory& memory_;
  IoThread& io_;
  const InterruptWires interrupts_;
  mutable std::mutex mutex_;
  std::vector<Queue> queues_;
  std::vector<sys::UniqueFd> notify_;
  std::map<int, Watch> watches_;
  std::map<TimerId, Timer> timers_;
  TimerId next_timer_ = 1;
  std::uint64_t driver_features_ = 0;
  std::uint32_t device_features_select_ = 0;
  std::uint32_t driver_features_select_ = 0;
  std::uint32_t queue_select_ = 0;
  std::uint32_t status_ = 0;
  std::atomic<std::uint32_t> interrupt_status_{0};
  std::atomic<std::uint32_t> config_generation_{0};
  bool active_ = false;
  bool failing_ = false;  // fail() was called, within a call to the device
  bool paused_ = false;
};

}  // namespace mvm::vmm
