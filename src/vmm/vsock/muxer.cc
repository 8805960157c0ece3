// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/muxer.h"

#include <sys/epoll.h>

#include <algorithm>
#include <vector>

#include "core/log.h"

namespace mvm::vmm {
namespace {
constexpr Millis kTick{100};
}

Muxer::Muxer(std::uint64_t guest_cid, BoundSocket socket, VsockMetrics& metrics,
             std::function<void()> wake)
    : guest_cid_(guest_cid),
      metrics_(metrics),
      wake_(std::move(wake)),
      listener_(std::move(socket),
                {[this] { return has_room(); },
                 [this](sys::UniqueFd client, std::uint32_t port) {
                   on_client(std::move(client), port);
                 }},
                metrics) {}

Result<> Muxer::start(DeviceHost& host) {
  host_ = &host;
  return listener_.start(host);
}

void Muxer::stop() {
  if (host_ == nullptr) return;
  listener_.stop();
  for (const auto& [key, connection] : connections_) host_->unwatch(connection->fd());
  for (const auto& [fd, connection] : draining_) host_->unwatch(fd);
  if (ticking_) host_->cancel(tick_);
  ticking_ = false;
  metrics_.conns_removed += connections_.size();
  line_.clear();
  resets_.clear();
  connections_.clear();
  draining_.clear();
  host_ = nullptr;
}

bool Muxer::has_room() const {
  return connections_.size() + draining_.size() + listener_.waiting() < kMostConnections;
}

std::uint32_t Muxer::next_buffer() const {
  return connections_.size() + draining_.size() < kLargeConnections ? kLargeBuffer : kSmallBuffer;
}

// ---- from the guest

void Muxer::on_packet(const CheckedPacket& packet, std::span<const iovec> payload) {
  ++metrics_.tx_packets_count;
  if (packet.fault != PacketFault::kNone) ++metrics_.malformed_packets;
  if (packet.fault == PacketFault::kShort || packet.fault == PacketFault::kAddress) return;
  const PacketHeader& header = packet.header;
  const ConnectionKey key{header.destination_port, header.source_port};
  if (packet.fault == PacketFault::kType) {
    if (header.op != PacketOp::kReset) owe_reset(key, header.type);
    return;
  }
  const auto it = connections_.find(key);
  if (it == connections_.end()) {
    if (header.op == PacketOp::kRequest && packet.fault == PacketFault::kNone)
      on_request(header);
    else if (header.op != PacketOp::kReset)
      owe_reset(key, kStreamType);
    return;
  }
  // A packet that lost a part has torn the stream.
  const auto verdict = packet.fault == PacketFault::kNone
                           ? it->second->on_packet(header, payload, metrics_)
                           : Connection::Verdict::kReset;
  settle(*it->second, verdict, header.op == PacketOp::kReset);
}

void Muxer::on_request(const PacketHeader& header) {
  const ConnectionKey key{header.destination_port, header.source_port};
  if (!has_room()) {
    if (!refusal_logged_) log::warn("vsock: connection limit reached, the guest is refused");
    refusal_logged_ = true;
    return owe_reset(key, kStreamType);
  }
  auto socket = connect_now(path() + "_" + std::to_string(header.destination_port));
  if (!socket) {
    log::debug("vsock: " + socket.error().text());
    return owe_reset(key, kStreamType);
  }
  add(Connection::from_guest(header, std::move(*socket), next_buffer()));
}

// ---- from the host

void Muxer::on_client(sys::UniqueFd socket, std::uint32_t port) {
  ConnectionKey key{0, port};
  do {
    last_port_ = last_port_ + 1 < kFirstPort * 2 ? last_port_ + 1 : kFirstPort;
    key.local_port = last_port_;
  } while (connections_.contains(key));
  add(Connection::to_guest(key, std::move(socket), next_buffer()));
  wake_();
}

void Muxer::on_host(ConnectionKey key, std::uint32_t events) {
  const auto it = connections_.find(key);
  if (it == connections_.end()) return;
  const auto verdict = it->second->on_host(events, metrics_);
  if (verdict != Connection::Verdict::kKeep) {
    settle(*it->second, verdict);
    return wake_();
  }
  Connection& connection = *it->second;
  if (connection.ready() && !connection.queued) {
    connection.queued = true;
    line_.push_back(&connection);
  }
  wake_();
  // It may be gone by now.
  if (const auto again = connections_.find(key); again != connections_.end())
    update(*again->second);
}

// ---- books

void Muxer::add(Connection connection) {
  const ConnectionKey key = connection.key();
  auto owned = std::make_unique<Connection>(std::move(connection));
  owned->queued = true;
  line_.push_back(owned.get());
  connections_[key] = std::move(owned);
  ++metrics_.conns_added;
}

void Muxer::settle(Connection& connection, Connection::Verdict verdict, bool guest_knows) {
  const ConnectionKey key = connection.key();
  switch (verdict) {
    case Connection::Verdict::kKeep:
      return update(connection);
    case Connection::Verdict::kRemove:
      return remove(key);
    case Connection::Verdict::kReset:
      ++metrics_.conns_killed;
      remove(key);
      return owe_reset(key, kStreamType);
    case Connection::Verdict::kDrain:
      drain(key);
      if (!guest_knows) owe_reset(key, kStreamType);
      return;
  }
}

void Muxer::remove(ConnectionKey key) {
  const auto it = connections_.find(key);
  if (it->second->queued) std::erase(line_, it->second.get());
  if (it->second->watched != 0) host_->unwatch(it->second->fd());
  connections_.erase(it);
  ++metrics_.conns_removed;
}

void Muxer::drain(ConnectionKey key) {
  const auto it = connections_.find(key);
  if (it->second->queued) std::erase(line_, it->second.get());
  const int fd = it->second->fd();
  std::unique_ptr<Connection> connection = std::move(it->second);
  connections_.erase(it);
  ++metrics_.conns_removed;
  const auto call = [this, fd](std::uint32_t events) { on_drain(fd, events); };
  if (host_->watch(fd, EPOLLOUT, call))
    draining_[fd] = std::move(connection);
  else
    host_->unwatch(fd);
}

void Muxer::on_drain(int fd, std::uint32_t events) {
  const auto it = draining_.find(fd);
  if (it == draining_.end()) return;
  (void)it->second->on_host(events & (EPOLLOUT | EPOLLHUP | EPOLLERR), metrics_);
  if (!it->second->drained()) return;
  host_->unwatch(fd);
  draining_.erase(it);
}

void Muxer::owe_reset(ConnectionKey key, std::uint16_t type) {
  if (resets_.size() == kMostResets) {
    ++metrics_.resets_dropped;
    return;
  }
  resets_.push_back({key, type});
}

// After any change: its place in the line, its watch, and the clock.
void Muxer::update(Connection& connection) {
  if (connection.ready() && !connection.queued) {
    connection.queued = true;
    line_.push_back(&connection);
  }
  if (connection.needs_tick() && !ticking_) {
    ticking_ = true;
    tick_ = host_->after(kTick, [this] { on_tick(); });
  }
  const std::uint32_t wanted = connection.wanted_events();
  if (wanted == connection.watched) return;
  connection.watched = wanted;
  if (wanted == 0) return host_->unwatch(connection.fd());
  const auto call = [this, key = connection.key()](std::uint32_t events) { on_host(key, events); };
  if (host_->watch(connection.fd(), wanted, call)) return;
  ++metrics_.muxer_event_fails;
  settle(connection, Connection::Verdict::kReset);
}

void Muxer::on_tick() {
  ticking_ = false;
  std::vector<Connection*> due;
  for (const auto& [key, connection] : connections_) {
    if (connection->needs_tick()) due.push_back(connection.get());
  }
  for (Connection* connection : due) settle(*connection, connection->on_tick());
  wake_();
}

// ---- to the guest

Result<Muxer::Delivery> Muxer::deliver(RxRing& ring) {
  if (!resets_.empty()) return deliver_reset(ring);
  Connection& connection = *line_.front();
  if (!connection.ready()) {  // the guest has taken credit back since it was put in the line
    line_.pop_front();
    connection.queued = false;
    update(connection);
    return Delivery::kNothing;
  }
  const std::size_t wanted = connection.has_control() ? 1 : connection.batch();
  if (MVM_TRY(ring.take(wanted)) == 0) return Delivery::kStarved;
  line_.pop_front();
  connection.queued = false;
  if (!connection.has_control()) return deliver_data(connection, ring);
  PacketHeader header = connection.take_control();
  header.destination_cid = guest_cid_;
  ring.finish(header);
  ring.release();
  if (header.op == PacketOp::kReset) {
    ++metrics_.conns_killed;
    remove(connection.key());
  } else {
    update(connection);
  }
  return Delivery::kControl;
}

Result<Muxer::Delivery> Muxer::deliver_reset(RxRing& ring) {
  if (MVM_TRY(ring.take(1)) == 0) return Delivery::kStarved;
  const Reset reset = resets_.front();
  resets_.pop_front();
  PacketHeader header;
  header.source_cid = kHostCid;
  header.destination_cid = guest_cid_;
  header.source_port = reset.key.local_port;
  header.destination_port = reset.key.peer_port;
  header.type = reset.type;
  header.op = PacketOp::kReset;
  ring.finish(header);
  ring.release();
  return Delivery::kControl;
}

Result<Muxer::Delivery> Muxer::deliver_data(Connection& connection, RxRing& ring) {
  const std::span<const iovec> room = ring.payload(connection.credit_to_use());
  const std::uint32_t count = connection.read_host(room, metrics_);
  std::size_t total = 0;
  for (const iovec& part : room) total += part.iov_len;
  std::uint32_t left = count;
  while (left > 0) {
    const std::uint32_t part = std::min(left, ring.room());
    PacketHeader header = connection.take_data(part);
    header.destination_cid = guest_cid_;
    ring.finish(header);
    left -= part;
  }
  connection.learn_batch(ring.finished(), count == total, RxRing::kMost);
  ring.release();
  update(connection);
  return count > 0 ? Delivery::kData : Delivery::kNothing;
}

}  // namespace mvm::vmm
