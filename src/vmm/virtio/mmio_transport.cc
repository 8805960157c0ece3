// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/mmio_transport.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "core/log.h"
#include "sys/io.h"

namespace mvm::vmm {
namespace {

// Registers. Source: VIRTIO 1.2, table 4.1.
constexpr std::uint64_t kMagic = 0x00;
constexpr std::uint64_t kVersion = 0x04;
constexpr std::uint64_t kDeviceId = 0x08;
constexpr std::uint64_t kVendorId = 0x0c;
constexpr std::uint64_t kDeviceFeatures = 0x10;
constexpr std::uint64_t kDeviceFeaturesSelect = 0x14;
constexpr std::uint64_t kDriverFeatures = 0x20;
constexpr std::uint64_t kDriverFeaturesSelect = 0x24;
constexpr std::uint64_t kQueueSelect = 0x30;
constexpr std::uint64_t kQueueSizeMax = 0x34;
constexpr std::uint64_t kQueueSize = 0x38;
constexpr std::uint64_t kQueueReady = 0x44;
constexpr std::uint64_t kInterruptStatus = 0x60;
constexpr std::uint64_t kStatus = 0x70;
constexpr std::uint64_t kQueueDescLow = 0x80;
constexpr std::uint64_t kQueueDescHigh = 0x84;
constexpr std::uint64_t kQueueDriverLow = 0x90;
constexpr std::uint64_t kQueueDriverHigh = 0x94;
constexpr std::uint64_t kQueueDeviceLow = 0xa0;
constexpr std::uint64_t kQueueDeviceHigh = 0xa4;
constexpr std::uint64_t kSharedMemoryLengthLow = 0xb0;
constexpr std::uint64_t kSharedMemoryBaseHigh = 0xbc;
constexpr std::uint64_t kConfigGeneration = 0xfc;
constexpr std::uint64_t kConfig = 0x100;

constexpr std::uint32_t kMagicValue = 0x74726976;   // "virt"
constexpr std::uint32_t kVendorValue = 0x004d564d;  // "MVM"

constexpr std::uint32_t kStatusDriverOk = 4;
constexpr std::uint32_t kStatusFeaturesOk = 8;
constexpr std::uint32_t kStatusNeedsReset = 64;

constexpr std::uint32_t kUsedBuffer = 1;
constexpr std::uint32_t kConfigChange = 2;

void set_event(int fd) {
  const std::uint64_t one = 1;
  (void)sys::write_some(fd, std::as_bytes(std::span(&one, 1)));
}

void set_low(Gpa& address, std::uint32_t value) { address = (address & ~0xffff'ffffULL) | value; }
void set_high(Gpa& address, std::uint32_t value) {
  address = (address & 0xffff'ffffULL) | (static_cast<Gpa>(value) << 32);
}

}  // namespace

Result<std::unique_ptr<MmioTransport>> MmioTransport::create(std::string name,
                                                             std::unique_ptr<VirtioDevice> device,
                                                             const GuestMemory& memory,
                                                             IoThread& io,
                                                             InterruptWires interrupts) {
  std::unique_ptr<MmioTransport> out(
      new MmioTransport(std::move(name), std::move(device), memory, io, std::move(interrupts)));
  for (std::size_t i = 0; i < out->queues_.size(); ++i) {
    sys::UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event) return Error::from_errno("eventfd of a virtqueue");
    MVM_TRY(io.loop().add(event.get(), EPOLLIN,
                          [t = out.get(), i](std::uint32_t) { t->on_notify(i); }));
    out->notify_.push_back(std::move(event));
  }
  return out;
}

MmioTransport::MmioTransport(std::string name, std::unique_ptr<VirtioDevice> device,
                             const GuestMemory& memory, IoThread& io, InterruptWires interrupts)
    : name_(std::move(name)),
      device_(std::move(device)),
      memory_(memory),
      io_(io),
      interrupts_(std::move(interrupts)) {
  for (const std::uint16_t size : device_->queue_sizes()) queues_.emplace_back(size);
}

MmioTransport::~MmioTransport() {
  stop_device();
  for (const auto& event : notify_) io_.loop().remove(event.get());
}

// Calls the device under its lock. When it fails in there it is stopped afterwards: no device is
// reset in the midst of its own work.
template <class Call>
void MmioTransport::on_device(Call call) {
  const std::lock_guard lock(mutex_);
  call();
  if (failing_) stop_device();
}

void MmioTransport::with_device(const std::function<void(VirtioDevice&)>& work) {
  on_device([&] {
    work(*device_);
    if (paused_) device_->quiesce();
  });
}

std::vector<int> MmioTransport::notify_fds() const {
  std::vector<int> out;
  for (const auto& event : notify_) out.push_back(event.get());
  return out;
}

std::uint64_t MmioTransport::offered_features() const {
  return device_->features() | kFeatureVersion1 | kFeatureIndirect | kFeatureEventIndex;
}

std::uint32_t MmioTransport::read_register(std::uint64_t offset) const {
  const bool has_queue = queue_select_ < queues_.size();
  switch (offset) {
    case kMagic:
      return kMagicValue;
    case kVersion:
      return 2;
    case kDeviceId:
      return static_cast<std::uint32_t>(device_->type());
    case kVendorId:
      return kVendorValue;
    case kDeviceFeatures:
      return device_features_select_ > 1
                 ? 0
                 : static_cast<std::uint32_t>(offered_features() >> (32 * device_features_select_));
    case kQueueSizeMax:
      return has_queue ? queues_[queue_select_].max_size() : 0;
    case kQueueReady:
      return has_queue && queues_[queue_select_].setup().ready ? 1 : 0;
    case kStatus:
      return status_;
    case kConfigGeneration:
      return config_generation_.load();
    default:
      // Regions of shared memory that do not exist have all ones for length and base.
      return offset >= kSharedMemoryLengthLow && offset <= kSharedMemoryBaseHigh ? 0xffff'ffff : 0;
  }
}

void MmioTransport::read(std::uint64_t offset, std::span<std::byte> out) {
  std::ranges::fill(out, std::byte{0});
  if (offset >= kConfig) {
    const std::lock_guard lock(mutex_);
    return device_->read_config(static_cast<std::uint32_t>(offset - kConfig), out);
  }
  if (out.size() != sizeof(std::uint32_t)) return;
  std::uint32_t value = 0;
  if (offset == kInterruptStatus) {
    value = interrupt_status_.load();
  } else {
    const std::lock_guard lock(mutex_);
    value = read_register(offset);
  }
  std::memcpy(out.data(), &value, sizeof value);
}

void MmioTransport::write(std::uint64_t offset, std::span<const std::byte> in) {
  if (offset >= kConfig) {
    const std::lock_guard lock(mutex_);
    return device_->write_config(static_cast<std::uint32_t>(offset - kConfig), in);
  }
  if (in.size() != sizeof(std::uint32_t)) return;
  std::uint32_t value = 0;
  std::memcpy(&value, in.data(), sizeof value);
  if (offset == kInterruptAck) {
    interrupt_status_.fetch_and(~value);
  } else if (offset == kStatus) {
    io_.run([&] { on_device([&] { write_status(value); }); });
  } else if (offset == kQueueNotify) {
    // Where KVM does not do it itself.
    if (value < notify_.size()) set_event(notify_[value].get());
  } else {
    const std::lock_guard lock(mutex_);
    write_register(offset, value);
  }
}

void MmioTransport::write_register(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSelect:
      device_features_select_ = value;
      return;
    case kDriverFeaturesSelect:
      driver_features_select_ = value;
      return;
    case kQueueSelect:
      queue_select_ = value;
      return;
    case kDriverFeatures: {
      // Once FEATURES_OK is said, the bargain stands.
      if (driver_features_select_ > 1 || (status_ & kStatusFeaturesOk) != 0) return;
      const std::uint32_t shift = 32 * driver_features_select_;
      driver_features_ &= ~(0xffff'ffffULL << shift);
      driver_features_ |= static_cast<std::uint64_t>(value) << shift;
      return;
    }
    default:
      return write_queue_register(offset, value);
  }
}

void MmioTransport::write_queue_register(std::uint64_t offset, std::uint32_t value) {
  // The rings of a running device do not move.
  if (queue_select_ >= queues_.size() || active_ || (status_ & kStatusDriverOk) != 0) return;
  QueueSetup& setup = queues_[queue_select_].setup();
  switch (offset) {
    case kQueueSize:
      setup.size = value <= 0xffff ? static_cast<std::uint16_t>(value) : std::uint16_t{0};
      return;
    case kQueueReady:
      setup.ready = value == 1;
      return;
    case kQueueDescLow:
      return set_low(setup.descriptors, value);
    case kQueueDescHigh:
      return set_high(setup.descriptors, value);
    case kQueueDriverLow:
      return set_low(setup.available, value);
    case kQueueDriverHigh:
      return set_high(setup.available, value);
    case kQueueDeviceLow:
      return set_low(setup.used, value);
    case kQueueDeviceHigh:
      return set_high(setup.used, value);
    default:
      return;
  }
}

void MmioTransport::write_status(std::uint32_t value) {
  if (value == 0) {
    stop_device();
    status_ = 0;
    driver_features_ = 0;
    interrupt_status_ = 0;
    for (Queue& queue : queues_) queue.reset();
    return;
  }
  const std::uint32_t set = value & ~status_;
  status_ |= value & 0xff & ~kStatusNeedsReset;
  if ((set & kStatusFeaturesOk) != 0) {
    const bool known = (driver_features_ & ~offered_features()) == 0;
    if (!known || !negotiated(kFeatureVersion1)) status_ &= ~kStatusFeaturesOk;
  }
  // What has failed starts again after a reset only.
  const bool may_start = !active_ && (status_ & kStatusNeedsReset) == 0;
  if ((set & kStatusDriverOk) != 0 && may_start) activate();
}

void MmioTransport::activate() {
  if ((status_ & kStatusFeaturesOk) == 0)
    return fail(Error(Errc::kGuestFault, "the driver starts without FEATURES_OK"));
  for (Queue& queue : queues_) {
    if (!queue.setup().ready) continue;  // optional queues; the device asks enabled()
    if (auto done = queue.enable(memory_, negotiated(kFeatureEventIndex)); !done)
      return fail(done.error());
  }
  active_ = true;
  if (auto done = device_->activate(*this); !done) return fail(done.error());
  if (!failing_) log::debug(name_ + ": the driver is ready");
}

void MmioTransport::stop_device() {
  if (active_) device_->reset();
  active_ = failing_ = false;
  for (const auto& [fd, watch] : watches_) {
    if (watch.applied != 0) io_.loop().remove(fd);
  }
  watches_.clear();
  forget_timers();
  for (Queue& queue : queues_) queue.disable();
}

void MmioTransport::on_notify(std::size_t index) {
  on_device([&] {
    if (paused_) return;  // the event stays, and is seen at resume
    std::uint64_t count = 0;
    [[maybe_unused]] const auto n = ::read(notify_[index].get(), &count, sizeof count);
    if (active_ && queues_[index].enabled()) device_->notify(index);
  });
}

void MmioTransport::interrupt(std::uint32_t cause) {
  // What the guest has acknowledged already must not take this back.
  interrupts_.catch_up();
  interrupt_status_.fetch_or(cause);
  interrupts_.raise();
}

void MmioTransport::signal_used(std::size_t index) {
  if (queues_[index].needs_interrupt()) interrupt(kUsedBuffer);
}

void MmioTransport::signal_config() {
  ++config_generation_;
  if ((status_ & kStatusDriverOk) != 0) interrupt(kConfigChange);
}

void MmioTransport::fail(const Error& error) {
  if (failing_) return;
  log::warn(name_ + ": stopped: " + error.text());
  failing_ = true;
  status_ |= kStatusNeedsReset;
  signal_config();
}

Result<> MmioTransport::watch(int fd, std::uint32_t events,
                              std::function<void(std::uint32_t)> call) {
  Watch& watch = watches_[fd];
  watch.events = events;
  watch.call = std::make_shared<std::function<void(std::uint32_t)>>(std::move(call));
  return apply(fd, watch);
}

// A silenced descriptor leaves the loop: epoll would go on telling of a hang-up.
Result<> MmioTransport::apply(int fd, Watch& watch) {
  const std::uint32_t wanted = paused_ ? 0 : watch.events;
  if (wanted == watch.applied) return {};
  if (wanted == 0) {
    io_.loop().remove(fd);
  } else if (watch.applied != 0) {
    MVM_TRY(io_.loop().modify(fd, wanted));
  } else {
    MVM_TRY(io_.loop().add(fd, wanted, [this, fd](std::uint32_t got) {
      on_device([&] {
        const auto found = watches_.find(fd);
        if (found == watches_.end()) return;
        const auto keep = found->second.call;  // it may unwatch itself
        (*keep)(got);
      });
    }));
  }
  watch.applied = wanted;
  return {};
}

void MmioTransport::unwatch(int fd) {
  const auto it = watches_.find(fd);
  if (it == watches_.end()) return;
  if (it->second.applied != 0) io_.loop().remove(fd);
  watches_.erase(it);
}

DeviceHost::TimerId MmioTransport::after(Millis delay, std::function<void()> call) {
  const TimerId id = next_timer_++;
  timers_[id] = {io_.loop().after(delay, [this, id] { on_timer(id); }), std::move(call), false};
  return id;
}

void MmioTransport::cancel(TimerId id) {
  const auto it = timers_.find(id);
  if (it == timers_.end()) return;
  io_.loop().cancel(it->second.in_loop);
  timers_.erase(it);
}

void MmioTransport::forget_timers() {
  for (const auto& [id, timer] : timers_) io_.loop().cancel(timer.in_loop);
  timers_.clear();
}

void MmioTransport::on_timer(TimerId id) {
  on_device([&] {
    const auto it = timers_.find(id);
    if (it == timers_.end()) return;
    it->second.due = true;
    if (paused_) return;
    const auto call = std::move(it->second.call);
    timers_.erase(it);
    call();
  });
}

void MmioTransport::pause() {
  on_device([&] {
    paused_ = true;
    for (const auto& event : notify_) (void)io_.loop().modify(event.get(), 0);
    for (auto& [fd, watch] : watches_) (void)apply(fd, watch);
    device_->quiesce();
  });
}

void MmioTransport::resume() {
  std::vector<TimerId> due;
  {
    const std::lock_guard lock(mutex_);
    paused_ = false;
    for (const auto& event : notify_) (void)io_.loop().modify(event.get(), EPOLLIN);
    for (auto& [fd, watch] : watches_) (void)apply(fd, watch);
    for (const auto& [id, timer] : timers_) {
      if (timer.due) due.push_back(id);
    }
  }
  for (const TimerId id : due) on_timer(id);
}

void MmioTransport::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.number(static_cast<std::uint32_t>(device_->type()));
  out.number(driver_features_).number(device_features_select_).number(driver_features_select_);
  out.number(queue_select_).number(status_).number(interrupt_status_.load());
  out.number(config_generation_.load()).boolean(active_);
  out.number(static_cast<std::uint32_t>(queues_.size()));
  for (const Queue& queue : queues_) queue.save(out);
  device_->save(out);
}

Result<> MmioTransport::restore(ByteReader& in) {
  pause();
  const std::lock_guard lock(mutex_);
  MVM_TRY_CTX(restore_registers(in), "saved state of " + name_);
  if (interrupt_status_.load() != 0)
    interrupts_.raise();  // it may not have got as far as the controller
  if (!active_) return {};
  // What the guest had asked for may not have been seen yet.
  for (const auto& event : notify_) set_event(event.get());
  auto done = device_->activate(*this);
  if (failing_) stop_device();
  return done;
}

Result<> MmioTransport::restore_registers(ByteReader& in) {
  const auto bad = [](const char* what) { return Error(Errc::kCorrupt, what); };
  if (in.number<std::uint32_t>() != static_cast<std::uint32_t>(device_->type()))
    return bad("of another type of device");
  driver_features_ = in.number<std::uint64_t>();
  device_features_select_ = in.number<std::uint32_t>();
  driver_features_select_ = in.number<std::uint32_t>();
  queue_select_ = in.number<std::uint32_t>();
  status_ = in.number<std::uint32_t>();
  interrupt_status_ = in.number<std::uint32_t>();
  config_generation_ = in.number<std::uint32_t>();
  const bool was_active = in.boolean();
  if (in.number<std::uint32_t>() != queues_.size()) return bad("another number of queues");
  for (Queue& queue : queues_) MVM_TRY(queue.restore(in, memory_, negotiated(kFeatureEventIndex)));
  MVM_TRY(device_->restore(in));
  if (!in.ok()) return bad("too short");
  if ((status_ & kStatusFeaturesOk) != 0 && (driver_features_ & ~offered_features()) != 0)
    return bad("features that are not offered");
  constexpr std::uint32_t kRunning = kStatusFeaturesOk | kStatusDriverOk;
  if (was_active && (status_ & (kRunning | kStatusNeedsReset)) != kRunning)
    return bad("a running device without a driver");
  active_ = was_active;
  // The rings of a device that does not run may still be moved.
  for (Queue& queue : queues_) {
    if (!active_) queue.disable();
  }
  return {};
}

}  // namespace mvm::vmm
