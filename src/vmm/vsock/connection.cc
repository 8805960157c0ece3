// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/connection.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "sys/socket.h"

namespace mvm::vmm {
namespace {

// Less credit than this is not worth an rx buffer, unless the guest's whole buffer is small.
constexpr std::uint32_t kLeastCredit = 4096;

constexpr std::uint32_t kMostInSocket = 1 << 20;

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Connection::Connection(ConnectionKey key, sys::UniqueFd socket, std::uint32_t buf_alloc,
                       State state, std::uint8_t pending)
    : key_(key),
      socket_(std::move(socket)),
      state_(state),
      pending_(pending),
      buf_alloc_(buf_alloc),
      buffer_(buf_alloc) {
  // What the socket takes need not be copied into our buffer.
  sys::raise_send_buffer(fd(), std::min(buf_alloc, kMostInSocket));
}

Connection Connection::to_guest(ConnectionKey key, sys::UniqueFd socket, std::uint32_t buf_alloc) {
  return Connection(key, std::move(socket), buf_alloc, State::kRequested, kRequest);
}

Connection Connection::from_guest(const PacketHeader& request, sys::UniqueFd socket,
                                  std::uint32_t buf_alloc) {
  Connection out({request.destination_port, request.source_port}, std::move(socket), buf_alloc,
                 State::kAccepted, kResponse);
  out.peer_buf_alloc_ = request.buf_alloc;
  out.peer_fwd_cnt_ = request.fwd_cnt;
  return out;
}

// ---- from the guest

Connection::Verdict Connection::on_packet(const PacketHeader& header,
                                          std::span<const iovec> payload, VsockMetrics& metrics) {
  peer_buf_alloc_ = header.buf_alloc;
  peer_fwd_cnt_ = header.fwd_cnt;
  switch (header.op) {
    case PacketOp::kData:
      return on_data(header, payload, metrics);
    case PacketOp::kCreditUpdate:
      return Verdict::kKeep;
    case PacketOp::kCreditRequest:
      if (state_ != State::kRequested) pending_ |= kCreditUpdate;
      return Verdict::kKeep;
    case PacketOp::kResponse:
      return on_response(metrics);
    case PacketOp::kShutdown:
      return on_guest_shutdown(header.flags & kShutdownBoth);
    case PacketOp::kReset:
      // What the guest had sent and ended in good order still reaches the host.
      return (guest_ended_ & kShutdownSend) != 0 && !drained() ? Verdict::kDrain : Verdict::kRemove;
    case PacketOp::kRequest:
      break;  // the guest has forgotten this connection, or never followed the rules
  }
  ++metrics.malformed_packets;
  return Verdict::kReset;
}

Connection::Verdict Connection::on_data(const PacketHeader& header, std::span<const iovec> payload,
                                        VsockMetrics& metrics) {
  const bool may_send = (state_ == State::kEstablished || state_ == State::kClosing) &&
                        (guest_ended_ & kShutdownSend) == 0;
  if (!may_send || !forward(payload, header.length, metrics)) {
    ++metrics.malformed_packets;
    return Verdict::kReset;
  }
  offer_credit();
  return Verdict::kKeep;
}

Connection::Verdict Connection::on_response(VsockMetrics& metrics) {
  if (state_ != State::kRequested || (pending_ & kRequest) != 0) {
    ++metrics.malformed_packets;
    return Verdict::kReset;
  }
  state_ = State::kEstablished;
  ticks_ = 0;
  // The client may have sent more behind its line; the watch will tell.
  const std::string line = "OK " + std::to_string(key_.local_port) + "\n";
  const ssize_t n = ::send(fd(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return n == static_cast<ssize_t>(line.size()) ? Verdict::kKeep : Verdict::kReset;
}

Connection::Verdict Connection::on_guest_shutdown(std::uint32_t flags) {
  if (state_ == State::kRequested) return Verdict::kReset;
  guest_ended_ |= flags;
  if (guest_ended_ == kShutdownBoth) return drained() ? Verdict::kReset : Verdict::kDrain;
  if ((flags & kShutdownReceive) != 0) {
    readable_ = false;
    ::shutdown(fd(), SHUT_RD);
  }
  if ((flags & kShutdownSend) != 0 && drained()) ::shutdown(fd(), SHUT_WR);
  return Verdict::kKeep;
}

bool Connection::forward(std::span<const iovec> payload, std::uint32_t length,
                         VsockMetrics& metrics) {
  if (length > buffer_.limit() - buffer_.size()) return false;
  received_ += length;
  std::size_t taken = 0;
  if (length > 0 && buffer_.empty() && !write_closed_)
    taken = send(payload, metrics.tx_write_fails);
  if (write_closed_) taken = length;  // nobody wants it; the guest learns that by kShutdown
  forwarded_ += static_cast<std::uint32_t>(taken);
  metrics.tx_bytes_count += taken;
  return buffer_.append(payload, taken);
}

std::size_t Connection::send(std::span<const iovec> parts, std::uint64_t& failures) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  const ssize_t n = ::sendmsg(fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0) return static_cast<std::size_t>(n);
  if (!would_block(errno)) {
    ++failures;
    end_host_writing();
  }
  return 0;
}

void Connection::flush(VsockMetrics& metrics) {
  iovec parts[2];
  while (!buffer_.empty() && !write_closed_) {
    const std::size_t count = buffer_.contents(parts);
    const std::size_t n = send({parts, count}, metrics.tx_flush_fails);
    if (n == 0) break;
    buffer_.consume(n);
    forwarded_ += static_cast<std::uint32_t>(n);
    metrics.tx_bytes_count += n;
  }
  if (buffer_.empty() && (guest_ended_ & kShutdownSend) != 0) ::shutdown(fd(), SHUT_WR);
  offer_credit();
}

void Connection::offer_credit() {
  const std::uint32_t free_as_told = buf_alloc_ - (received_ - told_);
  if (free_as_told < buf_alloc_ / 2 && forwarded_ - told_ >= buf_alloc_ / 4)
    pending_ |= kCreditUpdate;
}

// ---- from the host

Connection::Verdict Connection::on_host(std::uint32_t events, VsockMetrics& metrics) {
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    hung_up_ = true;
    if (state_ == State::kRequested)
      return (pending_ & kRequest) != 0 ? Verdict::kRemove : Verdict::kReset;
    end_host_writing();
  }
  if ((events & EPOLLOUT) != 0) flush(metrics);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    if ((host_ended_ & kShutdownSend) == 0 && (guest_ended_ & kShutdownReceive) == 0)
      readable_ = true;
    else if (hung_up_)
      end_halves(kShutdownBoth);
  }
  return Verdict::kKeep;
}

// The host's end takes no more: the guest should stop, and is not kept waiting for credit.
void Connection::end_host_writing() {
  if (write_closed_) return;
  write_closed_ = true;
  forwarded_ += static_cast<std::uint32_t>(buffer_.size());
  buffer_.clear();
  // After a hang-up one kShutdown for both halves follows what there is to read.
  if (!hung_up_) end_halves(kShutdownReceive);
}

void Connection::end_halves(std::uint32_t flags) {
  if ((host_ended_ | flags) == host_ended_) return;
  host_ended_ |= flags;
  pending_ |= kShutdown;
}

void Connection::on_end_of_file() {
  // A client that ended its half only can still be written to.
  pollfd state{fd(), 0, 0};
  if (::poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0) hung_up_ = true;
  end_halves(hung_up_ || write_closed_ ? kShutdownBoth : kShutdownSend);
  if (hung_up_) end_host_writing();
}

bool Connection::may_read() const {
  return state_ == State::kEstablished && (host_ended_ & kShutdownSend) == 0 &&
         (guest_ended_ & kShutdownReceive) == 0;
}

std::uint32_t Connection::wanted_events() const {
  if (hung_up_) return 0;
  std::uint32_t events = EPOLLHUP;
  if (!drained()) events |= EPOLLOUT;
  if (may_read() && !readable_) events |= EPOLLIN;
  return events;
}

std::uint32_t Connection::read_host(std::span<const iovec> into, VsockMetrics& metrics) {
  std::size_t room = 0;
  for (const iovec& part : into) room += part.iov_len;
  const ssize_t n = ::readv(fd(), into.data(), static_cast<int>(into.size()));
  if (n > 0) {
    const auto count = static_cast<std::uint32_t>(n);
    metrics.rx_bytes_count += count;
    // A short read has emptied the socket; after a hang-up only an end of file has.
    if (count < room && !hung_up_) readable_ = false;
    return count;
  }
  if (n < 0 && would_block(errno)) {
    readable_ = errno == EINTR;
    return 0;
  }
  readable_ = false;
  if (n == 0) {
    on_end_of_file();
  } else {
    ++metrics.rx_read_fails;  // ECONNRESET: the client went away without having read everything
    host_ended_ = kShutdownBoth;
    hung_up_ = true;
    pending_ = kReset;
  }
  return 0;
}

// ---- to the guest

std::uint32_t Connection::credit() const {
  const std::uint32_t in_flight = sent_ - peer_fwd_cnt_;
  return in_flight >= peer_buf_alloc_ ? 0 : peer_buf_alloc_ - in_flight;
}

std::uint32_t Connection::least_credit() const {
  return std::clamp(peer_buf_alloc_ / 2, std::uint32_t{1}, kLeastCredit);
}

std::uint32_t Connection::credit_to_use() const {
  if (!readable_ || !may_read()) return 0;
  const std::uint32_t now = credit();
  return now >= least_credit() ? now : 0;
}

PacketHeader Connection::header(PacketOp op) {
  told_ = forwarded_;
  PacketHeader out;
  out.source_cid = kHostCid;
  out.source_port = key_.local_port;
  out.destination_port = key_.peer_port;
  out.op = op;
  out.buf_alloc = buf_alloc_;
  out.fwd_cnt = forwarded_;
  return out;
}

PacketHeader Connection::take_control() {
  const auto take = [this](Pending what) {
    const bool was = (pending_ & what) != 0;
    pending_ = static_cast<std::uint8_t>(pending_ & ~what);
    return was;
  };
  if (take(kReset)) return header(PacketOp::kReset);
  if (take(kRequest)) {
    ticks_ = kRequestTicks;
    return header(PacketOp::kRequest);
  }
  if (take(kResponse)) {
    state_ = State::kEstablished;
    return header(PacketOp::kResponse);
  }
  if (take(kShutdown)) {
    take(kCreditUpdate);
    if (host_ended_ == kShutdownBoth) {
      state_ = State::kClosing;
      ticks_ = kClosingTicks;
    }
    PacketHeader out = header(PacketOp::kShutdown);
    out.flags = host_ended_;
    return out;
  }
  if (take(kCreditUpdate)) return header(PacketOp::kCreditUpdate);
  take(kCreditRequest);
  return header(PacketOp::kCreditRequest);
}

PacketHeader Connection::take_data(std::uint32_t length) {
  sent_ += length;
  PacketHeader out = header(PacketOp::kData);
  out.length = length;
  return out;
}

void Connection::learn_batch(std::size_t used, bool filled, std::size_t most) {
  batch_ = filled ? std::min(most, std::max(batch_, used) * 2) : std::max(used, std::size_t{1});
}

// ---- time

bool Connection::needs_tick() const {
  return ticks_ > 0 || (readable_ && may_read() && credit_to_use() == 0);
}

Connection::Verdict Connection::on_tick() {
  if (ticks_ == 1) return Verdict::kReset;
  if (ticks_ > 0) --ticks_;
  // A driver need not tell of its credit unless it is asked.
  const bool starved = readable_ && may_read() && credit_to_use() == 0;
  if (starved && request_credit_) pending_ |= kCreditRequest;
  request_credit_ = starved;
  return Verdict::kKeep;
}

}  // namespace mvm::vmm
