// SPDX-License-Identifier: Apache-2.0
#include "wire/link.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/epoll.h>

#include <memory>
#include <thread>

#include "sys/io.h"
#include "sys/random.h"
#include "sys/sha256.h"
#include "sys/socket.h"

namespace mvm::wire {
namespace {

using testing::HasSubstr;

constexpr std::size_t kChunk = 60'000;

// One end of a link that counts what it is told.
struct End {
  std::unique_ptr<Link> link;
  std::size_t frames = 0;
  std::uint64_t bytes = 0;
  sys::Sha256 digest;
  int closed = 0;
  int writable = 0;
  std::optional<Error> why;
  std::function<Result<>(const Frame&)> answer;

  void attach(sys::EventLoop& loop, sys::UniqueFd fd) {
    link = std::make_unique<Link>(loop, std::move(fd),
                                  Link::Handlers{[this](const Frame& frame) { return take(frame); },
                                                 [this](std::optional<Error> error) {
                                                   ++closed;
                                                   why = std::move(error);
                                                 },
                                                 [this] { ++writable; }});
    EXPECT_TRUE(link->start());
  }
  Result<> take(const Frame& frame) {
    ++frames;
    bytes += frame.payload.size();
    digest.update(frame.payload);
    return answer ? answer(frame) : Result<>();
  }
};

class LinkTest : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    a_.attach(loop_, std::move(pair_.first));
  }
  void attach_b() { b_.attach(loop_, std::move(pair_.second)); }
  template <class Condition>
  bool until(Condition condition) {
    const Deadline deadline = Deadline::after(Millis(20'000), "the condition");
    while (!condition()) {
      if (!loop_.run_once(deadline)) return false;
    }
    return true;
  }

  sys::EventLoop loop_ = sys::EventLoop::create().value();
  sys::SocketPair pair_ = sys::make_socket_pair().value();
  End a_;
  End b_;
};

TEST_F(LinkTest, CarriesFramesBothWaysUnchanged) {
  attach_b();
  Frame seen;
  std::string text;
  b_.answer = [&](const Frame& frame) -> Result<> {
    seen = frame;
    text.assign(reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size());
    b_.link->send(frame.stream, FrameType::kEof, frame.channel, {});
    return {};
  };
  a_.link->send(42, FrameType::kData, 2, std::as_bytes(std::span(std::string_view("hello"))));
  ASSERT_TRUE(until([&] { return a_.frames == 1; }));
  EXPECT_EQ(seen.stream, 42U);
  EXPECT_EQ(seen.type, FrameType::kData);
  EXPECT_EQ(seen.channel, 2);
  EXPECT_EQ(text, "hello");
}

TEST_F(LinkTest, CarriesManyMegabytesInOrder) {
  attach_b();
  sys::Sha256 sent;
  for (int i = 0; i < 500; ++i) {
    const auto chunk = sys::random_bytes(kChunk);
    sent.update(chunk);
    a_.link->send(1, FrameType::kData, 0, chunk);
  }
  ASSERT_TRUE(until([&] { return b_.bytes == 500 * kChunk; }));
  EXPECT_EQ(b_.digest.finish(), sent.finish());
  EXPECT_EQ(a_.link->queued(), 0U);
}

TEST_F(LinkTest, CarriesASmallFrameAsFastAsALargeOne) {
  attach_b();
  for (int i = 0; i < 100'000; ++i) a_.link->send(1, FrameType::kEof, 1, {});
  EXPECT_TRUE(until([&] { return b_.frames == 100'000; }));
}

TEST_F(LinkTest, IsCongestedUntilThePeerReadsAndThenSaysSoOnce) {
  const std::vector<std::byte> chunk(kChunk);
  while (!a_.link->congested()) a_.link->send(1, FrameType::kData, 0, chunk);
  EXPECT_EQ(a_.writable, 0);
  attach_b();
  ASSERT_TRUE(until([&] { return a_.link->queued() == 0; }));
  EXPECT_FALSE(a_.link->congested());
  EXPECT_EQ(a_.writable, 1);
}

TEST_F(LinkTest, NeverBlocksOnAPeerThatDoesNotRead) {
  const std::vector<std::byte> chunk(kChunk);
  for (int i = 0; i < 100; ++i) a_.link->send(1, FrameType::kData, 0, chunk);
  EXPECT_GT(a_.link->queued(), 50 * kChunk);
}

TEST_F(LinkTest, SendsWhatItReadsFromADescriptor) {
  attach_b();
  const sys::UniqueFd file = sys::memory_file("m", "from a file").value();
  EXPECT_EQ(a_.link->send_from(file.get(), 1, 1, kMaxDataChunk).value(), 11U);
  EXPECT_EQ(a_.link->send_from(file.get(), 1, 1, kMaxDataChunk).value(), 0U);
  ASSERT_TRUE(until([&] { return b_.frames == 1; }));
  EXPECT_EQ(b_.digest.finish(), sys::sha256_hex("from a file"));
}

TEST_F(LinkTest, SendsNothingWhenADescriptorHasNothing) {
  attach_b();
  const sys::Pipe pipe = sys::make_pipe().value();
  ASSERT_TRUE(sys::set_nonblocking(pipe.read_end.get(), true));
  EXPECT_EQ(a_.link->send_from(pipe.read_end.get(), 1, 1, 100).error().errnum(), EAGAIN);
  EXPECT_EQ(a_.link->queued(), 0U);
  a_.link->send(1, FrameType::kEof, 1, {});
  ASSERT_TRUE(until([&] { return b_.frames == 1; }));
}

// A pipe whose writer never waits for the reader, as a process would fill it.
class PipeTest : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    ASSERT_TRUE(sys::set_nonblocking(pipe_.read_end.get(), true));
    ::fcntl(pipe_.read_end.get(), F_SETPIPE_SZ, 256 * 1024);
  }
  void put(std::span<const std::byte> bytes) {
    sent_.update(bytes);
    ASSERT_TRUE(sys::write_full(pipe_.write_end.get(), bytes));
  }
  // All that the pipe holds; stops when the link takes no more.
  std::size_t pump() {
    std::size_t moved = 0;
    while (!a_.link->congested()) {
      const auto n = a_.link->send_from(pipe_.read_end.get(), 1, kStdout, kMaxDataChunk);
      if (!n || *n == 0) break;
      moved += *n;
    }
    return moved;
  }

  sys::Pipe pipe_ = sys::make_pipe().value();
  sys::Sha256 sent_;
};

TEST_F(PipeTest, MovesWhatAProcessHasWrittenInOrderWithOtherFrames) {
  attach_b();
  std::size_t total = 0;
  for (const std::size_t size :
       std::initializer_list<std::size_t>{200'000, 5'000, 8'192, 65'537, 1, 250'000, 12'345}) {
    put(sys::random_bytes(size));
    total += size;
    for (std::size_t moved = 0; moved < size;) {
      moved += pump();
      ASSERT_TRUE(until([&] { return a_.link->queued() == 0; }));
    }
    const auto small = sys::random_bytes(100);
    sent_.update(small);
    total += small.size();
    a_.link->send(1, FrameType::kData, kStdout, small);
  }
  ASSERT_TRUE(until([&] { return b_.bytes == total; }));
  EXPECT_EQ(b_.digest.finish(), sent_.finish());
}

TEST_F(PipeTest, LosesNothingWhenThePeerReadsLate) {
  std::size_t moved = 0;
  std::size_t total = 0;
  while (!a_.link->congested()) {
    put(sys::random_bytes(100'000));
    total += 100'000;
    moved += pump();
  }
  EXPECT_EQ(pump(), 0U);
  const auto last = sys::random_bytes(10);
  a_.link->send(2, FrameType::kData, kStdout, last);
  attach_b();
  ASSERT_TRUE(until([&] {
    if (!a_.link->congested()) moved += pump();
    return b_.bytes == total + last.size();
  }));
  EXPECT_EQ(moved, total);
  EXPECT_GE(a_.writable, 1);
}

TEST_F(PipeTest, KeepsEveryByteOfAWriterThatNeverStops) {
  attach_b();
  constexpr std::size_t kTotal = 64 << 20;
  const auto pattern = [](std::size_t at) {
    return static_cast<std::byte>((at * 2654435761U) >> 24);
  };
  std::size_t at = 0;
  std::size_t wrong = 0;
  b_.answer = [&](const Frame& frame) -> Result<> {
    for (const std::byte byte : frame.payload) {
      if (byte != pattern(at) && wrong++ == 0) ADD_FAILURE() << "first wrong byte at " << at;
      ++at;
    }
    return {};
  };
  std::thread writer([&] {
    std::vector<std::byte> block(100'003);
    for (std::size_t done = 0; done < kTotal; done += block.size()) {
      for (std::size_t i = 0; i < block.size(); ++i) block[i] = pattern(done + i);
      if (!sys::write_full(pipe_.write_end.get(), block)) break;
    }
    pipe_.write_end.reset();
  });
  const auto on_data = [&](std::uint32_t) { pump(); };
  ASSERT_TRUE(loop_.add(pipe_.read_end.get(), EPOLLIN, on_data));
  const bool arrived = until([&] { return at >= kTotal; });
  loop_.remove(pipe_.read_end.get());
  pipe_.read_end.reset();
  writer.join();
  EXPECT_TRUE(arrived);
  EXPECT_EQ(wrong, 0U);
}

TEST_F(PipeTest, TakesAPipeWithMorePiecesThanItsOwnHasPages) {
  attach_b();
  pipe_ = sys::make_pipe().value();
  ASSERT_TRUE(sys::set_nonblocking(pipe_.read_end.get(), true));
  // One piece per write, and a thousand of them.
  ASSERT_EQ(::fcntl(pipe_.write_end.get(), F_SETFL, O_DIRECT), 0);
  if (::fcntl(pipe_.read_end.get(), F_SETPIPE_SZ, 1 << 20) < 0) GTEST_SKIP() << "pipe size limit";
  for (int i = 0; i < 250; ++i) put(sys::random_bytes(200));
  std::size_t moved = 0;
  ASSERT_TRUE(until([&] {
    moved += pump();
    return b_.bytes == 50'000;
  }));
  EXPECT_EQ(moved, 50'000U);
  EXPECT_EQ(b_.digest.finish(), sent_.finish());
}

TEST_F(LinkTest, TellsAnOrderlyEndOnceAndWithoutAnError) {
  attach_b();
  b_.link.reset();
  ASSERT_TRUE(until([&] { return a_.closed > 0; }));
  EXPECT_EQ(a_.closed, 1);
  EXPECT_FALSE(a_.why.has_value());
  EXPECT_FALSE(a_.link->open());
}

TEST_F(LinkTest, DeliversWhatCameBeforeTheEnd) {
  attach_b();
  for (int i = 0; i < 50; ++i) b_.link->send(1, FrameType::kData, 1, std::vector<std::byte>(1000));
  ASSERT_TRUE(until([&] { return b_.link->queued() == 0; }));
  b_.link->close(std::nullopt);
  ASSERT_TRUE(until([&] { return a_.closed > 0; }));
  EXPECT_EQ(a_.frames, 50U);
}

TEST_F(LinkTest, DropsWhatIsSentAfterTheEnd) {
  attach_b();
  a_.link->close(Error(Errc::kCancelled, "enough"));
  a_.link->send(1, FrameType::kEof, 0, {});
  a_.link->close(std::nullopt);
  EXPECT_EQ(a_.closed, 1);
  EXPECT_EQ(a_.why->text(), "enough");
  EXPECT_EQ(a_.link->queued(), 0U);
}

TEST_F(LinkTest, EndsOnGarbageWithAGuestFault) {
  ASSERT_TRUE(sys::write_full(pair_.second.get(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  ASSERT_TRUE(until([&] { return a_.closed > 0; }));
  EXPECT_EQ(a_.why->code(), Errc::kGuestFault);
  EXPECT_THAT(a_.why->text(), HasSubstr("agent protocol"));
  EXPECT_EQ(a_.frames, 0U);
}

TEST_F(LinkTest, EndsWithTheErrorOfItsOwnersHandler) {
  attach_b();
  b_.answer = [](const Frame&) -> Result<> { return Error(Errc::kGuestFault, "not now"); };
  a_.link->send(1, FrameType::kEof, 0, {});
  a_.link->send(1, FrameType::kEof, 0, {});
  ASSERT_TRUE(until([&] { return b_.closed > 0; }));
  EXPECT_EQ(b_.why->text(), "not now");
  EXPECT_EQ(b_.frames, 1U);
}

TEST_F(LinkTest, MayBeClosedInsideItsOwnHandler) {
  attach_b();
  b_.answer = [&](const Frame&) -> Result<> {
    b_.link->close(std::nullopt);
    return {};
  };
  for (int i = 0; i < 3; ++i) a_.link->send(1, FrameType::kEof, 0, {});
  ASSERT_TRUE(until([&] { return b_.closed > 0; }));
  EXPECT_EQ(b_.frames, 1U);
}

TEST_F(LinkTest, EndsWhenThePeerIsGoneWhileWriting) {
  pair_.second.reset();
  const std::vector<std::byte> chunk(kChunk);
  a_.link->send(1, FrameType::kData, 0, chunk);
  ASSERT_TRUE(until([&] { return a_.closed > 0; }));
  EXPECT_EQ(a_.closed, 1);
  EXPECT_FALSE(a_.link->open());
}

TEST_F(LinkTest, SharesTheLoopFairlyWithABusyPeer) {
  attach_b();
  // A flood on one link; a word on the other must come through while it lasts.
  sys::SocketPair calm = sys::make_socket_pair().value();
  End quiet;
  quiet.attach(loop_, std::move(calm.first));
  End speaker;
  speaker.attach(loop_, std::move(calm.second));
  for (int i = 0; i < 1000; ++i)
    a_.link->send(1, FrameType::kData, 0, std::vector<std::byte>(kChunk));
  speaker.link->send(1, FrameType::kEof, 0, {});
  ASSERT_TRUE(until([&] { return quiet.frames == 1; }));
  EXPECT_LT(b_.frames, 1000U);
}

}  // namespace
}  // namespace mvm::wire
