// SPDX-License-Identifier: Apache-2.0
// Carries out the API's requests: collects the configuration, then runs the machine.
//
//   not started ──StartInstance──▶ running ◀──PauseVm, ResumeVm──▶ paused
//        └────────PutSnapshotLoad──────┴─────────────────────────────▲
//
// Threads: the I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/api/answers.h"
#include "vmm/api/requests.h"
#include "vmm/machine/machine.h"
#include "vmm/metrics.h"
#include "vmm/mmds/mmds.h"
#include "vmm/snapshot/memory_file.h"
#include "vmm/snapshot/memory_writer.h"
#include "vmm/snapshot/state_file.h"
#include "vmm/snapshot/uffd.h"

namespace mvm::vmm {

class VmController {
 public:
  struct Hooks {
    // Before a machine is made.
    std::function<Result<>()> before_machine;
    // When it has been made: the system call filters of this thread and of each vcpu's.
    std::function<Result<>()> confine_main;
    std::function<Result<>()> confine_vcpu;
    std::function<void(MachineEnd, std::optional<Error>)> on_end;
    std::function<void()> on_boot_done;  // may be empty
  };
  // `metadata_limit`: of the metadata service's document.
  VmController(IoThread& io, std::string id, Bytes metadata_limit, Hooks hooks);

  // Errors: kInvalidArgument for what is not allowed in this state; what the machine refuses.
  Result<ApiAnswer> handle(ApiRequest request);
  VmState state() const { return state_; }
  // Writes the metrics to their file, if there is one.
  Result<> flush_metrics();

 private:
  Result<ApiAnswer> act(const GetInstanceInfo& request);
  Result<ApiAnswer> act(const GetVersion& request);
  Result<ApiAnswer> act(const GetMachineConfig& request);
  Result<ApiAnswer> act(const GetVmConfig& request);
  Result<ApiAnswer> act(const GetBalloon& request);
  Result<ApiAnswer> act(const GetMmds& request);
  Result<ApiAnswer> act(const PutMmds& request);
  Result<ApiAnswer> act(const PatchMmds& request);
  Result<ApiAnswer> act(const PutMachineConfig& request);
  Result<ApiAnswer> act(const PatchMachineConfig& request);
  Result<ApiAnswer> act(const PutBootSource& request);
  Result<ApiAnswer> act(const PutDrive& request);
  Result<ApiAnswer> act(const PutNetwork& request);
  Result<ApiAnswer> act(const PutVsock& request);
  Result<ApiAnswer> act(const PutEntropy& request);
  Result<ApiAnswer> act(const PutBalloon& request);
  Result<ApiAnswer> act(const PutLogger& request);
  Result<ApiAnswer> act(const PutMetrics& request);
  Result<ApiAnswer> act(const PutSerial& request);
  Result<ApiAnswer> act(const PutMmdsConfig& request);
  Result<ApiAnswer> act(const PutSnapshotLoad& request);
  Result<ApiAnswer> act(const StartInstance& request);
  Result<ApiAnswer> act(const FlushMetrics& request);
  Result<ApiAnswer> act(const SendCtrlAltDel& request);
  Result<ApiAnswer> act(const PauseVm& request);
  Result<ApiAnswer> act(const ResumeVm& request);
  Result<ApiAnswer> act(const PatchDrive& request);
  Result<ApiAnswer> act(const PatchNetwork& request);
  Result<ApiAnswer> act(const PatchBalloon& request);
  Result<ApiAnswer> act(const GetBalloonStats& request);
  Result<ApiAnswer> act(const PatchBalloonStats& request);
  Result<ApiAnswer> act(const StartBalloonHinting& request);
  Result<ApiAnswer> act(const GetBalloonHinting& request);
  Result<ApiAnswer> act(const StopBalloonHinting& request);
  Result<ApiAnswer> act(const PutSnapshotCreate& request);

  MachineContext context();
  Result<> check_balloon(const std::optional<BalloonConfig>& balloon,
                         const MachineConfig& machine) const;
  template <class Device, class Work>
  Result<> with_device(const std::string& name, Work work);
  Result<> collect_dirty();
  Result<PendingMemory> write_snapshot_memory(const SnapshotCreateConfig& create, SnapshotId id);
  Result<GuestMemory> load_memory(const SnapshotLoadConfig& load, const SnapshotReader& reader);

  IoThread& io_;
  const std::string id_;
  Hooks hooks_;
  VmConfig config_;
  VmState state_ = VmState::kNotStarted;
  bool configured_ = false;
  std::shared_ptr<Mmds> metadata_;
  std::optional<MetricsFile> metrics_;
  // Of the memory that the machine was restored from; it outlives the machine.
  std::optional<MemoryFile> memory_file_;
  std::optional<UffdBackend> fault_handler_;
  SnapshotId memory_id_;          // of the last snapshot, or of the one restored from
  bool memory_was_blank_ = true;  // memory that was never touched is zero
  // Pages changed since the last snapshot that was written, as far as the logs were asked.
  std::vector<std::uint64_t> dirty_;
  std::unique_ptr<Machine> machine_;
};

}  // namespace mvm::vmm
