// SPDX-License-Identifier: Apache-2.0
// The vsock device between a hostile guest and a busy host: the input is a script of steps, each
// one byte and its operands. The device must stay within its limits and leave no loop turning.
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "vmm/vsock/testing_vsock.h"
#include "vmm/vsock/vsock_device.h"

namespace {

using namespace mvm::vmm;
using testing_vsock::HostEnd;
using testing_vsock::VsockGuest;

constexpr std::uint32_t kGuestPort = 7;
constexpr std::uint32_t kHostPort = 52;

class Script {
 public:
  explicit Script(std::span<const std::uint8_t> in) : in_(in) {}
  bool empty() const { return in_.empty(); }
  std::uint8_t byte() {
    if (in_.empty()) return 0;
    const std::uint8_t out = in_.front();
    in_ = in_.subspan(1);
    return out;
  }
  std::uint32_t word() {
    std::uint32_t out = 0;
    for (int i = 0; i < 4; ++i) out = out << 8 | byte();
    return out;
  }
  std::string bytes(std::size_t count) {
    const auto part = in_.first(std::min(count, in_.size()));
    in_ = in_.subspan(part.size());
    return std::string(part.begin(), part.end());
  }

 private:
  std::span<const std::uint8_t> in_;
};

class World {
 public:
  World(const testing_vsock::ScratchDir& dir, bool event_index, bool restored)
      : device_(VsockDevice::create(VsockGuest::kCid, dir.file("v.sock")).value()),
        guest_(*device_, event_index),
        listener_(mvm::sys::listen_unix(dir.file("v.sock_52")).value()),
        listener_path_(dir.file("v.sock_52")) {
    if (restored) restore_as_active();
    (void)guest_.activate();
  }
  ~World() { ::unlink(listener_path_.c_str()); }

  void step(Script& script) {
    switch (script.byte() % 10) {
      case 0:
        return send_packet(script);
      case 1:
        return guest_.give(script.byte() % 16U, script.byte() * 64U + 1, script.byte() % 2 == 0);
      case 2:
        return connect(script);
      case 3:
        for (HostEnd& end : ends_) end.write(std::string(script.byte() * 16U, 'h'));
        return;
      case 4:
        for (HostEnd& end : ends_) end.read(1 << 14);
        return;
      case 5:
        return end_one(script);
      case 6:
        while (guest_.receive(script.byte() % 2 == 0)) {
        }
        return;
      case 7:
        return raw_descriptor(script);
      case 8:
        guest_.model().driver(2).add({guest_.model().writable(script.byte() + 1U)});
        return guest_.model().notify(2);
      default:
        return turn();
    }
  }
  void turn() {
    guest_.model().turn();
    while (true) {
      auto accepted = mvm::sys::accept_connection(listener_.get());
      if (!accepted) break;
      ends_.emplace_back(std::move(*accepted));
    }
    if (device_->connections() > Muxer::kMostConnections) std::abort();
  }

 private:
  void restore_as_active() {
    mvm::ByteWriter out;
    out.number(VsockGuest::kCid).text("ignored").number(Muxer::kFirstPort);
    out.number(std::uint32_t{1}).boolean(true);
    const auto state = out.take();
    mvm::ByteReader in(state);
    if (!device_->restore(in)) std::abort();
  }
  // A header from the input, of which each bit of the first byte puts one field right.
  void send_packet(Script& script) {
    const std::uint8_t right = script.byte();
    const PacketOp op{script.byte()};
    const std::uint32_t port = script.word();
    PacketHeader header = guest_.header(op, port, script.word());
    header.flags = script.byte();
    header.buf_alloc = script.word();
    header.fwd_cnt = script.word();
    const std::string payload(script.byte() * 257U, 'g');
    header.length = static_cast<std::uint32_t>(payload.size());
    if ((right & 1) != 0) header.source_cid = script.word();
    if ((right & 2) != 0) header.destination_cid = script.word();
    if ((right & 4) != 0) header.type = script.byte();
    if ((right & 8) != 0) header.length = script.word();
    if ((right & 16) == 0) header.source_port = kGuestPort;
    if ((right & 32) == 0) header.destination_port = kHostPort;
    if ((right & 64) != 0) header.destination_port = Muxer::kFirstPort + header.flags % 4;
    std::string raw = VsockGuest::bytes_of(header, payload);
    if ((right & 128) != 0) raw.resize(std::min<std::size_t>(raw.size(), script.byte() + 1U));
    guest_.send_raw(raw);
  }
  void connect(Script& script) {
    auto socket = connect_now(device_->uds_path());  // fails when nobody accepts any more
    if (!socket) return;
    ends_.emplace_back(std::move(*socket));
    const std::uint8_t kind = script.byte();
    ends_.back().write(kind % 4 == 0 ? script.bytes(kind / 4U)
                                     : "CONNECT " + std::to_string(kGuestPort) + "\nmore");
    turn();
    turn();
  }
  void end_one(Script& script) {
    if (ends_.empty()) return;
    const std::uint8_t how = script.byte();
    HostEnd& end = ends_[how / 4 % ends_.size()];
    if (how % 4 == 0)
      end.close();
    else
      ::shutdown(end.fd(), how % 4 - 1);
  }
  void raw_descriptor(Script& script) {
    const std::size_t queue = script.byte() % 3U;
    auto& driver = guest_.model().driver(queue);
    const auto index = static_cast<std::uint16_t>(script.byte());
    driver.set_descriptor(index, script.word(), script.word(), script.byte() % 8U, script.byte());
    if (script.byte() % 8 == 0)
      driver.set_available_index(static_cast<std::uint16_t>(script.word()));
    driver.make_available(index);
    guest_.model().notify(queue);
  }

  std::unique_ptr<VsockDevice> device_;
  VsockGuest guest_;
  mvm::sys::UniqueFd listener_;
  std::string listener_path_;
  std::vector<HostEnd> ends_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const testing_vsock::ScratchDir dir;
  Script script({data, size});
  const std::uint8_t mode = script.byte();
  World world(dir, (mode & 1) != 0, (mode & 2) != 0);
  for (int steps = 0; steps < 200 && !script.empty(); ++steps) world.step(script);
  for (int i = 0; i < 3; ++i) world.turn();
  return 0;
}
