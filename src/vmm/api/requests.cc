// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/requests.h"

namespace mvm::vmm {
namespace {

template <class T, class... Types>
constexpr bool kIsOneOf = (std::is_same_v<T, Types> || ...);

template <class T>
constexpr bool kBeforeStart =
    kIsOneOf<T, PutMachineConfig, PatchMachineConfig, PutBootSource, PutDrive, PutNetwork, PutVsock,
             PutEntropy, PutBalloon, PutLogger, PutMetrics, PutSerial, PutMmdsConfig,
             PutSnapshotLoad, StartInstance>;

template <class T>
constexpr bool kAfterStart =
    kIsOneOf<T, FlushMetrics, SendCtrlAltDel, PauseVm, ResumeVm, PatchDrive, PatchNetwork,
             PatchBalloon, GetBalloonStats, PatchBalloonStats, StartBalloonHinting,
             GetBalloonHinting, StopBalloonHinting, PutSnapshotCreate>;

template <class T>
constexpr bool kConfiguresBoot =
    kIsOneOf<T, PutMachineConfig, PatchMachineConfig, PutBootSource, PutDrive, PutNetwork, PutVsock,
             PutEntropy, PutBalloon, PutMmdsConfig>;

}  // namespace

Result<> check_allowed(const ApiRequest& request, VmState state) {
  const bool started = state != VmState::kNotStarted;
  return std::visit(
      [started]<class T>(const T&) -> Result<> {
        if (kBeforeStart<T> && started)
          return Error(Errc::kInvalidArgument,
                       "The requested operation is not supported after starting the microVM.");
        if (kAfterStart<T> && !started)
          return Error(Errc::kInvalidArgument,
                       "The requested operation is not supported before starting the microVM.");
        return {};
      },
      request);
}

bool configures_boot(const ApiRequest& request) {
  return std::visit([]<class T>(const T&) { return kConfiguresBoot<T>; }, request);
}

}  // namespace mvm::vmm
