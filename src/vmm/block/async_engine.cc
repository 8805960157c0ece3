// SPDX-License-Identifier: Apache-2.0
#include <liburing.h>

#include <array>

#include "vmm/block/engine.h"

namespace mvm::vmm {
namespace {

constexpr unsigned kDepth = 64;

// Source: io_uring(7), io_uring_register(2).
class AsyncEngine final : public Engine {
 public:
  AsyncEngine() = default;
  AsyncEngine(const AsyncEngine&) = delete;
  AsyncEngine& operator=(const AsyncEngine&) = delete;
  ~AsyncEngine() override {
    if (made_) ::io_uring_queue_exit(&ring_);
  }

  Result<> init() {
    const int made = ::io_uring_queue_init(kDepth, &ring_, IORING_SETUP_R_DISABLED);
    if (made < 0) return refused("setting up io_uring", -made);
    made_ = true;
    // The first: ranges need not outlive submit(); the second: no completion is ever lost.
    if ((ring_.features & IORING_FEAT_SUBMIT_STABLE) == 0 ||
        (ring_.features & IORING_FEAT_NODROP) == 0)
      return Error(Errc::kUnavailable, "the kernel's io_uring is too old");
    return restrict();
  }

  EngineKind kind() const override { return EngineKind::kAsync; }
  std::size_t depth() const override { return kDepth; }
  int completion_fd() const override { return ring_.ring_fd; }
  void read(Tag tag, int fd, std::uint64_t offset, std::span<const iovec> ranges) override {
    io_uring_sqe* entry = next_entry();
    ::io_uring_prep_readv(entry, fd, ranges.data(), static_cast<unsigned>(ranges.size()), offset);
    ::io_uring_sqe_set_data64(entry, tag);
  }
  void flush(Tag tag, int fd) override {
    io_uring_sqe* entry = next_entry();
    ::io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
    ::io_uring_sqe_set_data64(entry, tag);
  }
  void submit() override {
    // Out of memory for a moment (EAGAIN): what the kernel has not taken stays in the ring.
    while (::io_uring_sq_ready(&ring_) > 0) {
      const int sent = ::io_uring_submit(&ring_);
      if (sent < 0 && sent != -EINTR && sent != -EAGAIN && sent != -EBUSY) return;
    }
  }
  std::optional<Done> take() override {
    io_uring_cqe* entry = nullptr;
    if (::io_uring_peek_cqe(&ring_, &entry) != 0) return std::nullopt;
    const Done out{static_cast<Tag>(::io_uring_cqe_get_data64(entry)), entry->res};
    ::io_uring_cqe_seen(&ring_, entry);
    return out;
  }
  void wait() override {
    io_uring_cqe* entry = nullptr;
    while (::io_uring_wait_cqe(&ring_, &entry) == -EINTR) {
    }
  }

 private:
  static Error refused(const std::string& what, int errnum) {
    return Error::from_errno(what, errnum)
        .with_code(Errc::kUnavailable)
        .with_hint("the io_engine Sync works everywhere");
  }

  // A ring escapes seccomp: it does whatever it is asked to. From here on it can read and flush,
  // and nothing can be registered with it.
  Result<> restrict() {
    std::array<io_uring_restriction, 2> allowed{};
    allowed[0].opcode = IORING_RESTRICTION_SQE_OP;
    allowed[0].sqe_op = IORING_OP_READV;
    allowed[1].opcode = IORING_RESTRICTION_SQE_OP;
    allowed[1].sqe_op = IORING_OP_FSYNC;
    int done = ::io_uring_register_restrictions(&ring_, allowed.data(), allowed.size());
    if (done < 0) return refused("restricting io_uring", -done);
    done = ::io_uring_enable_rings(&ring_);
    if (done < 0) return refused("enabling io_uring", -done);
    return {};
  }

  // The owner keeps to depth(), and each operation is one entry: there is always room.
  io_uring_sqe* next_entry() { return ::io_uring_get_sqe(&ring_); }

  io_uring ring_{};
  bool made_ = false;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_async_engine() {
  auto engine = std::make_unique<AsyncEngine>();
  MVM_TRY(engine->init());
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace mvm::vmm
