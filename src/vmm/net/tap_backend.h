// SPDX-License-Identifier: Apache-2.0
// A tap device of the host, with checksum and segmentation offload.
//
// Source: the kernel's Documentation/networking/tuntap.rst; <linux/if_tun.h>.
#pragma once

#include <memory>
#include <string>

#include "sys/unique_fd.h"
#include "vmm/net/net_backend.h"

namespace mvm::vmm {

class TapBackend final : public NetBackend {
 public:
  // Attaches to the tap device of this name.
  // Errors: kInvalidArgument for a name that no interface can have; "tap NAME: …" with errno.
  static Result<std::unique_ptr<TapBackend>> open(const std::string& name);
  // Takes over a descriptor of a tap device that was made with IFF_NO_PI and IFF_VNET_HDR.
  // Errors: kInvalidArgument when it is none.
  static Result<std::unique_ptr<TapBackend>> adopt(sys::UniqueFd fd);

  int fd() const override { return fd_.get(); }
  std::uint64_t offloads() const override { return offloads_; }
  Result<> set_offloads(std::uint64_t accepted) override;
  Result<std::optional<NetFrame>> peek() override;
  void consume() override { frame_.reset(); }
  Result<Sent> send(const NetHeader& header, std::span<const iovec> frame,
                    std::size_t size) override;
  Result<> flush() override { return {}; }
  std::size_t unsent() const override { return 0; }

 private:
  explicit TapBackend(sys::UniqueFd fd);
  static Result<std::unique_ptr<TapBackend>> configure(sys::UniqueFd fd, const std::string& name);

  sys::UniqueFd fd_;
  std::uint64_t offloads_;
  std::unique_ptr<std::byte[]> buffer_;  // one frame with its header
  std::optional<NetFrame> frame_;
};

}  // namespace mvm::vmm
