// SPDX-License-Identifier: Apache-2.0
// The sections of bench_vmm; each measures mvm-vmm beside QEMU, in turn, and adds its lines.
#pragma once

#include "bench.h"
#include "bench_vmm_guest.h"

namespace mvm::bench {

// Launch until the agent is ready.
void bench_boot(const Parts& parts, Report& report);
// CPU time until the API's socket takes connections.
void bench_start(const Parts& parts, Report& report);
// Private memory apart from guest RAM, and the program's size.
void bench_memory(const Parts& parts, Report& report);
// Process start until the agent of a restored machine is ready, against booting it.
void bench_restore(const Parts& parts, Report& report);
// Writing a snapshot, against the disk.
void bench_snapshot(const Parts& parts, Report& report);
void bench_block(const Parts& parts, Report& report);
void bench_net(const Parts& parts, Report& report);
// As root only.
void bench_tap(const Parts& parts, Report& report);
void bench_vsock(const Parts& parts, Report& report);

// Rounds of the sections: MVM_BENCH_ROUNDS, or `usual`.
int rounds(int usual);

}  // namespace mvm::bench
