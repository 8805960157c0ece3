// SPDX-License-Identifier: Apache-2.0
// Counters of the vsock device, named as in the `vsock` object of Firecracker's metrics. As there,
// rx is what the guest receives and tx is what it sends.
#pragma once

#include <cstdint>

namespace mvm::vmm {

struct VsockMetrics {
  std::uint64_t activate_fails = 0;
  std::uint64_t cfg_fails = 0;
  std::uint64_t rx_queue_event_fails = 0;
  std::uint64_t tx_queue_event_fails = 0;
  std::uint64_t ev_queue_event_fails = 0;
  std::uint64_t muxer_event_fails = 0;
  std::uint64_t conn_event_fails = 0;
  std::uint64_t rx_queue_event_count = 0;
  std::uint64_t tx_queue_event_count = 0;
  std::uint64_t rx_bytes_count = 0;
  std::uint64_t tx_bytes_count = 0;
  std::uint64_t rx_packets_count = 0;
  std::uint64_t tx_packets_count = 0;
  std::uint64_t conns_added = 0;
  std::uint64_t conns_killed = 0;  // by us with a reset
  std::uint64_t conns_removed = 0;
  std::uint64_t tx_flush_fails = 0;
  std::uint64_t tx_write_fails = 0;
  std::uint64_t rx_read_fails = 0;
  // Ours: what a hostile or broken guest sent.
  std::uint64_t malformed_packets = 0;  // dropped or answered with a reset
  std::uint64_t small_rx_buffers = 0;   // given back unused
  std::uint64_t resets_dropped = 0;     // more resets owed than are kept
};

}  // namespace mvm::vmm
