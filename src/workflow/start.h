// SPDX-License-Identifier: Apache-2.0
// What every way to a new machine has in common: its engine, its ports, and the steps from a
// description to a supervisor that runs it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/result.h"
#include "platform/select.h"
#include "spec/vm_spec.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "sys/files.h"
#include "sys/unique_fd.h"
#include "workflow/programs.h"

namespace mvm::workflow {

struct EngineChoice {
  platform::Selection selection;
  std::string engine;  // path of its program
};

// By itself only one that has all of `needs` is chosen.
// Errors: those of platform::select_backend; those of backend::require for one that was named.
Result<EngineChoice> choose_engine(const store::Layout& layout, const Programs& programs,
                                   const platform::SelectionRequest& request,
                                   std::span<const backend::Capability> needs = {});

// Binds every forwarded port and lets it go: the engine will bind again. Somebody may come in
// between; then its own error is told. Errors: kBusy naming the port.
Result<> check_ports(const spec::NetworkSpec& network);

// What every start prints before it acts: backend, tier, and whether the jail is off.
std::string posture_line(const EngineChoice& choice, bool jail);

// Whom a jailed engine of root becomes: a user id of its own for each machine, 0x7000'0000 to
// 0x77ff'ffff, which systemd gives to nobody (its containers end below, its other ranges lie
// above). From the machine's id, which is random. Pure.
// Source: https://systemd.io/UIDS-GIDS/
std::uint32_t jail_user(const std::string& id);

// The jail that the configuration asks for, with the user it takes where we may choose one.
void set_jail(spec::VmSpec& vm, bool jail);

constexpr const char* kScratchFile = "scratch.img";  // in data_dir

// Makes it a machine of its own: an id, its directories, its name, which is made up when empty, and
// its host name, which is the name when empty.
void set_identity(const store::Layout& layout, spec::VmSpec& vm, const std::string& name,
                  const std::string& hostname);

// Runs it by this engine.
void set_engine(spec::VmSpec& vm, const EngineChoice& choice, const Programs& programs);

// Takes the lock and the name, makes the machine's directories and disks and starts its supervisor;
// the connection to it. `make_disks` finds data_dir made; `volumes` are the locks of vm.volumes.
// The images lock is held by the caller. Errors: kAlreadyExists for the name; every cause by which
// it cannot start. Nothing is left then.
Result<sys::UniqueFd> start_machine(const store::Layout& layout, store::Catalog& catalog,
                                    const Programs& programs, const spec::VmSpec& vm,
                                    const std::vector<sys::FileLock>& volumes,
                                    const std::function<Result<>()>& make_disks);

}  // namespace mvm::workflow
