// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/io_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace mvm::vmm {
namespace {

class IoThreadTest : public ::testing::Test {
 protected:
  // Turns the loop, which also waits for what other threads post, until `done`.
  void turn_until(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::after(Millis(20'000), "the test");
    while (!done()) ASSERT_TRUE(loop.run_once(deadline).has_value());
  }
  sys::EventLoop loop = sys::EventLoop::create().value();
  std::unique_ptr<IoThread> io = IoThread::create(loop).value();
};

TEST_F(IoThreadTest, RunsAtOnceWhatIsRunOnItself) {
  bool ran = false;
  io->run([&] { ran = true; });
  EXPECT_TRUE(ran);
}

TEST_F(IoThreadTest, RunsPostedWorkLaterAndInItsOrder) {
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) io->post([&order, i] { order.push_back(i); });
  EXPECT_TRUE(order.empty());
  turn_until([&] { return order.size() == 3; });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST_F(IoThreadTest, WorkThatIsPostedByPostedWorkWaitsForTheNextTurn) {
  int ran = 0;
  std::function<void()> again = [&] {
    if (++ran < 3) io->post(again);
  };
  io->post(again);
  ASSERT_TRUE(loop.run_once(Deadline::none()).has_value());
  EXPECT_EQ(ran, 1);
  turn_until([&] { return ran == 3; });
}

TEST_F(IoThreadTest, RunFromAnotherThreadWaitsForItsEnd) {
  std::thread::id where;
  std::atomic<bool> returned = false;
  std::thread other([&] {
    io->run([&] {
      where = std::this_thread::get_id();
      EXPECT_FALSE(returned);
    });
    returned = true;
    io->wake();
  });
  turn_until([&] { return returned.load(); });
  other.join();
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST_F(IoThreadTest, EveryThreadsWorkIsDoneInTheOrderOfThatThread) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 200;
  std::array<int, kThreads> seen{};
  std::atomic<int> ended = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        const auto check = [&seen, t, round] { EXPECT_EQ(seen[t]++, round); };
        round % 2 == 0 ? io->post(check) : io->run(check);
      }
      ++ended;
      io->wake();
    });
  }
  turn_until([&] { return ended == kThreads; });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(seen, (std::array<int, kThreads>{kRounds, kRounds, kRounds, kRounds}));
}

TEST_F(IoThreadTest, WaitingDoesWhatOthersRunMeanwhile) {
  std::atomic<bool> ended = false;
  int ran = 0;
  std::thread other([&] {
    io->run([&] { ++ran; });
    ended = true;
    io->wake();
  });
  io->wait_until([&] { return ended.load(); });
  other.join();
  EXPECT_EQ(ran, 1);
}

TEST_F(IoThreadTest, WaitingDoesNotTurnTheLoop) {
  bool timer = false;
  loop.after(Millis(0), [&] { timer = true; });
  int posts = 0;
  std::thread other([&] {
    io->run([&] { ++posts; });
    io->run([&] { ++posts; });
  });
  io->wait_until([&] { return posts == 2; });
  other.join();
  EXPECT_FALSE(timer);
}

// A vcpu that waits in run() behind work that itself waits for that vcpu.
TEST_F(IoThreadTest, WorkThatWaitsDoesWhatWasPostedBehindIt) {
  bool behind = false;
  bool waited = false;
  io->post([&] {
    io->wait_until([&] { return behind; });
    waited = true;
  });
  io->post([&] { behind = true; });
  turn_until([&] { return waited; });
  EXPECT_TRUE(behind);
}

// So that nothing that a thread has posted comes after what it worked for is gone.
TEST_F(IoThreadTest, WhatWasPostedBeforeTheEndOfTheWaitHasBeenDone) {
  bool ran = false;
  io->post([&] { ran = true; });
  io->wait_until([] { return true; });
  EXPECT_TRUE(ran);
}

TEST_F(IoThreadTest, WorkThatIsLeftAtTheEndIsDroppedWithoutBeingRun) {
  const auto held = std::make_shared<int>(1);
  bool ran = false;
  io->post([&ran, held] { ran = true; });
  io.reset();
  EXPECT_FALSE(ran);
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(IoThreadTest, WorkThatIsDoneDoesNotOutliveItsTurn) {
  const auto held = std::make_shared<int>(1);
  io->post([held] {});
  ASSERT_TRUE(loop.run_once(Deadline::none()).has_value());
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace mvm::vmm
