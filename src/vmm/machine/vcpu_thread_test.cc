// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/vcpu_thread.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <thread>

#include "vmm/kvm/testing_guest.h"
#include "vmm/virtio/testing_transport.h"

namespace mvm::vmm {
namespace {

using testing_guest::Code;
using testing_guest::Guest;
using testing_guest::kData;
using testing_transport::FakeDevice;

class NotingPort final : public PortDevice {
 public:
  std::uint8_t read_port(std::uint16_t) override { return 0x5a; }
  void write_port(std::uint16_t, std::uint8_t value) override {
    last = value;
    ++writes;
  }
  std::atomic<int> writes = 0;
  std::atomic<int> last = 0;
};

const Code kCounting = {0x66, 0xff, 0x06, 0x00, 0x20, 0xeb, 0xf9};  // again: inc dword [0x2000]
const Code kHalting = {0xf4, 0xeb, 0xfd};                           // again: hlt; jmp again
const Code kPortWriting = {0xe6, 0x80, 0xeb, 0xfc};                 // again: out 0x80, al
const Code kFaulting = {0x0f, 0x01, 0x1e, 0x00, 0x20, 0x0f, 0x0b};  // lidt [0x2000]; ud2

class VcpuThreadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing_guest::why_not()) GTEST_SKIP() << *reason;
    ASSERT_TRUE(VcpuThread::prepare_signal().has_value());
    ASSERT_TRUE(bus.ports().add({0x80, 1}, port).has_value());
  }
  void create(const Code& code, std::uint64_t data_base = 0) {
    guest = Guest::create(code, data_base).value();
    VcpuThread::Handlers handlers;
    handlers.confine = [this] { return confine ? confine() : Result<>(); };
    handlers.on_end = [this](std::optional<Error> why) {
      io->post([this, why = std::move(why)] {
        ++ends;
        ending = why;
      });
    };
    vcpu = std::make_unique<VcpuThread>(0, guest->take_vcpu(), bus, *io, std::move(handlers));
  }
  void run(const Code& code, std::uint64_t data_base = 0) {
    create(code, data_base);
    vcpu->start();
    vcpu->resume();
  }
  // For what no event tells.
  static bool eventually(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::after(Millis(60'000), "the guest");
    while (!done() && !deadline.passed()) std::this_thread::yield();
    return done();
  }
  void pause() {
    vcpu->pause();
    io->wait_until([this] { return vcpu->stopped(); });
  }
  void turn_until(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::after(Millis(60'000), "the guest");
    while (!done()) ASSERT_TRUE(loop.run_once(deadline).has_value());
  }
  std::uint32_t count() const { return guest->word(kData); }

  sys::EventLoop loop = sys::EventLoop::create().value();
  std::unique_ptr<IoThread> io = IoThread::create(loop).value();
  NotingPort port;
  GuestBus bus;
  std::function<Result<>()> confine;
  int ends = 0;
  std::optional<Error> ending;
  std::unique_ptr<Guest> guest;
  std::unique_ptr<VcpuThread> vcpu;
};

// ---- starting and ending

TEST_F(VcpuThreadTest, IsDestroyedWithoutEverHavingBeenStarted) {
  create(kCounting);
  EXPECT_TRUE(vcpu->stopped());
  vcpu.reset();
  EXPECT_EQ(count(), 0U);
}

TEST_F(VcpuThreadTest, RunsNothingBeforeItIsResumed) {
  create(kCounting);
  vcpu->start();
  EXPECT_TRUE(vcpu->stopped());
  vcpu.reset();
  EXPECT_EQ(count(), 0U);
}

TEST_F(VcpuThreadTest, IsDestroyedWhileItRuns) {
  run(kCounting);
  EXPECT_TRUE(eventually([&] { return count() > 0; }));
  vcpu.reset();
  const auto at_the_end = count();
  EXPECT_EQ(count(), at_the_end);
  EXPECT_EQ(ends, 0);
}

TEST_F(VcpuThreadTest, IsDestroyedWhileItIsPaused) {
  run(kCounting);
  pause();
  vcpu.reset();
  EXPECT_EQ(ends, 0);
}

TEST_F(VcpuThreadTest, IsDestroyedWhileItsGuestIsHalted) {
  run(kHalting);
  vcpu.reset();
  EXPECT_EQ(ends, 0);
}

TEST_F(VcpuThreadTest, ATripleFaultIsAReset) {
  run(kFaulting);
  turn_until([&] { return ends == 1; });
  EXPECT_FALSE(ending.has_value());
  EXPECT_TRUE(eventually([&] { return vcpu->stopped(); }));
  // It has ended for good.
  vcpu->pause();
  vcpu->resume();
  EXPECT_TRUE(vcpu->stopped());
  vcpu.reset();
  EXPECT_EQ(ends, 1);
}

TEST_F(VcpuThreadTest, AThreadThatCannotBeConfinedRunsNothing) {
  confine = [] { return Result<>(Error(Errc::kUnsupported, "no filter")); };
  run(kCounting);
  turn_until([&] { return ends == 1; });
  ASSERT_TRUE(ending.has_value());
  EXPECT_EQ(ending->code(), Errc::kUnsupported);
  io->wait_until([&] { return vcpu->stopped(); });
  EXPECT_EQ(count(), 0U);
}

TEST_F(VcpuThreadTest, ResumingAThreadThatIsEndingDoesNotMakeItRunForEver) {
  for (int round = 0; round < 50; ++round) {
    confine = [] { return Result<>(Error(Errc::kUnsupported, "no filter")); };
    run(kCounting);
    vcpu->pause();
    vcpu->resume();
    io->wait_until([&] { return vcpu->stopped(); });
    vcpu.reset();
  }
  EXPECT_EQ(ends, 50);
}

// ---- pausing

TEST_F(VcpuThreadTest, StandsStillWhilePausedAndGoesOnAfterwards) {
  run(kCounting);
  for (int round = 0; round < 20; ++round) {
    const auto before = count();
    ASSERT_TRUE(eventually([&] { return count() != before; }));
    pause();
    const auto paused = count();
    const auto rip = vcpu->vcpu().regs().value().rip;
    EXPECT_EQ(count(), paused);
    EXPECT_EQ(vcpu->vcpu().regs().value().rip, rip);
    vcpu->resume();
  }
}

TEST_F(VcpuThreadTest, PausesAHaltedGuest) {
  run(kHalting);
  for (int round = 0; round < 20; ++round) {
    pause();
    vcpu->resume();
  }
  EXPECT_FALSE(vcpu->stopped());
}

TEST_F(VcpuThreadTest, NoPauseIsLostHoweverItFallsTogetherWithTheGuestsExits) {
  run(kPortWriting);
  for (int round = 0; round < 300; ++round) {
    pause();
    EXPECT_TRUE(vcpu->stopped());
    vcpu->resume();
    vcpu->pause();  // before it may have seen that it shall run
    vcpu->resume();
  }
  const int before = port.writes;
  EXPECT_TRUE(eventually([&] { return port.writes != before; }));
}

TEST_F(VcpuThreadTest, PausesAlthoughItsMakerHadBlockedTheSignal) {
  sigset_t all;
  sigset_t old;
  ::sigfillset(&all);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &all, &old), 0);
  run(kCounting);
  EXPECT_TRUE(eventually([&] { return count() > 0; }));
  pause();
  EXPECT_TRUE(vcpu->stopped());
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &old, nullptr), 0);
}

TEST_F(VcpuThreadTest, AnAccessUnderWayIsCompletedByAPause) {
  // again: in al, 0x80; mov [0x2000], al; mov byte [0x2000], 0x5a; jmp again
  run({0xe4, 0x80, 0xa2, 0x00, 0x20, 0xc6, 0x06, 0x00, 0x20, 0x5a, 0xeb, 0xf4});
  ASSERT_TRUE(eventually([&] { return count() == 0x5a; }));
  for (int round = 0; round < 100; ++round) {
    pause();
    EXPECT_EQ(count(), 0x5aU);
    EXPECT_EQ(vcpu->vcpu().regs().value().rax & 0xff, 0x5aU);
    vcpu->resume();
  }
}

// ---- what the guest reaches

TEST_F(VcpuThreadTest, PortsAreWrittenAndRead) {
  // in al, 0x80; inc al; out 0x80, al; hlt
  run({0xe4, 0x80, 0xfe, 0xc0, 0xe6, 0x80, 0xf4});
  EXPECT_TRUE(eventually([&] { return port.writes > 0; }));
  EXPECT_EQ(port.last, 0x5b);
}

TEST_F(VcpuThreadTest, AStringOfPortWritesIsOneWriteAnElement) {
  // mov cx, 6; mov si, 0x1000; mov dx, 0x80; rep outsb; hlt
  run({0xb9, 6, 0, 0xbe, 0x00, 0x10, 0xba, 0x80, 0x00, 0xf3, 0x6e, 0xf4});
  EXPECT_TRUE(eventually([&] { return port.writes == 6; }));
  EXPECT_EQ(port.last, 0x10);  // the sixth byte of the program itself
}

TEST_F(VcpuThreadTest, TheBootTimerTellsThatTheGuestHasBooted) {
  std::atomic<int> told = 0;
  bus.set_boot_timer([&] { ++told; });
  // mov byte [0], 1; mov byte [0], 123; out 0x80, al; hlt
  run({0xc6, 0x06, 0, 0, 1, 0xc6, 0x06, 0, 0, 123, 0xe6, 0x80, 0xf4}, kBootTimerGpa);
  EXPECT_TRUE(eventually([&] { return port.writes == 1; }));
  EXPECT_EQ(told, 1);
}

TEST_F(VcpuThreadTest, AnAddressWithoutADeviceReadsAsOnes) {
  // mov al, [0]; out 0x80, al; hlt
  run({0xa0, 0, 0, 0xe6, 0x80, 0xf4}, kMmioGapStart);
  EXPECT_TRUE(eventually([&] { return port.writes == 1; }));
  EXPECT_EQ(port.last, 0xff);
}

// A guest that starts and resets a device in a loop: mostly, its vcpu waits for the I/O thread.
class BusyDriverTest : public VcpuThreadTest {
 protected:
  void run_driver() {
    auto fresh = std::make_unique<FakeDevice>();
    device = fresh.get();
    transport = MmioTransport::create("fake", std::move(fresh), memory, *io, {}).value();
    bus.add(*transport);
    run({0x66, 0xc7, 0x06, 0x70, 0, 0x01, 0, 0, 0,  // again: mov dword [0x70], 1: acknowledged
         0x66, 0xc7, 0x06, 0x24, 0, 0x01, 0, 0, 0,  // the features' upper half:
         0x66, 0xc7, 0x06, 0x20, 0, 0x01, 0, 0, 0,  //   version 1
         0x66, 0xc7, 0x06, 0x70, 0, 0x09, 0, 0, 0,  // features
         0x66, 0xc7, 0x06, 0x70, 0, 0x0d, 0, 0, 0,  // driver
         0x66, 0xc7, 0x06, 0x70, 0, 0x00, 0, 0, 0,  // reset
         0xeb, 0xc8},                               // jmp again
        kMmioGapStart);
  }
  ~BusyDriverTest() override { vcpu.reset(); }
  GuestMemory memory = GuestMemory::create(mebibytes(1)).value();
  FakeDevice* device = nullptr;
  std::unique_ptr<MmioTransport> transport;
};

TEST_F(BusyDriverTest, IsPausedWhileItsVcpuWaitsForTheIoThread) {
  run_driver();
  turn_until([&] { return device->activations > 2; });
  for (int round = 0; round < 50; ++round) {
    pause();
    transport->pause();
    const int activations = device->activations;
    EXPECT_GE(activations, device->resets);
    transport->resume();
    vcpu->resume();
    turn_until([&] { return device->activations > activations; });
  }
}

TEST_F(BusyDriverTest, IsDestroyedWhileItsVcpuWaitsForTheIoThread) {
  run_driver();
  turn_until([&] { return device->resets > 2; });
  vcpu.reset();
  EXPECT_EQ(ends, 0);
}

}  // namespace
}  // namespace mvm::vmm
