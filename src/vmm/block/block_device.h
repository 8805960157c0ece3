// SPDX-License-Identifier: Apache-2.0
// A disk of the guest, backed by a file or block device of the host.
//
//   guest ──▶ queue ──▶ limiter ──▶ checks ──▶ read, flush: engine ──▶ used ring
//                │                    └──────▶ write, discard, zeroes, id: at once ──▶ used ring
//                └── over the limit: the request goes back into the queue until a timer ends
//
// Requests that break the format get an error status; one that has no room for a status stops the
// device. The serial number that the guest sees is the drive's id when it fits (20 bytes), else the
// device and inode numbers of the backing file.
//
// Source: VIRTIO 1.2, section 5.2; Firecracker API 1.x, Drive.
// Threads: as VirtioDevice says; all that is not in VirtioDevice is called under the device's lock,
// on the I/O thread once the device is active.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "vmm/block/block_request.h"
#include "vmm/block/disk_file.h"
#include "vmm/block/engine.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/rate_limiter.h"

namespace mvm::vmm {

// kUnsafe: the guest is offered no flush, and its data reach the medium when the host likes.
enum class BlockCache : std::uint8_t { kUnsafe = 0, kWriteback = 1 };

struct BlockOptions {
  std::string id;
  std::string path;
  sys::UniqueFd file;  // when set, used in the place of opening `path`
  bool read_only = false;
  BlockCache cache = BlockCache::kUnsafe;
  EngineKind engine = EngineKind::kSync;
  RateLimits limits;
  std::function<Clock::time_point()> now = Clock::now;
};

struct BlockCounters {
  std::uint64_t reads = 0, writes = 0, flushes = 0, discards = 0, zeroes = 0;
  std::uint64_t read_bytes = 0, write_bytes = 0;
  std::uint64_t io_errors = 0;     // the host failed
  std::uint64_t bad_requests = 0;  // the guest asked for what is not there
  std::uint64_t throttled = 0;     // times that the limiter made requests wait
};

class BlockDevice final : public VirtioDevice {
 public:
  // Where io_uring is asked for but not to be had, the synchronous engine takes its place and the
  // log says why. Errors: DiskFile's.
  static Result<std::unique_ptr<BlockDevice>> create(BlockOptions options);
  // A device without a file, for restore() alone.
  static std::unique_ptr<BlockDevice> create_empty();
  ~BlockDevice() override;

  const std::string& id() const { return id_; }
  const std::string& path() const { return disk_->path(); }
  bool read_only() const { return read_only_; }
  BlockCache cache() const { return cache_; }
  EngineKind engine() const { return engine_->kind(); }
  RateLimits limits() const { return limiter_.limits(); }
  const BlockCounters& counters() const { return counters_; }

  // Puts another file in the place of the present one and tells the guest its size. On an error the
  // present one stays. `file` as in BlockOptions. Errors: DiskFile's.
  Result<> update_file(const std::string& path, sys::UniqueFd file = {});
  void update_limits(const RateLimits& limits);

  DeviceType type() const override { return DeviceType::kBlock; }
  std::uint64_t features() const override;
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  Result<> activate(DeviceHost& host) override;
  void notify(std::size_t queue) override;
  void reset() override;
  void quiesce() override;
  void save(ByteWriter& out) const override;
  // Keeps the file that create() has opened, which may lie elsewhere than the saved one; a device
  // of create_empty() opens the one that was in use. Errors: kCorrupt also when the file has
  // another size than it had; DiskFile's.
  Result<> restore(ByteReader& in) override;

 private:
  struct Slot;
  enum class Taken { kAll, kNoRoom, kThrottled, kBusy, kFailed };

  explicit BlockDevice(std::function<Clock::time_point()> now);
  void use_engine(EngineKind kind);
  void use_disk(DiskFile disk);
  void process();
  Taken take_requests();
  bool throttle(const BlockRequest& request);
  void resume_after(Millis delay);
  void begin(Slot& slot, const BlockRequest& request);
  void begin_read(Slot& slot, const BlockRequest& request);
  BlockStatus write(Slot& slot, const BlockRequest& request);
  BlockStatus change_ranges(Slot& slot, const BlockRequest& request);
  BlockStatus identify(Slot& slot, const BlockRequest& request);
  bool finish_completed();
  void finish(Slot& slot, int result);
  void continue_read(Slot& slot);
  void complete(Slot& slot, BlockStatus status);
  void signal();
  BlockStatus host_failed(const Error& error);
  BlockStatus bad_request();
  Slot* free_slot();

  std::string id_;
  std::string serial_;
  bool read_only_ = true;
  BlockCache cache_ = BlockCache::kUnsafe;
  std::unique_ptr<DiskFile> disk_;
  std::unique_ptr<Engine> engine_;
  RateLimiter limiter_;
  std::function<Clock::time_point()> now_;
  BlockCounters counters_;
  bool error_logged_ = false;

  DeviceHost* host_ = nullptr;
  bool durable_writes_ = false;  // the driver knows no flush
  DeviceHost::TimerId timer_ = 0;
  bool waiting_ = false;                      // for timer_
  std::vector<std::unique_ptr<Slot>> slots_;  // as many as were ever needed at once
  std::vector<Slot*> free_;
  std::size_t under_way_ = 0;
  std::uint64_t unsignalled_bytes_ = 0;
  bool unsignalled_ = false;
};

}  // namespace mvm::vmm
