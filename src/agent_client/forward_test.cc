// SPDX-License-Identifier: Apache-2.0
#include "agent_client/forward.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <memory>

#include "agent_client/testing_guest.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::agent_client {
namespace {

using namespace testing_guest;
using wire::FrameType;

class Forward : public testing::Test {
 protected:
  void SetUp() override {
    sys::UniqueFd listener = sys::listen_tcp({"127.0.0.1", 0}).value();
    port_ = sys::bound_port(listener.get()).value();
    forwarder_ = std::make_unique<Forwarder>(*guest_.client, std::move(listener), "127.0.0.1:80");
    ASSERT_TRUE(forwarder_->start());
  }
  // A connection that the guest has been asked for.
  sys::UniqueFd connected() {
    const std::size_t before = guest_.count(FrameType::kOpen);
    sys::UniqueFd fd = sys::connect_tcp_start({"127.0.0.1", port_}).value();
    EXPECT_TRUE(guest_.until([&] { return guest_.count(FrameType::kOpen) > before; }));
    stream_ = guest_.seen.back().stream;
    return fd;
  }
  // Everything that comes until the end of the file.
  std::string rest(const sys::UniqueFd& fd) {
    std::string out;
    std::array<std::byte, 65536> chunk;
    bool over = false;
    EXPECT_TRUE(guest_.loop.add(fd.get(), EPOLLIN, [&](std::uint32_t) {
      const std::size_t n = sys::read_some(fd.get(), chunk).value_or(0);
      out += text_of(std::span(chunk).first(n));
      over = n == 0;
    }));
    EXPECT_TRUE(guest_.until([&] { return over; }));
    guest_.loop.remove(fd.get());
    return out;
  }

  Guest guest_;
  std::unique_ptr<Forwarder> forwarder_;
  std::uint16_t port_ = 0;
  std::uint32_t stream_ = 0;
};

TEST_F(Forward, AsksTheGuestForTheTarget) {
  const sys::UniqueFd fd = connected();
  const wire::Open open =
      wire::decode_open(bytes_of(guest_.find(FrameType::kOpen)->payload)).value();
  EXPECT_EQ(open.kind, wire::OpenKind::kConnect);
  EXPECT_EQ(open.file.path, "127.0.0.1:80");
}

TEST_F(Forward, RelaysBothWays) {
  const sys::UniqueFd fd = connected();
  ASSERT_TRUE(sys::write_full(fd.get(), "request"));
  ASSERT_TRUE(guest_.until([&] { return guest_.input == "request"; }));
  guest_.output(stream_, "answer");
  guest_.close(stream_);
  EXPECT_EQ(rest(fd), "answer");
}

TEST_F(Forward, KeepsTheOtherHalfOpenWhenTheHostIsDone) {
  const sys::UniqueFd fd = connected();
  ASSERT_TRUE(sys::write_full(fd.get(), "request"));
  ASSERT_EQ(::shutdown(fd.get(), SHUT_WR), 0);
  ASSERT_TRUE(guest_.until([&] { return guest_.count(FrameType::kEof) == 1; }));
  guest_.output(stream_, "late answer");
  guest_.close(stream_);
  EXPECT_EQ(rest(fd), "late answer");
}

TEST_F(Forward, KeepsTheOtherHalfOpenWhenTheGuestIsDone) {
  const sys::UniqueFd fd = connected();
  guest_.output(stream_, "bye");
  guest_.send(stream_, FrameType::kEof, wire::kStdout);
  EXPECT_EQ(rest(fd), "bye");
  ASSERT_TRUE(sys::write_full(fd.get(), "still here"));
  EXPECT_TRUE(guest_.until([&] { return guest_.input == "still here"; }));
}

TEST_F(Forward, EndsTheConnectionWhenTheGuestRefuses) {
  const sys::UniqueFd fd = connected();
  guest_.close(stream_, {wire::Outcome::kNotStarted, ECONNREFUSED, "connection refused"});
  EXPECT_EQ(rest(fd), "");
}

TEST_F(Forward, ServesSeveralConnectionsAtOnce) {
  const sys::UniqueFd first = connected();
  const std::uint32_t first_stream = stream_;
  const sys::UniqueFd second = connected();
  guest_.output(stream_, "two");
  guest_.close(stream_);
  guest_.output(first_stream, "one");
  guest_.close(first_stream);
  EXPECT_EQ(rest(second), "two");
  EXPECT_EQ(rest(first), "one");
}

TEST_F(Forward, HoldsBackAGuestWhoseOutputNobodyReads) {
  const sys::UniqueFd fd = connected();
  const std::string chunk(wire::kMaxDataChunk, 'x');
  std::size_t sent = 0;
  std::size_t granted = wire::kOutputWindow;
  guest_.on_frame = [&](const Seen& frame) {
    if (frame.type == FrameType::kCredit)
      granted += wire::decode_u32(bytes_of(frame.payload)).value();
  };
  // Until neither the socket nor the window takes more.
  const auto push = [&] {
    while (granted - sent >= chunk.size()) {
      guest_.output(stream_, chunk);
      sent += chunk.size();
    }
    return !guest_.loop.run_once(Deadline::after(Millis(50), "a grant")).has_value();
  };
  const Deadline patience = Deadline::after(Millis(10'000), "the end of grants");
  while (!push() && !patience.passed()) {
  }
  EXPECT_FALSE(patience.passed());
  guest_.close(stream_);
  EXPECT_EQ(rest(fd).size(), sent);
}

TEST_F(Forward, MayGoWhileAConnectionIsEnding) {
  const sys::UniqueFd fd = connected();
  guest_.close(stream_);
  ASSERT_TRUE(guest_.until([&] { return guest_.client->streams().empty(); }));
  forwarder_.reset();
  EXPECT_FALSE(guest_.loop.run_once(Deadline::after(Millis(5), "nothing")).has_value());
}

}  // namespace
}  // namespace mvm::agent_client
