// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/kvm.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cstring>
#include <span>

#include "vmm/kvm/testing_guest.h"

namespace mvm::vmm {
namespace {

using testing_guest::Code;
using testing_guest::Guest;
using testing_guest::kCode;
using testing_guest::kData;

constexpr std::uint64_t kDevice = 0xd000'0000;

bool is_set(int event_fd) {
  pollfd ready{event_fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1;
}

class KvmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing_guest::why_not()) GTEST_SKIP() << *reason;
  }
  // Runs to the next exit and returns its reason.
  static std::uint32_t run(const Guest& guest) {
    const auto ran = guest.vcpu().run();
    EXPECT_TRUE(ran.has_value() && *ran);
    return guest.vcpu().shared().exit_reason;
  }
  // Runs to the next OUT and returns what it wrote.
  static std::uint16_t next_out(const Guest& guest) {
    EXPECT_EQ(run(guest), std::uint32_t{KVM_EXIT_IO});
    const kvm_run& exit = guest.vcpu().shared();
    EXPECT_EQ(exit.io.direction, KVM_EXIT_IO_OUT);
    std::uint16_t value = 0;
    std::memcpy(&value, reinterpret_cast<const std::byte*>(&exit) + exit.io.data_offset,
                exit.io.size);
    return value;
  }
};

TEST(Kvm, NamesADeviceThatIsNotThere) {
  const auto opened = Kvm::open("/nonexistent/kvm");
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().text().find("/nonexistent/kvm"), std::string::npos);
}

TEST(Kvm, RefusesADeviceThatIsNoKvm) {
  const auto opened = Kvm::open("/dev/null");
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().text().find("KVM_GET_API_VERSION"), std::string::npos);
}

TEST_F(KvmTest, GivesPortWritesToItsCaller) {
  const auto guest = Guest::create({0xb8, 0x34, 0x12,  // mov ax, 0x1234
                                    0xe7, 0x80})       // out 0x80, ax
                         .value();
  EXPECT_EQ(next_out(*guest), 0x1234);
  EXPECT_EQ(guest->vcpu().shared().io.port, 0x80);
  EXPECT_EQ(guest->vcpu().shared().io.size, 2);
}

TEST_F(KvmTest, GivesWritesToADevicesMemoryToItsCaller) {
  const auto guest = Guest::create({0xc6, 0x06, 0x04, 0x00, 0x7b},  // mov byte [4], 123
                                   kDevice)
                         .value();
  EXPECT_EQ(run(*guest), std::uint32_t{KVM_EXIT_MMIO});
  const kvm_run& exit = guest->vcpu().shared();
  EXPECT_EQ(exit.mmio.phys_addr, kDevice + 4);
  EXPECT_EQ(exit.mmio.len, 1U);
  EXPECT_EQ(exit.mmio.data[0], 123);
  EXPECT_NE(exit.mmio.is_write, 0);
}

TEST_F(KvmTest, TakesWhatADevicesMemoryReadsAs) {
  const auto guest = Guest::create({0xa0, 0x00, 0x00,  // mov al, [0]
                                    0xe6, 0x80},       // out 0x80, al
                                   kDevice)
                         .value();
  EXPECT_EQ(run(*guest), std::uint32_t{KVM_EXIT_MMIO});
  guest->vcpu().shared().mmio.data[0] = 0x5a;
  EXPECT_EQ(next_out(*guest), 0x5a);
}

TEST_F(KvmTest, ImmediateExitEndsARunBeforeTheFirstInstruction) {
  const auto guest = Guest::create({0xeb, 0xfe}).value();  // jmp $
  guest->vcpu().shared().immediate_exit = 1;
  EXPECT_FALSE(guest->vcpu().run().value());
  EXPECT_EQ(guest->vcpu().regs().value().rip, kCode);
}

TEST_F(KvmTest, ATripleFaultIsAShutdown) {
  const auto guest = Guest::create({0x0f, 0x01, 0x1e, 0x00, 0x20,  // lidt [0x2000]: limit 0
                                    0x0f, 0x0b})                   // ud2
                         .value();
  EXPECT_EQ(run(*guest), std::uint32_t{KVM_EXIT_SHUTDOWN});
}

TEST_F(KvmTest, TheDirtyLogHasThePagesThatTheGuestWroteSinceItWasRead) {
  const auto guest = Guest::create({0xc6, 0x06, 0x00, 0x20, 0x01,  // mov byte [0x2000], 1
                                    0xe6, 0x80},                   // out 0x80, al
                                   0, true)
                         .value();
  (void)next_out(*guest);
  constexpr std::uint64_t kCodePage = 1U << (kCode / 4096);
  constexpr std::uint64_t kDataPage = 1U << (kData / 4096);
  const auto first = guest->vm().dirty_log(guest->slot()).value();
  ASSERT_EQ(first.size(), 1U);
  EXPECT_NE(first[0] & kDataPage, 0U);
  // KVM may count a page that it made writable when the guest read from it.
  EXPECT_EQ(first[0] & ~(kDataPage | kCodePage), 0U);
  EXPECT_EQ(guest->vm().dirty_log(guest->slot()).value()[0], 0U);
}

TEST_F(KvmTest, ANotificationOfItsOwnValueBecomesAnEventWithoutAnExit) {
  const Code code = {0x66, 0xc7, 0x06, 0x50, 0x00, 1, 0, 0, 0,   // mov dword [0x50], 1
                     0x66, 0xc7, 0x06, 0x50, 0x00, 2, 0, 0, 0};  // mov dword [0x50], 2
  const auto guest = Guest::create(code, kDevice).value();
  const sys::UniqueFd zero(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const sys::UniqueFd one(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  ASSERT_TRUE(guest->vm().bind_notify(zero.get(), kDevice + 0x50, 0).has_value());
  ASSERT_TRUE(guest->vm().bind_notify(one.get(), kDevice + 0x50, 1).has_value());
  // The second one is bound to nothing.
  EXPECT_EQ(run(*guest), std::uint32_t{KVM_EXIT_MMIO});
  EXPECT_EQ(guest->vcpu().shared().mmio.data[0], 2);
  EXPECT_FALSE(is_set(zero.get()));
  EXPECT_TRUE(is_set(one.get()));
}

TEST_F(KvmTest, AWriteToANotedAddressIsFoundLaterAndDoesNotEndTheRun) {
  const Code code = {0x66, 0xc7, 0x06, 0x64, 0x00, 3, 0, 0, 0,  // mov dword [0x64], 3
                     0x66, 0xc7, 0x06, 0x64, 0x00, 4, 0, 0, 0,  // mov dword [0x64], 4
                     0xe6, 0x80};                               // out 0x80, al
  const auto guest = Guest::create(code, kDevice).value();
  ASSERT_TRUE(guest->vm().note_writes(kDevice + 0x64, 4).has_value());
  KvmNotedWrites noted = guest->vcpu().noted_writes().value();
  EXPECT_FALSE(noted.oldest());
  (void)next_out(*guest);
  for (const int value : {3, 4}) {
    const auto write = noted.oldest();
    ASSERT_TRUE(write);
    EXPECT_EQ(write->gpa, kDevice + 0x64);
    EXPECT_EQ(write->size, 4U);
    EXPECT_EQ(write->data[0], std::byte(value));
    noted.forget_oldest();
  }
  EXPECT_FALSE(noted.oldest());
}

TEST_F(KvmTest, AFullListOfNotedWritesEndsTheRunWithTheNext) {
  const Code code = {0xb9, 0x00, 0x01,                          // mov cx, 256
                     0x66, 0xc7, 0x06, 0x64, 0x00, 3, 0, 0, 0,  // mov dword [0x64], 3
                     0xe2, 0xf5,                                // loop to it
                     0xe6, 0x80};                               // out 0x80, al
  const auto guest = Guest::create(code, kDevice).value();
  ASSERT_TRUE(guest->vm().note_writes(kDevice + 0x64, 4).has_value());
  KvmNotedWrites noted = guest->vcpu().noted_writes().value();
  EXPECT_EQ(run(*guest), std::uint32_t{KVM_EXIT_MMIO});
  std::size_t count = 0;
  for (; noted.oldest(); ++count) noted.forget_oldest();
  EXPECT_GT(count, 50U);  // some kernels use half of the page
  EXPECT_LT(count, 256U);
}

// Sets the interrupt controller up for vectors 0x20 and up, and halts.
Code halting_guest() {
  return {0xb0, 0x11, 0xe6, 0x20,   // mov al, 0x11; out 0x20, al: begin, edges, two chips
          0xb0, 0x20, 0xe6, 0x21,   // vectors
          0xb0, 0x04, 0xe6, 0x21,   // the second chip at line 2
          0xb0, 0x01, 0xe6, 0x21,   // 8086 mode
          0xb0, 0x00, 0xe6, 0x21,   // no line is masked
          0xe6, 0x80,               // out 0x80, al: ready
          0xfb, 0xf4, 0xeb, 0xfd};  // sti; again: hlt; jmp again
}

TEST_F(KvmTest, AnEventBecomesAnInterruptThatWakesAHaltedGuest) {
  const auto guest = Guest::create(halting_guest()).value();
  constexpr std::size_t kHandler = 0x3000;
  const Code handler = {0xb0, 0x77, 0xe6, 0x81, 0xcf};  // mov al, 0x77; out 0x81, al; iret
  std::memcpy(guest->ram() + kHandler, handler.data(), handler.size());
  const std::uint32_t vector = kHandler;
  std::memcpy(guest->ram() + 4 * 0x25, &vector, sizeof vector);
  const sys::UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  ASSERT_TRUE(guest->vm().bind_interrupt(event.get(), 5).has_value());
  (void)next_out(*guest);
  ASSERT_EQ(::eventfd_write(event.get(), 1), 0);
  EXPECT_EQ(next_out(*guest), 0x77);
  EXPECT_EQ(guest->vcpu().shared().io.port, 0x81);
}

// ---- saving

// Counts in ax, and tells.
Code counting_guest() {
  return {0xb8, 0x0a, 0x00,        // mov ax, 10
          0x40, 0xe7, 0x80,        // again: inc ax; out 0x80, ax
          0x89, 0x06, 0x00, 0x20,  // mov [0x2000], ax
          0xeb, 0xf7};             // jmp again
}

TEST_F(KvmTest, AnotherMachineGoesOnWhereOneWasSaved) {
  const auto guest = Guest::create(counting_guest()).value();
  EXPECT_EQ(next_out(*guest), 11);
  EXPECT_EQ(next_out(*guest), 12);
  // The access under way is completed first.
  guest->vcpu().shared().immediate_exit = 1;
  ASSERT_FALSE(guest->vcpu().run().value());
  const auto msrs = guest->kvm().saved_msrs().value();
  ByteWriter out;
  guest->vcpu().save(msrs).value().save(out);
  guest->vm().save().value().save(out);
  const auto bytes = out.take();

  const auto other = Guest::create({}).value();
  std::memcpy(other->ram(), guest->ram(), testing_guest::kRam);
  ByteReader in(bytes);
  const KvmVcpuState vcpu = KvmVcpuState::load(in).value();
  const KvmVmState vm = KvmVmState::load(in).value();
  EXPECT_TRUE(in.done());
  ASSERT_TRUE(other->vcpu().restore(vcpu).has_value());
  ASSERT_TRUE(other->vm().restore(vm).has_value());
  EXPECT_EQ(next_out(*other), 13);
  EXPECT_EQ(next_out(*other), 14);
  EXPECT_EQ(other->word(kData) & 0xffff, 13U);
  EXPECT_EQ(guest->word(kData) & 0xffff, 11U);
}

TEST_F(KvmTest, WhatIsRestoredIsWhatIsSavedAgain) {
  const auto guest = Guest::create(counting_guest()).value();
  EXPECT_EQ(next_out(*guest), 11);
  guest->vcpu().shared().immediate_exit = 1;
  ASSERT_FALSE(guest->vcpu().run().value());
  const auto state = guest->vcpu().save({}).value();
  const auto other = Guest::create({}).value();
  ASSERT_TRUE(other->vcpu().restore(state).has_value());
  const auto again = other->vcpu().save({}).value();
  EXPECT_EQ(std::memcmp(&again.regs, &state.regs, sizeof state.regs), 0);
  EXPECT_EQ(again.sregs.cs.base, state.sregs.cs.base);
  EXPECT_EQ(again.sregs.cr0, state.sregs.cr0);
  EXPECT_EQ(again.mp_state.mp_state, state.mp_state.mp_state);
  EXPECT_EQ(again.xcrs.nr_xcrs, state.xcrs.nr_xcrs);
  EXPECT_EQ(std::memcmp(&again.lapic, &state.lapic, 0x20), 0);
}

TEST_F(KvmTest, TheInterruptControllersKeepTheirMasksOverASave) {
  const auto guest = Guest::create(halting_guest()).value();
  (void)next_out(*guest);
  const auto state = guest->vm().save().value();
  EXPECT_EQ(state.pic_primary.chip.pic.irq_base, 0x20);
  const auto other = Guest::create({}).value();
  ASSERT_TRUE(other->vm().restore(state).has_value());
  EXPECT_EQ(other->vm().save().value().pic_primary.chip.pic.irq_base, 0x20);
}

TEST_F(KvmTest, RefusesStatesOfAnotherSizeOfExtendedRegisters) {
  const auto guest = Guest::create({0xf4}).value();
  auto state = guest->vcpu().save({}).value();
  state.xsave.pop_back();
  const auto restored = guest->vcpu().restore(state);
  ASSERT_FALSE(restored.has_value());
  EXPECT_EQ(restored.error().code(), Errc::kUnsupported);
}

TEST(KvmState, RefusesEverySavedVcpuThatIsCutOff) {
  KvmVcpuState state;
  state.cpuid.resize(3);
  state.msrs.resize(2);
  state.xsave.resize(64);
  state.tsc_khz = 1000;
  ByteWriter out;
  state.save(out);
  const auto bytes = out.take();
  ByteReader whole(bytes);
  EXPECT_EQ(KvmVcpuState::load(whole).value().tsc_khz, 1000U);
  EXPECT_TRUE(whole.done());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto part = std::span(bytes).first(length);
    ByteReader in(part);
    EXPECT_EQ(KvmVcpuState::load(in).error().code(), Errc::kCorrupt) << length;
  }
}

TEST(KvmState, RefusesEverySavedInterruptControllerThatIsCutOff) {
  ByteWriter out;
  KvmVmState{}.save(out);
  const auto bytes = out.take();
  for (std::size_t length = 0; length < bytes.size(); length += 7) {
    const auto part = std::span(bytes).first(length);
    ByteReader in(part);
    EXPECT_EQ(KvmVmState::load(in).error().code(), Errc::kCorrupt) << length;
  }
}

}  // namespace
}  // namespace mvm::vmm
