// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/stack.h"

#include <algorithm>
#include <cstring>

#include "sys/random.h"
#include "vmm/mmds/packet.h"
#include "vmm/mmds/tcp_connection.h"

namespace mvm::vmm {
namespace {

// When all connections are taken, one that was silent for so long makes room.
constexpr std::chrono::seconds kSilence{5};

constexpr std::size_t kArpTargetAt = 38;
constexpr std::size_t kIpTargetAt = 30;

bool has_address_at(FrameBytes frame, std::size_t at, const Ipv4Bytes& address) {
  return frame.size() >= at + address.size() &&
         std::memcmp(frame.data() + at, address.data(), address.size()) == 0;
}

std::uint32_t random_sequence() {
  const auto bytes = sys::random_bytes(sizeof(std::uint32_t));
  std::uint32_t out = 0;
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

// To a segment that belongs to no connection. Source: RFC 9293, section 3.10.7.1.
TcpSegment reset_for(const TcpSegment& segment) {
  TcpSegment out;
  out.flags = kTcpReset;
  if (segment.has(kTcpAck)) {
    out.sequence = segment.acknowledged;
  } else {
    out.flags |= kTcpAck;
    out.acknowledged = segment.sequence + segment.length();
  }
  return out;
}

}  // namespace

MmdsStack::MmdsStack(std::shared_ptr<Mmds> service, const MmdsStackSettings& settings)
    : service_(std::move(service)), settings_(settings) {}

MmdsStack::~MmdsStack() = default;

bool MmdsStack::claims(std::span<const std::byte> start) const {
  const std::uint16_t type = ether_type(start);
  if (type == kEtherArp) return has_address_at(start, kArpTargetAt, settings_.address);
  return type == kEtherIpv4 && has_address_at(start, kIpTargetAt, settings_.address);
}

void MmdsStack::input(std::span<const std::byte> frame, Checksum checksum, Clock::time_point now) {
  if (ether_type(frame) == kEtherArp)
    input_arp(frame);
  else
    input_ip(frame, checksum, now);
}

void MmdsStack::input_arp(std::span<const std::byte> frame) {
  const auto request = parse_arp_request(frame);
  if (!request || request->wanted != settings_.address || !room()) {
    ++dropped_;
    return;
  }
  output_.push_back(build_arp_reply(*request, settings_.mac));
}

void MmdsStack::input_ip(std::span<const std::byte> frame, Checksum checksum,
                         Clock::time_point now) {
  const auto packet = parse_ipv4(frame);
  if (!packet || packet->target != settings_.address) {
    ++dropped_;
    return;
  }
  const auto segment = parse_tcp(*packet, checksum == Checksum::kWhole);
  if (!segment) {
    ++dropped_;
    return;
  }
  input_tcp({ether_source(frame), packet->source, segment->source}, *segment, now);
}

void MmdsStack::input_tcp(const Peer& peer, const TcpSegment& segment, Clock::time_point now) {
  const auto entry = segment.target != settings_.port
                         ? connections_.end()
                         : std::find_if(connections_.begin(), connections_.end(),
                                        [&](const Entry& e) { return e.peer.same_end(peer); });
  if (entry != connections_.end()) {
    entry->peer.mac = peer.mac;
    entry->last_heard = now;
    entry->connection->input(segment, now);
    serve(*entry->connection, now);
    return pump(now);
  }
  constexpr std::uint8_t kAsked = kTcpSyn | kTcpAck | kTcpReset | kTcpFin;
  const bool asks = (segment.flags & kAsked) == kTcpSyn && segment.target == settings_.port;
  if (asks && make_room(now)) return open(peer, segment, now);
  if (segment.has(kTcpReset)) return;
  TcpSegment reset = reset_for(segment);
  reset.source = segment.target;
  emit(peer, reset);
}

// Whether there is room for one more connection.
bool MmdsStack::make_room(Clock::time_point now) {
  if (connections_.size() < kMaxConnections) return true;
  const auto silent =
      std::min_element(connections_.begin(), connections_.end(),
                       [](const Entry& a, const Entry& b) { return a.last_heard < b.last_heard; });
  if (now - silent->last_heard < kSilence) return false;
  connections_.erase(silent);
  return true;
}

void MmdsStack::open(const Peer& peer, const TcpSegment& syn, Clock::time_point now) {
  connections_.push_back({peer, std::make_unique<TcpConnection>(syn, random_sequence()), now});
  pump(now);
}

// Answers what was asked, one request at a time.
void MmdsStack::serve(TcpConnection& connection, Clock::time_point now) {
  if (!connection.idle()) return;
  auto answer =
      connection.received().empty() ? std::nullopt : service_->respond(connection.received(), now);
  if (answer) {
    connection.consume(answer->consumed);
    connection.answer(std::move(answer->bytes));
    if (answer->close) connection.close();
  } else if (connection.peer_finished()) {
    connection.close();
  } else if (connection.received().size() == TcpConnection::kMaxReceived) {
    connection.abort();
  }
}

// Sends what the connections have to send while there is room.
void MmdsStack::pump(Clock::time_point now) {
  for (Entry& entry : connections_) {
    while (room()) {
      auto segment = entry.connection->output(now);
      if (!segment) break;
      segment->source = settings_.port;
      emit(entry.peer, *segment);
    }
  }
  std::erase_if(connections_, [](const Entry& entry) { return entry.connection->finished(); });
}

void MmdsStack::emit(const Peer& peer, const TcpSegment& segment) {
  if (!room()) {
    ++dropped_;
    return;
  }
  TcpSegment addressed = segment;
  addressed.target = peer.port;
  output_.push_back(
      build_tcp({settings_.mac, peer.mac, settings_.address, peer.address}, addressed));
}

void MmdsStack::pop_output(Clock::time_point now) {
  output_.pop_front();
  pump(now);
}

std::optional<Clock::time_point> MmdsStack::next_timeout() const {
  std::optional<Clock::time_point> out;
  for (const Entry& entry : connections_) {
    const auto at = entry.connection->timeout();
    if (at && (!out || *at < *out)) out = at;
  }
  return out;
}

void MmdsStack::on_timeout(Clock::time_point now) {
  for (Entry& entry : connections_) entry.connection->on_timeout(now);
  pump(now);
}

void MmdsStack::reset() {
  connections_.clear();
  output_.clear();
}

}  // namespace mvm::vmm
