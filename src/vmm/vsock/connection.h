// SPDX-License-Identifier: Apache-2.0
// One stream between a port of the guest and a unix socket of the host.
//
//   host: CONNECT port                     guest: kRequest, a host socket accepted
//        │ kRequest                              │ kResponse
//        ▼                                       │
//   requested ──── guest: kResponse ──▶ established ◀┘      (accepted until kResponse is delivered)
//        │                                │    │
//        │ kReset, hang-up,               │    │ host hung up, or each side ended its half:
//        │ two seconds                    │    ▼ kShutdown of both halves
//        │                                │  closing ── two seconds ──┐
//        ▼                                ▼    │                      ▼
//      gone ◀──── guest: kReset, or it breaks a rule, or shuts down both halves (answered: kReset)
//
// Halves end one by one: an end of file from the host becomes kShutdown(send); kShutdown(send) from
// the guest becomes an end of file once all is written; kShutdown(receive) and EPIPE alike, the
// other way. When the guest has ended both while the host still owes us reads, the guest is let go
// at once and only the buffer is left to be written (Verdict::kDrain).
//
// Credit. To the guest: we send at most peer_buf_alloc − (sent − peer_fwd_cnt). From the guest: at
// most buf_alloc bytes may wait here for the host's socket, a guest that sends more is reset; it
// learns of fwd_cnt by every header, and by kCreditUpdate when what it knows to be free falls below
// half of buf_alloc.
//
// Threads: none; the device's lock.
// Source: VIRTIO 1.2, section 5.10.6.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>

#include "sys/unique_fd.h"
#include "vmm/vsock/metrics.h"
#include "vmm/vsock/packet.h"
#include "vmm/vsock/tx_buffer.h"

namespace mvm::vmm {

struct ConnectionKey {
  std::uint32_t local_port = 0;  // the host's
  std::uint32_t peer_port = 0;   // the guest's
  bool operator==(const ConnectionKey&) const = default;
};

class Connection {
 public:
  enum class State { kRequested, kAccepted, kEstablished, kClosing };
  // What becomes of it after an event.
  enum class Verdict {
    kKeep,
    kRemove,  // forget it
    kReset,   // tell the guest kReset and forget it
    kDrain,   // likewise, but go on flushing to the host; no kReset if the guest said it itself
  };
  // Units: calls of on_tick().
  static constexpr int kRequestTicks = 20;
  static constexpr int kClosingTicks = 20;

  // The host wants to reach the guest. `socket` is non-blocking in both.
  static Connection to_guest(ConnectionKey key, sys::UniqueFd socket, std::uint32_t buf_alloc);
  static Connection from_guest(const PacketHeader& request, sys::UniqueFd socket,
                               std::uint32_t buf_alloc);

  ConnectionKey key() const { return key_; }
  State state() const { return state_; }
  int fd() const { return socket_.get(); }

  // A packet of the guest; payload is what its header announces, in guest memory.
  Verdict on_packet(const PacketHeader& header, std::span<const iovec> payload,
                    VsockMetrics& metrics);
  // Events of the host's socket (EPOLLIN, …).
  Verdict on_host(std::uint32_t events, VsockMetrics& metrics);
  // A tenth of a second has passed; called only while needs_tick().
  Verdict on_tick();
  bool needs_tick() const;

  // What the host's socket should be watched for; 0 is for nothing, not even a hang-up.
  std::uint32_t wanted_events() const;

  // Whether there is something for the guest: a control packet, or data that may be read and sent.
  bool ready() const { return pending_ != 0 || credit_to_use() > 0; }
  bool has_control() const { return pending_ != 0; }
  // The next control packet. Call only when has_control().
  PacketHeader take_control();
  // How many bytes the guest may be sent now; 0 when the host's socket has nothing for us.
  std::uint32_t credit_to_use() const;
  // Reads from the host into guest memory (at most credit_to_use() bytes of it).
  // Returns the bytes that are there to send; 0 when it turned out that there are none.
  std::uint32_t read_host(std::span<const iovec> into, VsockMetrics& metrics);
  // The header of a data packet of so many bytes that were read.
  PacketHeader take_data(std::uint32_t length);

  // How many rx buffers a read is worth: grows while reads fill them.
  std::size_t batch() const { return batch_; }
  void learn_batch(std::size_t used, bool filled, std::size_t most);

  bool drained() const { return buffer_.empty() || write_closed_; }
  std::uint32_t waiting_for_host() const { return static_cast<std::uint32_t>(buffer_.size()); }

  // For the muxer's books.
  bool queued = false;
  std::uint32_t watched = 0;

 private:
  enum Pending : std::uint8_t {
    kRequest = 1,
    kResponse = 2,
    kShutdown = 4,
    kCreditUpdate = 8,
    kCreditRequest = 16,
    kReset = 32,
  };
  Connection(ConnectionKey key, sys::UniqueFd socket, std::uint32_t buf_alloc, State state,
             std::uint8_t pending);

  PacketHeader header(PacketOp op);
  Verdict on_data(const PacketHeader& header, std::span<const iovec> payload,
                  VsockMetrics& metrics);
  Verdict on_response(VsockMetrics& metrics);
  Verdict on_guest_shutdown(std::uint32_t flags);
  // Writes as much as the socket takes; the rest is buffered.
  bool forward(std::span<const iovec> payload, std::uint32_t length, VsockMetrics& metrics);
  void flush(VsockMetrics& metrics);
  std::size_t send(std::span<const iovec> parts, std::uint64_t& failures);
  void offer_credit();
  void end_host_writing();
  void end_halves(std::uint32_t flags);
  void on_end_of_file();
  bool may_read() const;
  std::uint32_t credit() const;
  std::uint32_t least_credit() const;

  ConnectionKey key_;
  sys::UniqueFd socket_;
  State state_;
  std::uint8_t pending_;
  std::uint32_t buf_alloc_;
  std::uint32_t received_ = 0;   // bytes of the guest, all told; these counters wrap
  std::uint32_t forwarded_ = 0;  // of them, taken by the host's socket: our fwd_cnt
  std::uint32_t told_ = 0;       // fwd_cnt as the guest knows it
  std::uint32_t sent_ = 0;       // bytes to the guest
  std::uint32_t peer_buf_alloc_ = 0;
  std::uint32_t peer_fwd_cnt_ = 0;
  std::uint32_t guest_ended_ = 0;  // kShutdown flags of the guest
  std::uint32_t host_ended_ = 0;   // of the host, told or about to be told
  bool readable_ = false;          // the host's socket may have bytes or an end of file
  bool hung_up_ = false;           // the host's end is gone; no event will follow
  bool write_closed_ = false;      // the host's socket takes no more
  int ticks_ = 0;                  // left until the guest must have answered; 0: no limit
  bool request_credit_ = false;    // out of credit since the last tick
  std::size_t batch_ = 1;
  TxBuffer buffer_;
};

}  // namespace mvm::vmm

template <>
struct std::hash<mvm::vmm::ConnectionKey> {
  std::size_t operator()(const mvm::vmm::ConnectionKey& key) const noexcept {
    // Ports are small or consecutive: spread them (the multiplier is 2^64 / golden ratio).
    const std::uint64_t both = std::uint64_t{key.local_port} << 32 | key.peer_port;
    return static_cast<std::size_t>((both * 0x9e37'79b9'7f4a'7c15ULL) >> 20);
  }
};
