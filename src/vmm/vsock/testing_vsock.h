// SPDX-License-Identifier: Apache-2.0
// For tests: a guest's vsock driver over the model driver, with a device whose socket lies in a
// directory of its own, and clients and servers of the host.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sys/io.h"
#include "sys/socket.h"
#include "vmm/virtio/testing_driver.h"
#include "vmm/vsock/vsock_device.h"

namespace mvm::vmm::testing_vsock {

class ScratchDir {
 public:
  ScratchDir() {
    std::string name = "/tmp/mvm-vsock-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~ScratchDir() { (void)sys::remove_tree(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct Packet {
  PacketHeader header;
  std::string payload;
};

// The driver: gives rx buffers, takes them back as packets, sends packets; notifies only when the
// device has asked to be notified, so that a forgotten arm() shows.
class VsockGuest {
 public:
  static constexpr std::uint64_t kCid = 42;
  static constexpr Gpa kTxArea = 0x80'0000;
  static constexpr std::uint32_t kTxSlot = 0x1'1000;

  VsockGuest(VsockDevice& device, bool event_index)
      : guest_(device, mebibytes(64), event_index), event_index_(event_index) {}

  testing_driver::Guest& model() { return guest_; }
  Result<> activate() { return guest_.activate(); }

  // Makes `count` rx buffers available; header and payload lie apart when `split`.
  void give(std::size_t count, std::uint32_t length = 4096, bool split = false) {
    const std::uint16_t before = added_[0];
    for (std::size_t i = 0; i < count; ++i) add_rx({next_rx_area(length), length, split});
    kick(0, before);
  }
  // The next packet from the device; its buffer is given again unless `keep`.
  std::optional<Packet> receive(bool keep = false) {
    const auto used = guest_.driver(0).take_used();
    if (!used || rx_.empty()) return std::nullopt;
    const RxBuffer buffer = rx_.front();
    rx_.pop_front();
    const std::string raw = guest_.text(buffer.at, used->written);
    if (!keep) {
      const std::uint16_t before = added_[0];
      add_rx(buffer);
      kick(0, before);
    }
    Packet out;
    if (raw.size() < PacketHeader::kSize) return out;  // given back unused
    out.header = decode(std::as_bytes(std::span(raw)).first<PacketHeader::kSize>());
    out.payload = raw.substr(PacketHeader::kSize);
    return out;
  }
  // Waits for the next packet.
  Packet expect() {
    std::optional<Packet> out;
    guest_.run_until([&] { return (out = receive()).has_value(); });
    return out.value_or(Packet{{.op = PacketOp{0xffff}}, {}});
  }

  PacketHeader header(PacketOp op, std::uint32_t guest_port, std::uint32_t host_port) const {
    PacketHeader out;
    out.source_cid = kCid;
    out.destination_cid = kHostCid;
    out.source_port = guest_port;
    out.destination_port = host_port;
    out.op = op;
    out.buf_alloc = buf_alloc;
    out.fwd_cnt = fwd_cnt;
    return out;
  }
  // Raw bytes as one chain of the tx queue.
  void send_raw(std::string_view bytes) {
    queue_raw(bytes);
    kick(1, static_cast<std::uint16_t>(added_[1] - 1));
  }
  void queue_raw(std::string_view bytes) {
    while (guest_.driver(1).take_used()) --tx_under_way_;
    const Gpa at = kTxArea + Gpa{added_[1]} % 256 * kTxSlot;
    guest_.memory().write(at, std::as_bytes(std::span(bytes)));
    guest_.driver(1).add({{at, static_cast<std::uint32_t>(bytes.size()), false}});
    ++added_[1];
    ++tx_under_way_;
  }
  void kick_tx(std::uint16_t before) { kick(1, before); }
  std::uint16_t tx_added() const { return added_[1]; }
  // Chains that the device has not given back.
  std::size_t tx_under_way() {
    while (guest_.driver(1).take_used()) --tx_under_way_;
    return tx_under_way_;
  }
  static std::string bytes_of(PacketHeader header, std::string_view payload = {}) {
    if (header.length == 0) header.length = static_cast<std::uint32_t>(payload.size());
    const EncodedHeader raw = encode(header);
    return std::string(reinterpret_cast<const char*>(raw.data()), raw.size()) +
           std::string(payload);
  }
  void send(const PacketHeader& header, std::string_view payload = {}) {
    send_raw(bytes_of(header, payload));
  }
  void send(PacketOp op, std::uint32_t guest_port, std::uint32_t host_port,
            std::string_view payload = {}, std::uint32_t flags = 0) {
    PacketHeader out = header(op, guest_port, host_port);
    out.flags = flags;
    send(out, payload);
  }

  std::uint32_t buf_alloc = 256 << 10;  // as told in every header
  std::uint32_t fwd_cnt = 0;

 private:
  struct RxBuffer {
    Gpa at;
    std::uint32_t length;
    bool split;
  };
  Gpa next_rx_area(std::uint32_t length) {
    const Gpa at = rx_area_;
    rx_area_ += (length + 4095) / 4096 * 4096;
    return at;
  }
  void add_rx(const RxBuffer& buffer) {
    constexpr auto kHead = static_cast<std::uint32_t>(PacketHeader::kSize);
    if (buffer.split)
      guest_.driver(0).add(
          {{buffer.at, kHead, true}, {buffer.at + kHead, buffer.length - kHead, true}});
    else
      guest_.driver(0).add({{buffer.at, buffer.length, true}});
    rx_.push_back(buffer);
    ++added_[0];
  }
  void kick(std::size_t queue, std::uint16_t before) {
    const auto& driver = guest_.driver(queue);
    const std::uint16_t now = added_[queue];
    const std::uint16_t event = driver.available_event();
    const bool wanted = event_index_ ? static_cast<std::uint16_t>(now - event - 1) <
                                           static_cast<std::uint16_t>(now - before)
                                     : !driver.no_notify();
    if (wanted) guest_.notify(queue);
  }

  testing_driver::Guest guest_;
  bool event_index_;
  std::deque<RxBuffer> rx_;
  Gpa rx_area_ = 0x40'0000;
  std::uint16_t added_[2] = {0, 0};
  std::size_t tx_under_way_ = 0;
};

// A client or an accepted connection of the host.
class HostEnd {
 public:
  explicit HostEnd(sys::UniqueFd fd) : fd_(std::move(fd)) {
    (void)sys::set_nonblocking(fd_.get(), true);
  }
  int fd() const { return fd_.get(); }
  void write(std::string_view text) {
    [[maybe_unused]] const auto n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  // What is there now.
  std::string read(std::size_t most = 1 << 18) {
    std::string out(most, '\0');
    const ssize_t n = ::recv(fd_.get(), out.data(), most, 0);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  bool at_end() {
    char byte;
    return ::recv(fd_.get(), &byte, 1, MSG_PEEK) == 0;
  }
  void close() { fd_.reset(); }

 private:
  sys::UniqueFd fd_;
};

// A device, its guest and the host around it.
struct Rig {
  explicit Rig(bool event_index = true)
      : device(VsockDevice::create(VsockGuest::kCid, dir.file("v.sock")).value()),
        guest(*device, event_index) {}

  Rig& ready(std::size_t rx_buffers = 64) {
    (void)guest.activate();
    guest.give(rx_buffers);
    return *this;
  }
  HostEnd client() { return HostEnd(sys::connect_unix(device->uds_path()).value()); }
  // A client whose connection to `port` the guest has accepted; `local` is the host's port.
  HostEnd connect(std::uint32_t port, std::uint32_t* local) {
    HostEnd out = client();
    out.write("CONNECT " + std::to_string(port) + "\n");
    *local = guest.expect().header.source_port;
    guest.send(PacketOp::kResponse, port, *local);
    out.read();
    return out;
  }
  // A connection of the guest to a listener of the host.
  HostEnd accept(std::uint32_t guest_port, std::uint32_t host_port) {
    const auto listener =
        sys::listen_unix(device->uds_path() + "_" + std::to_string(host_port)).value();
    guest.send(PacketOp::kRequest, guest_port, host_port);
    guest.expect();
    return HostEnd(sys::accept_connection(listener.get()).value());
  }

  ScratchDir dir;
  std::unique_ptr<VsockDevice> device;
  VsockGuest guest;
};

}  // namespace mvm::vmm::testing_vsock
