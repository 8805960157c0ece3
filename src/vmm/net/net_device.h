// SPDX-License-Identifier: Apache-2.0
// The virtio network device: one receive and one transmit queue between the guest's driver and a
// NetBackend.
//
//   backend ──▶ peek ──▶ rx limiter ──▶ receive queue (several buffers a frame where accepted)
//   transmit queue ──▶ tx limiter ──▶ metadata service, if the frame is for it
//                                └──▶ backend; a full one holds the queue until it is writable
//
// The backend's descriptor is watched for reading only while the guest has buffers for frames.
// There is one interrupt a batch. A backend that ends takes the link down; the guest sees that in
// the status field, and what it still sends is dropped.
//
// Source: VIRTIO 1.2, section 5.1.
// Threads: as every VirtioDevice.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "vmm/mmds/stack.h"
#include "vmm/net/net_backend.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/rate_limiter.h"

namespace mvm::vmm {

struct NetSettings {
  std::optional<std::array<std::uint8_t, 6>> mac;  // nothing: the guest chooses one
  std::optional<std::uint16_t> mtu;                // nothing: the guest's default
  RateLimits rx;
  RateLimits tx;
};

// Counts since the device was made. Units: frames and bytes as on the wire.
struct NetStats {
  std::uint64_t rx_frames = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t rx_dropped = 0;    // did not fit into the guest's buffer
  std::uint64_t rx_limited = 0;    // times that the limiter stopped it
  std::uint64_t rx_no_buffer = 0;  // times that the guest had no buffer for a frame
  std::uint64_t tx_frames = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t tx_dropped = 0;  // malformed, refused by the host, or the link was down
  std::uint64_t tx_limited = 0;
  std::uint64_t tx_blocked = 0;   // times that the host's side was full
  std::uint64_t mmds_frames = 0;  // of tx_frames those that went to the metadata service
};

class NetDevice final : public VirtioDevice {
 public:
  static constexpr std::size_t kReceive = 0;
  static constexpr std::size_t kTransmit = 1;

  NetDevice(std::unique_ptr<NetBackend> backend, const NetSettings& settings,
            std::unique_ptr<MmdsStack> mmds = nullptr);
  ~NetDevice() override;

  DeviceType type() const override { return DeviceType::kNet; }
  std::uint64_t features() const override;
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  Result<> activate(DeviceHost& host) override;
  void notify(std::size_t queue) override;
  void reset() override;
  void save(ByteWriter& out) const override;
  Result<> restore(ByteReader& in) override;

  // Replaces the buckets that are given. Threads: on the I/O thread under the device's lock.
  void update_limits(const RateLimits& rx, const RateLimits& tx);
  // Threads: under the device's lock.
  const NetStats& stats() const { return stats_; }
  bool link_up() const { return link_up_; }

 private:
  // Why a direction rests; kDone: it does not, it gives way to others and goes on at once.
  enum class Step { kDone, kIdle, kStarved, kLimited, kBlocked };
  static constexpr int kBudget = 256;  // frames in one go

  // net_receive.cc
  void receive();
  Result<Step> receive_one(Queue& queue);
  bool choose_frame();
  bool pay_for_frame();
  Result<Step> deliver(Queue& queue);
  Result<Step> deliver_merged(Queue& queue);
  void frame_done(bool delivered);

  // net_transmit.cc
  void transmit();
  void resume_transmit();
  Result<Step> transmit_batch(Queue& queue);
  bool pay_for_head(std::size_t size);
  Result<Step> transmit_one();
  bool header_allowed(const NetHeader& header) const;
  bool detour(const NetHeader& header, std::size_t size);
  void flush();

  // net_device.cc
  void on_backend(std::uint32_t events);
  void update_watch();
  void take_link_down(const Error& why);
  void give_up(const Error& why);
  void schedule(std::optional<DeviceHost::TimerId>& timer, Millis delay, void (NetDevice::*call)());
  void cancel(std::optional<DeviceHost::TimerId>& timer);
  void on_mmds_timer();
  void schedule_mmds();

  std::unique_ptr<NetBackend> backend_;
  std::unique_ptr<MmdsStack> mmds_;
  std::optional<std::array<std::uint8_t, 6>> mac_;
  std::optional<std::uint16_t> mtu_;
  RateLimiter rx_limiter_;
  RateLimiter tx_limiter_;
  NetStats stats_;

  DeviceHost* host_ = nullptr;
  std::uint64_t accepted_ = 0;
  bool link_up_ = true;
  std::optional<std::uint32_t> watched_;  // events of the backend's descriptor

  // The frame that is being received.
  std::optional<NetFrame> frame_;
  bool frame_from_mmds_ = false;
  bool frame_paid_ = false;          // by the limiter
  std::size_t frame_delivered_ = 0;  // bytes, of header and frame, in buffers that are staged
  std::uint16_t frame_buffers_ = 0;
  Step rx_state_ = Step::kIdle;
  Chain rx_first_;
  Chain rx_more_;
  std::optional<DeviceHost::TimerId> rx_timer_;

  Step tx_state_ = Step::kIdle;
  bool head_paid_ = false;  // the limiter let the queue's first frame pass
  Chain tx_chain_;
  std::array<iovec, Chain::kMaxSegments> tx_segments_;
  std::optional<DeviceHost::TimerId> tx_timer_;

  std::vector<std::byte> detour_;  // a frame for the metadata service, in one piece
  std::optional<DeviceHost::TimerId> mmds_timer_;
};

}  // namespace mvm::vmm
