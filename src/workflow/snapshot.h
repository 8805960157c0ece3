// SPDX-License-Identifier: Apache-2.0
// Snapshots: a running machine written to files, and machines started from them.
//
// The machine is held while its engine writes state and memory and its scratch disk is copied, and
// goes on afterwards, also when anything fails or we are killed. The record is written last, so
// there is never half a snapshot; what a killed command leaves is garbage that gc removes. A
// machine that starts from a snapshot goes on where the saved one stood, with an identity of its
// own: name, host name, clock, randomness (docs/design/vmm.md). Files: docs/formats/store.md.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent_client/client.h"
#include "core/result.h"
#include "spec/vm_spec.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "workflow/create.h"
#include "workflow/machines.h"

namespace mvm::workflow {

// Errors: kUnsupported when the machine's engine writes no snapshots; kAlreadyExists for the name;
// kBusy when another one is being made; kNoSpace.
Result<store::SnapshotRecord> create_snapshot(
    const store::Layout& layout, const Machine& machine, agent_client::Client& client,
    std::string name, const std::function<void(const std::string&)>& on_step);

// Machines that were started from it are not touched. Errors: kNotFound.
Result<> remove_snapshot(const store::Layout& layout, const std::string& name);

struct RestoreRequest {
  std::string snapshot;
  std::string name;  // of the new machine; empty: one is made up
  std::string hostname;
  // In place of the saved machine's, which it may still hold itself.
  std::optional<std::vector<spec::PortForward>> forwards;
  std::optional<Millis> ttl;
  bool jail = true;  // of the engine
};

// What ran goes on; it is nobody's main process any more, so the machine stays until it is stopped.
// Errors: as create(); kNotFound; kUnavailable where the engine does not run on this host.
Result<Created> restore(const store::Layout& layout, const RestoreRequest& request,
                        const CreateEvents& events);

}  // namespace mvm::workflow
