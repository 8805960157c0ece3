// SPDX-License-Identifier: Apache-2.0
#include "sys/event_loop.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <vector>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::sys {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class EventLoopTest : public testing::Test {
 protected:
  EventLoop loop_ = EventLoop::create().value();
  Pipe pipe_ = make_pipe().value();
  Pipe other_ = make_pipe().value();

  Deadline soon() { return Deadline::after(Millis(10'000), "the awaited event"); }
  void poke(const Pipe& pipe) { EXPECT_TRUE(write_full(pipe.write_end.get(), "x")); }
  void take(const Pipe& pipe) {
    std::byte one;
    EXPECT_TRUE(read_some(pipe.read_end.get(), std::span(&one, 1)));
  }
  // Handles what is ready now, in one batch, without waiting.
  void once() { (void)loop_.run_once(Deadline::after(Millis(0), "nothing")); }
};

TEST_F(EventLoopTest, CallsBackWhenADescriptorIsReady) {
  std::uint32_t seen = 0;
  ASSERT_TRUE(
      loop_.add(pipe_.read_end.get(), EPOLLIN, [&](std::uint32_t events) { seen = events; }));
  poke(pipe_);
  ASSERT_TRUE(loop_.run_once(soon()));
  EXPECT_EQ(seen, static_cast<std::uint32_t>(EPOLLIN));
}

TEST_F(EventLoopTest, CallsBackAsLongAsADescriptorIsReady) {
  int calls = 0;
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++calls; }));
  poke(pipe_);
  once();
  once();
  take(pipe_);
  once();
  EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, RefusesADescriptorTwiceAndARegularFile) {
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [](std::uint32_t) {}));
  EXPECT_EQ(loop_.add(pipe_.read_end.get(), EPOLLIN, [](std::uint32_t) {}).error().errnum(),
            EEXIST);
  const UniqueFd file = memory_file("file", "x").value();
  EXPECT_EQ(loop_.add(file.get(), EPOLLIN, [](std::uint32_t) {}).error().errnum(), EPERM);
}

TEST_F(EventLoopTest, RefusesToModifyWhatItDoesNotWatch) {
  EXPECT_EQ(loop_.modify(pipe_.read_end.get(), EPOLLIN).error().code(), Errc::kNotFound);
}

TEST_F(EventLoopTest, FallsSilentWhenModifiedToNothing) {
  int calls = 0;
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++calls; }));
  poke(pipe_);
  ASSERT_TRUE(loop_.modify(pipe_.read_end.get(), 0));
  once();
  EXPECT_EQ(calls, 0);
  ASSERT_TRUE(loop_.modify(pipe_.read_end.get(), EPOLLIN));
  once();
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, TellsAHangUpEvenWhenSilent) {
  std::uint32_t seen = 0;
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), 0, [&](std::uint32_t events) { seen = events; }));
  pipe_.write_end.reset();
  ASSERT_TRUE(loop_.run_once(soon()));
  EXPECT_EQ(seen, static_cast<std::uint32_t>(EPOLLHUP));
}

TEST_F(EventLoopTest, LetsACallbackRemoveItself) {
  int calls = 0;
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [&](std::uint32_t) {
    loop_.remove(pipe_.read_end.get());
    ++calls;  // the captures must still be there
  }));
  poke(pipe_);
  once();
  once();
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, DoesNotCallWhatAnotherCallbackOfTheSameBatchRemoved) {
  int calls = 0;
  const auto remove_both = [&](std::uint32_t) {
    loop_.remove(pipe_.read_end.get());
    loop_.remove(other_.read_end.get());
    ++calls;
  };
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, remove_both));
  ASSERT_TRUE(loop_.add(other_.read_end.get(), EPOLLIN, remove_both));
  poke(pipe_);
  poke(other_);
  once();
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, DropsTheEventOfADescriptorWhoseNumberWasReusedInTheSameBatch) {
  int stale = 0;
  int replaced = 0;
  // Whichever comes first closes the other and opens an idle pipe end under the same number.
  const auto replace = [&](Pipe& victim) {
    const int number = victim.read_end.get();
    loop_.remove(number);
    Pipe idle = make_pipe().value();
    victim.read_end.reset();
    victim.read_end.reset(::fcntl(idle.read_end.get(), F_DUPFD_CLOEXEC, number));
    victim.write_end = std::move(idle.write_end);
    EXPECT_EQ(victim.read_end.get(), number);
    ASSERT_TRUE(loop_.add(number, EPOLLIN, [&](std::uint32_t) { ++stale; }));
    ++replaced;
  };
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [&](std::uint32_t) { replace(other_); }));
  ASSERT_TRUE(loop_.add(other_.read_end.get(), EPOLLIN, [&](std::uint32_t) { replace(pipe_); }));
  poke(pipe_);
  poke(other_);
  once();
  EXPECT_EQ(replaced, 1);
  EXPECT_EQ(stale, 0);
}

TEST_F(EventLoopTest, LetsACallbackAddAnother) {
  int calls = 0;
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [&](std::uint32_t) {
    loop_.remove(pipe_.read_end.get());
    ASSERT_TRUE(loop_.add(other_.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++calls; }));
  }));
  poke(pipe_);
  poke(other_);
  once();
  once();
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, RunsTimersInTheOrderOfTheirTimes) {
  std::vector<int> order;
  loop_.after(Millis(20), [&] {
    order.push_back(20);
    loop_.stop();
  });
  loop_.after(Millis(1), [&] { order.push_back(1); });
  loop_.after(Millis(10), [&] { order.push_back(10); });
  ASSERT_TRUE(loop_.run());
  EXPECT_THAT(order, ElementsAre(1, 10, 20));
}

TEST_F(EventLoopTest, RunsTimersOfOneTimeInTheOrderOfTheirMaking) {
  std::vector<int> order;
  loop_.after(Millis(0), [&] { order.push_back(1); });
  loop_.after(Millis(0), [&] { order.push_back(2); });
  once();
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST_F(EventLoopTest, ForgetsACancelledTimer) {
  int calls = 0;
  const auto first = loop_.after(Millis(0), [&] { ++calls; });
  loop_.cancel(first);
  loop_.cancel(first);
  once();
  EXPECT_EQ(calls, 0);
}

TEST_F(EventLoopTest, LetsATimerCancelAnotherOfTheSameMoment) {
  int calls = 0;
  EventLoop::TimerId second = 0;
  loop_.after(Millis(0), [&] { loop_.cancel(second); });
  second = loop_.after(Millis(0), [&] { ++calls; });
  once();
  EXPECT_EQ(calls, 0);
}

TEST_F(EventLoopTest, LetsATimerSetItselfAgain) {
  int calls = 0;
  std::function<void()> again = [&] {
    if (++calls == 3) return loop_.stop();
    loop_.after(Millis(1), again);
  };
  again();
  ASSERT_TRUE(loop_.run());
  EXPECT_EQ(calls, 3);
}

TEST_F(EventLoopTest, EndsWaitingAtTheDeadlineAndNamesIt) {
  const Error error = loop_.run_once(Deadline::after(Millis(5), "an event")).error();
  EXPECT_EQ(error.code(), Errc::kTimeout);
  EXPECT_THAT(error.text(), HasSubstr("an event"));
}

TEST_F(EventLoopTest, EndsWaitingAtTheDeadlineUnderAnEndlessFloodOfEvents) {
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [](std::uint32_t) {}));
  poke(pipe_);
  const Deadline deadline = Deadline::after(Millis(20), "calm");
  const Deadline patience = soon();
  Result<> last;
  while (last && !patience.passed()) last = loop_.run_once(deadline);
  ASSERT_FALSE(last.has_value());
  EXPECT_EQ(last.error().code(), Errc::kTimeout);
}

TEST_F(EventLoopTest, StopsAfterTheCallbackThatSaysSo) {
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, [&](std::uint32_t) { loop_.stop(); }));
  poke(pipe_);
  ASSERT_TRUE(loop_.run());
  EXPECT_TRUE(loop_.stopped());
}

}  // namespace
}  // namespace mvm::sys
