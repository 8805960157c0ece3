// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <utility>

#include "vmm/block/engine.h"

namespace mvm::vmm {
namespace {

class SyncEngine final : public Engine {
 public:
  EngineKind kind() const override { return EngineKind::kSync; }
  std::size_t depth() const override { return 1; }
  int completion_fd() const override { return -1; }
  void read(Tag tag, int fd, std::uint64_t offset, std::span<const iovec> ranges) override {
    const ssize_t count =
        ::preadv(fd, ranges.data(), static_cast<int>(ranges.size()), static_cast<off_t>(offset));
    done_ = Done{tag, count < 0 ? -errno : static_cast<int>(count)};
  }
  void flush(Tag tag, int fd) override { done_ = Done{tag, ::fdatasync(fd) != 0 ? -errno : 0}; }
  void submit() override {}
  std::optional<Done> take() override { return std::exchange(done_, std::nullopt); }
  void wait() override {}

 private:
  std::optional<Done> done_;
};

}  // namespace

std::unique_ptr<Engine> make_sync_engine() { return std::make_unique<SyncEngine>(); }

}  // namespace mvm::vmm
