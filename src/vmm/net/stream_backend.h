// SPDX-License-Identifier: Apache-2.0
// A unix stream socket to a process that is the network (mvm-netd, or what speaks QEMU's
// `-netdev stream`): each frame is preceded by its length, 32 bits, big-endian. No offloads.
//
// Many frames go through one system call: small ones are gathered and sent by flush(), large ones
// go from the guest's memory to the socket. A full socket holds the guest back; nothing is lost.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sys/unique_fd.h"
#include "vmm/net/net_backend.h"

namespace mvm::vmm {

class StreamBackend final : public NetBackend {
 public:
  static constexpr std::size_t kMaxStreamFrame = 65'550;
  // When this much waits for the socket, send() says kFull.
  static constexpr std::size_t kMaxUnsent = 128 * 1024;

  // Takes over a connected stream socket. Errors: kInvalidArgument when it is none.
  static Result<std::unique_ptr<StreamBackend>> adopt(sys::UniqueFd fd);
  // Errors: kNotFound when nobody listens at `path`.
  static Result<std::unique_ptr<StreamBackend>> connect(const std::string& path);

  int fd() const override { return fd_.get(); }
  std::uint64_t offloads() const override { return 0; }
  Result<> set_offloads(std::uint64_t accepted) override;
  Result<std::optional<NetFrame>> peek() override;
  void consume() override;
  Result<Sent> send(const NetHeader& header, std::span<const iovec> frame,
                    std::size_t size) override;
  Result<> flush() override;
  std::size_t unsent() const override { return out_.size() - sent_; }

 private:
  explicit StreamBackend(sys::UniqueFd fd);
  Result<std::optional<std::size_t>> buffered_frame();
  Result<bool> fill();
  Result<std::size_t> send_direct(std::span<const iovec> frame, std::size_t size);

  sys::UniqueFd fd_;
  std::unique_ptr<std::byte[]> in_;  // bytes [begin_, end_) were read and not consumed
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t frame_ = 0;  // size of the frame at begin_ that was handed out
  std::vector<std::byte> out_;
  std::size_t sent_ = 0;
};

}  // namespace mvm::vmm
