// SPDX-License-Identifier: Apache-2.0
#include "vmm/block/block_device.h"

#include <linux/virtio_blk.h>
#include <sys/epoll.h>

#include <algorithm>

#include "core/log.h"
#include "vmm/block/block_slot.h"

namespace mvm::vmm {
namespace {

constexpr std::array<std::uint16_t, 1> kQueueSizes = {256};
static_assert(kQueueSizes[0] <= Chain::kMaxSegments);
// Header and status have a descriptor each.
constexpr std::uint32_t kMaxDataSegments = kQueueSizes[0] - 2;

constexpr std::uint64_t bit(unsigned feature) { return 1ULL << feature; }

constexpr std::size_t kMaxId = 64;
constexpr std::size_t kMaxPath = 4096;

}  // namespace

BlockDevice::BlockDevice(std::function<Clock::time_point()> now)
    : engine_(make_sync_engine()), now_(std::move(now)) {}

Result<std::unique_ptr<BlockDevice>> BlockDevice::create(BlockOptions options) {
  std::unique_ptr<BlockDevice> out(new BlockDevice(std::move(options.now)));
  out->id_ = std::move(options.id);
  out->read_only_ = options.read_only;
  out->cache_ = options.cache;
  out->limiter_ = RateLimiter(options.limits);
  const std::string frame = "drive " + out->id_;
  if (options.file) {
    out->use_disk(MVM_TRY_CTX(
        DiskFile::adopt(std::move(options.file), options.path, options.read_only), frame));
  } else {
    out->use_disk(MVM_TRY_CTX(DiskFile::open(options.path, options.read_only), frame));
  }
  out->use_engine(options.engine);
  return out;
}

std::unique_ptr<BlockDevice> BlockDevice::create_empty() {
  return std::unique_ptr<BlockDevice>(new BlockDevice(Clock::now));
}

BlockDevice::~BlockDevice() {
  // The kernel must not write into the memory of a guest that is gone.
  while (under_way_ > 0) {
    engine_->wait();
    while (engine_->take()) --under_way_;
  }
}

void BlockDevice::use_engine(EngineKind kind) {
  if (kind == EngineKind::kSync) {
    engine_ = make_sync_engine();
    return;
  }
  auto made = make_async_engine();
  if (made) {
    engine_ = std::move(*made);
  } else {
    log::warn("drive " + id_ + ": " + made.error().text() + "; the io_engine is Sync instead");
    engine_ = make_sync_engine();
  }
}

void BlockDevice::use_disk(DiskFile disk) {
  disk_ = std::make_unique<DiskFile>(std::move(disk));
  serial_ = id_.size() <= kBlockIdSize ? id_ : disk_->host_id();
  serial_.resize(kBlockIdSize, '\0');
}

Result<> BlockDevice::update_file(const std::string& path, sys::UniqueFd file) {
  auto disk =
      file ? DiskFile::adopt(std::move(file), path, read_only_) : DiskFile::open(path, read_only_);
  if (!disk) return Error(disk.error()).with_context("drive " + id_);
  quiesce();
  use_disk(std::move(*disk));
  if (host_ != nullptr) host_->signal_config();
  return {};
}

void BlockDevice::update_limits(const RateLimits& limits) {
  limiter_.update(limits);
  if (!waiting_) return;
  host_->cancel(timer_);
  waiting_ = false;
  process();
}

std::uint64_t BlockDevice::features() const {
  std::uint64_t out = bit(VIRTIO_BLK_F_SEG_MAX);
  if (cache_ == BlockCache::kWriteback) out |= bit(VIRTIO_BLK_F_FLUSH);
  if (read_only_) return out | bit(VIRTIO_BLK_F_RO);
  return out | bit(VIRTIO_BLK_F_DISCARD) | bit(VIRTIO_BLK_F_WRITE_ZEROES);
}

std::span<const std::uint16_t> BlockDevice::queue_sizes() const { return kQueueSizes; }

void BlockDevice::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  virtio_blk_config config{};
  config.capacity = disk_ ? disk_->sectors() : 0;
  config.seg_max = kMaxDataSegments;
  if (!read_only_) {
    config.max_discard_sectors = kMaxDiscardSectors;
    config.max_discard_seg = kMaxRanges;
    config.discard_sector_alignment = 4096 / kSectorSize;
    config.max_write_zeroes_sectors = kMaxZeroSectors;
    config.max_write_zeroes_seg = kMaxRanges;
    config.write_zeroes_may_unmap = 1;
  }
  const auto bytes = std::as_bytes(std::span(&config, 1));
  std::fill(out.begin(), out.end(), std::byte{0});
  if (offset >= bytes.size()) return;
  const auto part = bytes.subspan(offset, std::min(out.size(), bytes.size() - offset));
  std::copy(part.begin(), part.end(), out.begin());
}

Result<> BlockDevice::activate(DeviceHost& host) {
  if (engine_->completion_fd() >= 0) {
    MVM_TRY(host.watch(engine_->completion_fd(), EPOLLIN, [this](std::uint32_t) {
      finish_completed();
      process();
      signal();
    }));
  }
  host_ = &host;
  // A driver that cannot flush takes what has been written for safe.
  durable_writes_ =
      cache_ == BlockCache::kWriteback && (host.accepted_features() & bit(VIRTIO_BLK_F_FLUSH)) == 0;
  return {};
}

void BlockDevice::notify(std::size_t /*queue*/) { process(); }

void BlockDevice::reset() {
  if (host_ == nullptr) return;
  if (waiting_) host_->cancel(timer_);
  waiting_ = false;
  while (under_way_ > 0) {
    engine_->wait();
    while (const auto done = engine_->take()) {
      free_.push_back(slots_[done->tag].get());
      --under_way_;
    }
  }
  if (engine_->completion_fd() >= 0) host_->unwatch(engine_->completion_fd());
  host_ = nullptr;
  unsignalled_ = false;
  unsignalled_bytes_ = 0;
}

void BlockDevice::quiesce() {
  while (under_way_ > 0) {
    engine_->wait();
    finish_completed();
  }
  signal();
}

void BlockDevice::save(ByteWriter& out) const {
  out.text(id_).text(path()).boolean(read_only_);
  out.number(static_cast<std::uint8_t>(cache_));
  out.number(static_cast<std::uint8_t>(engine_->kind()));
  out.number(disk_->sectors());
  limiter_.save(out, now_());
}

Result<> BlockDevice::restore(ByteReader& in) {
  const std::string id = in.text(kMaxId);
  const std::string path = in.text(kMaxPath);
  const bool read_only = in.boolean();
  const auto cache = in.number<std::uint8_t>();
  const auto engine = in.number<std::uint8_t>();
  const auto sectors = in.number<std::uint64_t>();
  RateLimiter limiter;
  MVM_TRY_CTX(limiter.restore(in, now_()), "saved drive " + id);
  if (cache > static_cast<std::uint8_t>(BlockCache::kWriteback) ||
      engine > static_cast<std::uint8_t>(EngineKind::kAsync))
    return Error(Errc::kCorrupt, "saved drive " + id + " has an unknown cache or engine type");
  if (disk_ != nullptr && read_only != read_only_)
    return Error(Errc::kCorrupt, "saved drive " + id + " is another kind of disk");
  id_ = id;
  read_only_ = read_only;
  cache_ = static_cast<BlockCache>(cache);
  limiter_ = limiter;
  if (disk_ == nullptr)
    use_disk(MVM_TRY_CTX(DiskFile::open(path, read_only), "saved drive " + id));
  else
    use_disk(std::move(*disk_));
  if (disk_->sectors() != sectors)
    return Error(Errc::kCorrupt, "saved drive " + id + ": " + disk_->path() + " has " +
                                     std::to_string(disk_->sectors()) + " sectors, it had " +
                                     std::to_string(sectors));
  use_engine(static_cast<EngineKind>(engine));
  return {};
}

}  // namespace mvm::vmm
