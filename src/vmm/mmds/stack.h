// SPDX-License-Identifier: Apache-2.0
// Just enough of ARP, IPv4 and TCP to answer a guest's HTTP requests to the metadata service from
// within its network device: no packet of them reaches the host.
//
//   input(frame) ──▶ ARP, or IPv4 ──▶ TCP ──▶ connection ──▶ Mmds::respond
//   output() ◀── frames, at most kMaxOutput; connections wait with the rest
//
// Frames are the guest's: everything in them is checked, and what is kept is bounded: connections,
// bytes a connection, frames. The service never opens a connection.
//
// Source: RFC 826, 791, 9293; the link loses nothing, so there is no congestion control.
// Threads: none; the device's lock serialises.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/units.h"
#include "vmm/mmds/mmds.h"

namespace mvm::vmm {

class TcpConnection;
struct TcpSegment;

struct MmdsStackSettings {
  std::array<std::uint8_t, 4> address = {169, 254, 169, 254};
  std::array<std::uint8_t, 6> mac = {0x06, 0x01, 0x23, 0x45, 0x67, 0x01};
  std::uint16_t port = 80;
};

class MmdsStack {
 public:
  static constexpr std::size_t kMaxConnections = 30;
  static constexpr std::size_t kMaxOutput = 64;
  // How much of a frame's start claims() looks at.
  static constexpr std::size_t kClaimBytes = 42;

  enum class Checksum {
    kWhole,
    kPartial,  // the guest left TCP's to the device
  };

  MmdsStack(std::shared_ptr<Mmds> service, const MmdsStackSettings& settings);
  ~MmdsStack();

  // Whether a frame that starts like this is for the service: ARP for its address, or IPv4 to it.
  bool claims(std::span<const std::byte> start) const;
  // A frame that claims() is true for; any other is dropped.
  void input(std::span<const std::byte> frame, Checksum checksum, Clock::time_point now);

  // Frames for the guest.
  bool has_output() const { return !output_.empty(); }
  // The first of them. Precondition: has_output().
  std::span<const std::byte> output() const { return output_.front(); }
  void pop_output(Clock::time_point now);

  // When on_timeout() is to be called: something was sent and not acknowledged.
  std::optional<Clock::time_point> next_timeout() const;
  void on_timeout(Clock::time_point now);

  // The guest starts anew: forgets connections and frames.
  void reset();

  std::size_t connections() const { return connections_.size(); }
  std::uint64_t dropped() const { return dropped_; }

 private:
  // The guest's end of a connection.
  struct Peer {
    std::array<std::uint8_t, 6> mac{};
    std::array<std::uint8_t, 4> address{};
    std::uint16_t port = 0;
    bool same_end(const Peer& other) const {
      return address == other.address && port == other.port;
    }
  };
  struct Entry {
    Peer peer;
    std::unique_ptr<TcpConnection> connection;
    Clock::time_point last_heard;
  };

  void input_arp(std::span<const std::byte> frame);
  void input_ip(std::span<const std::byte> frame, Checksum checksum, Clock::time_point now);
  void input_tcp(const Peer& peer, const TcpSegment& segment, Clock::time_point now);
  void open(const Peer& peer, const TcpSegment& syn, Clock::time_point now);
  bool make_room(Clock::time_point now);
  void serve(TcpConnection& connection, Clock::time_point now);
  void pump(Clock::time_point now);
  void emit(const Peer& peer, const TcpSegment& segment);
  bool room() const { return output_.size() < kMaxOutput; }

  std::shared_ptr<Mmds> service_;
  MmdsStackSettings settings_;
  std::vector<Entry> connections_;
  std::deque<std::vector<std::byte>> output_;
  std::uint64_t dropped_ = 0;
};

}  // namespace mvm::vmm
