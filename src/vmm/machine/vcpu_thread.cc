// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/vcpu_thread.h"

#include <pthread.h>
#include <signal.h>

#include <string>

namespace mvm::vmm {
namespace {

int kick_signal() { return SIGRTMIN; }

// A thread has the blocked signals of the one that made it.
void unblock_kick_signal() {
  sigset_t kick;
  ::sigemptyset(&kick);
  ::sigaddset(&kick, kick_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
}

// immediate_exit is also read by KVM; a compiler must not hold it back.
void set_immediate_exit(kvm_run& run, bool on) {
  std::atomic_ref(run.immediate_exit).store(on ? 1 : 0, std::memory_order_seq_cst);
}

}  // namespace

Result<> VcpuThread::prepare_signal() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  if (::sigaction(kick_signal(), &action, nullptr) != 0)
    return Error::from_errno("handler of the vcpu signal");
  return {};
}

VcpuThread::VcpuThread(std::uint32_t index, KvmVcpu vcpu, GuestBus& bus, IoThread& io,
                       Handlers handlers)
    : index_(index), vcpu_(std::move(vcpu)), bus_(bus), io_(io), handlers_(std::move(handlers)) {}

VcpuThread::~VcpuThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kQuit;
  }
  changed_.notify_one();
  interrupt();
  // It may be waiting for the I/O thread to start or stop a device.
  io_.wait_until([this] { return phase_.load(std::memory_order_acquire) == Phase::kEnded; });
  thread_.join();
}

void VcpuThread::start() {
  thread_ = std::thread([this] { thread_main(); });
}

void VcpuThread::interrupt() {
  set_immediate_exit(vcpu_.shared(), true);
  if (thread_.joinable()) (void)::pthread_kill(thread_.native_handle(), kick_signal());
}

void VcpuThread::pause() {
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kPause;
  }
  interrupt();
}

void VcpuThread::resume() {
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kRun;
    if (phase_ == Phase::kPaused) phase_ = Phase::kRunning;
  }
  changed_.notify_one();
}

void VcpuThread::thread_main() {
  ::pthread_setname_np(::pthread_self(), ("vcpu" + std::to_string(index_)).c_str());
  unblock_kick_signal();
  if (auto confined = handlers_.confine(); !confined) return end(std::move(confined).error());
  while (obey()) {
    if (!run_once()) return;
  }
  end_quietly();
}

// Waits while paused. False when the thread shall end.
bool VcpuThread::obey() {
  std::unique_lock lock(mutex_);
  while (wish_ == Wish::kPause) {
    // Anew each time: we may have been resumed and paused again before we woke.
    phase_.store(Phase::kPaused, std::memory_order_release);
    io_.wake();
    changed_.wait(lock);
  }
  set_immediate_exit(vcpu_.shared(), false);
  return wish_ == Wish::kRun;
}

// Runs until somebody interrupts. False when the vcpu has ended.
bool VcpuThread::run_once() {
  for (;;) {
    const auto ran = vcpu_.run();
    if (!ran) {
      end(Error(ran.error()).with_context("vcpu " + std::to_string(index_)));
      return false;
    }
    if (!*ran) return true;
    if (!handle_exit()) return false;
  }
}

bool VcpuThread::handle_exit() {
  kvm_run& run = vcpu_.shared();
  const std::string who = "vcpu " + std::to_string(index_);
  switch (run.exit_reason) {
    case KVM_EXIT_MMIO: {
      const std::span data(reinterpret_cast<std::byte*>(run.mmio.data), run.mmio.len);
      if (run.mmio.is_write != 0)
        bus_.write(run.mmio.phys_addr, data);
      else
        bus_.read(run.mmio.phys_addr, data);
      return true;
    }
    case KVM_EXIT_IO:
      handle_port(run);
      return true;
    case KVM_EXIT_INTR:
      return true;
    case KVM_EXIT_SHUTDOWN:
      end(std::nullopt);
      return false;
    case KVM_EXIT_FAIL_ENTRY:
      end(Error(Errc::kGuestFault,
                who + ": the processor refuses its state, reason " +
                    std::to_string(run.fail_entry.hardware_entry_failure_reason)));
      return false;
    case KVM_EXIT_INTERNAL_ERROR:
      end(Error(Errc::kGuestFault, who + ": KVM gives up on an instruction, internal error " +
                                       std::to_string(run.internal.suberror)));
      return false;
    default:
      end(Error(Errc::kGuestFault,
                who + ": unexpected KVM exit " + std::to_string(run.exit_reason)));
      return false;
  }
}

void VcpuThread::handle_port(const kvm_run& run) {
  std::byte* data = reinterpret_cast<std::byte*>(&vcpu_.shared()) + run.io.data_offset;
  for (std::uint32_t i = 0; i < run.io.count; ++i, data += run.io.size) {
    const std::span item(data, run.io.size);
    if (run.io.direction == KVM_EXIT_IO_OUT)
      bus_.ports().write(run.io.port, item);
    else
      bus_.ports().read(run.io.port, item);
  }
}

void VcpuThread::end(std::optional<Error> why) {
  handlers_.on_end(std::move(why));
  end_quietly();
}

void VcpuThread::end_quietly() {
  {
    // Not while resume() looks whether we are paused: an ended vcpu never runs again.
    const std::lock_guard lock(mutex_);
    phase_.store(Phase::kEnded, std::memory_order_release);
  }
  io_.wake();
}

}  // namespace mvm::vmm
