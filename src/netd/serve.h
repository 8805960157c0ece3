// SPDX-License-Identifier: Apache-2.0
// The whole of mvm-netd but its arguments: one process, one thread, one poll(2) loop.
#pragma once

#include "core/result.h"
#include "netd/options.h"
#include "netd/tap_link.h"

namespace mvm::netd {

// Gives up what the process does not need: new privileges, being traced or dumped, starting
// programs, and (as root) every capability but those for ports below 1024 and for ping.
// Errors: the refused call's.
Result<> confine();

// The rest, once forwards are bound: ports below 1024, and every system call that serving does not
// take (netd/policy/policy.h), the first of which ends the process with SIGSYS.
// Errors: kUnavailable when this kernel has no filters; the refused call's.
Result<> confine_to_serving();

// Runs the network until the peer of `options.fd` closes it. With a tap device its link comes from
// make_tap_link(), which has to be called before confine().
// Errors: a forward that cannot be bound, before anybody is told that the network is up;
// kGuestFault when the peer breaks the framing.
Result<> serve(const Options& options, TapLink link);

}  // namespace mvm::netd
