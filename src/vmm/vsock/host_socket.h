// SPDX-License-Identifier: Apache-2.0
// The unix sockets on the host's side: the bound one, connections to others, and the first line.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::vmm {

// A listening socket with its file, which goes away with it.
class BoundSocket {
 public:
  // Mode 0600. Errors: kBusy when the path exists; those of bind.
  static Result<BoundSocket> create(const std::string& path);
  BoundSocket(BoundSocket&& other) noexcept;
  BoundSocket& operator=(BoundSocket&&) = delete;
  BoundSocket(const BoundSocket&) = delete;
  ~BoundSocket();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  BoundSocket() = default;
  sys::UniqueFd fd_;
  std::string path_;
  dev_t device_ = 0;  // of the file, so that a file put in its place later stays
  ino_t inode_ = 0;
};

// Connects without ever waiting; the descriptor is non-blocking.
// Errors: kNotFound when nobody listens; kIo with EAGAIN when the listener's backlog is full.
Result<sys::UniqueFd> connect_now(const std::string& path);

// The port of "CONNECT <port>\n", without its line feed; the word may be in any case.
std::optional<std::uint32_t> parse_connect(std::string_view line);

}  // namespace mvm::vmm
