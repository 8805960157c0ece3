// SPDX-License-Identifier: Apache-2.0
// For the tests of vmm/net/: the process at the other end of a StreamBackend, and a backend whose
// behaviour the test decides.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sys/io.h"
#include "sys/socket.h"
#include "vmm/net/stream_backend.h"

namespace mvm::vmm::testing_net {

// Frames are texts here: "to-" and a letter repeated.
inline std::string frame(std::size_t size, char fill) { return std::string(size, fill); }

inline std::string framed(std::string_view bytes) {
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(bytes.size()));
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + std::string(bytes);
}

inline std::string header_bytes(const NetHeader& header) {
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

// What mvm-netd is to the device.
class Peer {
 public:
  explicit Peer(sys::UniqueFd fd) : fd_(std::move(fd)) {}

  void send(std::string_view frame_bytes) { write_raw(framed(frame_bytes)); }
  void write_raw(std::string_view bytes) {
    if (!sys::write_full(fd_.get(), bytes)) closed_ = true;
  }
  // The next frame, or nothing when none is whole now.
  std::optional<std::string> take() {
    read_some();
    std::uint32_t length = 0;
    if (buffer_.size() < sizeof length) return std::nullopt;
    std::memcpy(&length, buffer_.data(), sizeof length);
    length = ntohl(length);
    if (buffer_.size() < sizeof length + length) return std::nullopt;
    const std::string out = buffer_.substr(sizeof length, length);
    buffer_.erase(0, sizeof length + length);
    return out;
  }
  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

 private:
  void read_some() {
    std::vector<char> part(1 << 16);
    for (;;) {
      const ssize_t n = ::recv(fd_.get(), part.data(), part.size(), MSG_DONTWAIT);
      if (n <= 0) return;
      buffer_.append(part.data(), static_cast<std::size_t>(n));
    }
  }
  sys::UniqueFd fd_;
  std::string buffer_;
  bool closed_ = false;
};

struct StreamPair {
  std::unique_ptr<StreamBackend> backend;
  Peer peer;
};

inline StreamPair make_stream_pair() {
  sys::SocketPair pair = sys::make_socket_pair().value();
  return {StreamBackend::adopt(std::move(pair.first)).value(), Peer(std::move(pair.second))};
}

// Does as the test says; its descriptor is readable while there are frames.
class ScriptedBackend final : public NetBackend {
 public:
  explicit ScriptedBackend(std::uint64_t offloads = 0) : offloads_(offloads) {}

  int fd() const override { return event_.get(); }
  std::uint64_t offloads() const override { return offloads_; }
  Result<> set_offloads(std::uint64_t accepted) override {
    accepted_offloads = accepted;
    return {};
  }
  Result<std::optional<NetFrame>> peek() override {
    if (gone) return Error(Errc::kUnavailable, "gone");
    if (incoming.empty()) return std::optional<NetFrame>();
    const auto& [header, bytes] = incoming.front();
    return std::optional<NetFrame>({header, std::as_bytes(std::span(bytes))});
  }
  void consume() override { incoming.pop_front(); }
  Result<Sent> send(const NetHeader& header, std::span<const iovec> parts,
                    std::size_t size) override {
    if (gone) return Error(Errc::kUnavailable, "gone");
    if (answer != Sent::kYes) return answer;
    std::string bytes;
    for (const iovec& part : parts)
      bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
    bytes.resize(size);
    sent.emplace_back(header, bytes);
    return Sent::kYes;
  }
  Result<> flush() override {
    ++flushes;
    return {};
  }
  std::size_t unsent() const override { return 0; }

  std::deque<std::pair<NetHeader, std::string>> incoming;
  std::vector<std::pair<NetHeader, std::string>> sent;
  Sent answer = Sent::kYes;
  bool gone = false;
  int flushes = 0;
  std::uint64_t accepted_offloads = 0;

 private:
  std::uint64_t offloads_;
  sys::UniqueFd event_{::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)};
};

}  // namespace mvm::vmm::testing_net
