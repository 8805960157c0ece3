// SPDX-License-Identifier: Apache-2.0
// A thread that runs one vcpu.
//
//   created ──start()──▶ paused ◀──────────── pause() ───┐
//                          │                              │
//                          └──resume()──▶ running ────────┤
//                                            │ the guest resets, or KVM gives up
//                                            ▼
//                                          ended (on_end was called)
//
// Pausing interrupts KVM_RUN by a signal; an access under way is completed first, so that the
// vcpu's state is whole.
//
// Threads: start, pause, resume, destruction on the I/O thread; on_end comes on the vcpu's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "core/result.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/guest_bus.h"
#include "vmm/virtio/io_thread.h"

namespace mvm::vmm {

class VcpuThread {
 public:
  struct Handlers {
    // First thing on the new thread: its system call filter. Errors end the machine.
    std::function<Result<>()> confine;
    // Nothing: the guest has reset itself (triple fault). Called at most once.
    std::function<void(std::optional<Error>)> on_end;
  };

  VcpuThread(std::uint32_t index, KvmVcpu vcpu, GuestBus& bus, IoThread& io, Handlers handlers);
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  // Once per process, before any vcpu runs: the signal that interrupts KVM_RUN gets its handler.
  static Result<> prepare_signal();

  void start();
  // Returns at once; the I/O thread is woken when stopped() has become true.
  void pause();
  void resume();
  // Paused or ended: the vcpu's state may be used by others.
  bool stopped() const { return phase_.load(std::memory_order_acquire) != Phase::kRunning; }
  const KvmVcpu& vcpu() const { return vcpu_; }

 private:
  enum class Phase { kRunning, kPaused, kEnded };
  enum class Wish { kRun, kPause, kQuit };
  void thread_main();
  bool obey();
  bool run_once();
  bool handle_exit();
  void handle_port(const kvm_run& run);
  void interrupt();
  void end(std::optional<Error> why);
  void end_quietly();

  const std::uint32_t index_;
  KvmVcpu vcpu_;
  GuestBus& bus_;
  IoThread& io_;
  Handlers handlers_;
  std::atomic<Phase> phase_{Phase::kPaused};
  std::mutex mutex_;
  std::condition_variable changed_;
  Wish wish_ = Wish::kPause;
  std::thread thread_;
};

}  // namespace mvm::vmm
