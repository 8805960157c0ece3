// SPDX-License-Identifier: Apache-2.0
#include "agent_client/session.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent_client/testing_guest.h"
#include "sys/io.h"

namespace mvm::agent_client {
namespace {

using namespace testing_guest;
using testing::HasSubstr;
using wire::FrameType;

class SessionTest : public testing::Test {
 protected:
  Guest guest_;
  sys::Pipe out_ = sys::make_pipe().value();
  sys::Pipe err_ = sys::make_pipe().value();

  // The guest answers the opening frame with this.
  void on_open(std::function<void(std::uint32_t stream)> answer) {
    guest_.on_frame = [answer = std::move(answer)](const Seen& frame) {
      if (frame.type == FrameType::kOpen) answer(frame.stream);
    };
  }
  void on_eof(std::function<void(std::uint32_t stream)> answer) {
    guest_.on_frame = [answer = std::move(answer)](const Seen& frame) {
      if (frame.type == FrameType::kEof) answer(frame.stream);
    };
  }
  // The guest takes input like a program that reads everything and ends.
  void act_as_reader() {
    guest_.on_frame = [this](const Seen& frame) {
      if (frame.type == FrameType::kData)
        guest_.credit(frame.stream, wire::kStdin, static_cast<std::uint32_t>(frame.payload.size()));
      if (frame.type == FrameType::kEof) guest_.close(frame.stream);
    };
  }
  std::string rest(sys::Pipe& pipe) {
    pipe.write_end.reset();
    return sys::read_fd(pipe.read_end.get()).value();
  }
};

TEST_F(SessionTest, PassesOutputAndErrorsOnAndReturnsTheEnd) {
  on_open([&](std::uint32_t stream) {
    guest_.output(stream, "out");
    guest_.errors(stream, "err");
    guest_.close(stream, {wire::Outcome::kExited, 42, ""});
  });
  const auto closed =
      run_session(*guest_.client, exec({"x"}),
                  {-1, out_.write_end.get(), err_.write_end.get(), nullptr, nullptr})
          .value();
  EXPECT_EQ(closed.code, 42);
  EXPECT_EQ(rest(out_), "out");
  EXPECT_EQ(rest(err_), "err");
}

TEST_F(SessionTest, GivesAnEmptyInputWithoutADescriptor) {
  on_eof([&](std::uint32_t stream) { guest_.close(stream); });
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {}));
  EXPECT_EQ(guest_.input, "");
  EXPECT_EQ(guest_.count(FrameType::kEof), 1U);
}

TEST_F(SessionTest, SendsAFileLargerThanTheWindow) {
  const std::string text(3 * wire::kInputWindow + 5, 'f');
  const sys::UniqueFd file = sys::memory_file("input", text).value();
  act_as_reader();
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {file.get(), -1, -1, nullptr, nullptr}));
  EXPECT_TRUE(guest_.input == text);
  EXPECT_EQ(guest_.count(FrameType::kEof), 1U);
}

TEST_F(SessionTest, SendsAnEmptyFile) {
  const sys::UniqueFd file = sys::memory_file("input", "").value();
  act_as_reader();
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {file.get(), -1, -1, nullptr, nullptr}));
  EXPECT_EQ(guest_.input, "");
}

TEST_F(SessionTest, SendsAPipeUntilItsEnd) {
  sys::Pipe in = sys::make_pipe().value();
  ASSERT_TRUE(sys::write_full(in.write_end.get(), "from a pipe"));
  in.write_end.reset();
  act_as_reader();
  ASSERT_TRUE(
      run_session(*guest_.client, exec({"x"}), {in.read_end.get(), -1, -1, nullptr, nullptr}));
  EXPECT_EQ(guest_.input, "from a pipe");
}

TEST_F(SessionTest, ReadsADeviceThatEpollRefuses) {
  const sys::UniqueFd null = sys::open_file("/dev/null", O_RDONLY).value();
  act_as_reader();
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {null.get(), -1, -1, nullptr, nullptr}));
  EXPECT_EQ(guest_.count(FrameType::kEof), 1U);
}

TEST_F(SessionTest, StopsReadingInputWithoutCredit) {
  const sys::UniqueFd zeros = sys::open_file("/dev/zero", O_RDONLY).value();
  guest_.on_frame = [this](const Seen& frame) {
    if (guest_.input.size() == wire::kInputWindow) guest_.close(frame.stream);
  };
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {zeros.get(), -1, -1, nullptr, nullptr}));
  EXPECT_EQ(guest_.input.size(), wire::kInputWindow);
}

TEST_F(SessionTest, EndsWhileItsInputIsStillOpen) {
  const sys::Pipe in = sys::make_pipe().value();
  on_open([&](std::uint32_t stream) { guest_.close(stream, {wire::Outcome::kSignalled, 9, ""}); });
  const auto closed =
      run_session(*guest_.client, exec({"x"}), {in.read_end.get(), -1, -1, nullptr, nullptr})
          .value();
  EXPECT_EQ(closed.outcome, wire::Outcome::kSignalled);
}

TEST_F(SessionTest, CancelsWhenNobodyReadsItsOutput) {
  out_.read_end.reset();
  on_open([&](std::uint32_t stream) { guest_.output(stream, "unheard"); });
  auto answer = std::move(guest_.on_frame);
  guest_.on_frame = [&](const Seen& frame) {
    answer(frame);
    if (frame.type == FrameType::kCancel)
      guest_.close(frame.stream, {wire::Outcome::kCancelled, 0, ""});
  };
  const auto closed =
      run_session(*guest_.client, exec({"yes"}), {-1, out_.write_end.get(), -1, nullptr, nullptr});
  ASSERT_TRUE(closed.has_value());
  EXPECT_EQ(closed->outcome, wire::Outcome::kSignalled);
  EXPECT_EQ(closed->code, SIGPIPE);
}

TEST_F(SessionTest, ReportsOutputThatCannotBeWritten) {
  const sys::UniqueFd full = sys::open_file("/dev/full", O_WRONLY).value();
  on_open([&](std::uint32_t stream) { guest_.output(stream, "lost"); });
  const Error error =
      run_session(*guest_.client, exec({"x"}), {-1, full.get(), -1, nullptr, nullptr}).error();
  EXPECT_EQ(error.code(), Errc::kNoSpace);
  EXPECT_THAT(error.text(), HasSubstr("writing output"));
}

TEST_F(SessionTest, CollectsErrorTextUpToItsLimit) {
  std::string words;
  on_open([&](std::uint32_t stream) {
    for (int i = 0; i < 300; ++i) guest_.errors(stream, std::string(wire::kMaxDataChunk, 'a'));
    guest_.close(stream);
  });
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {-1, -1, -1, nullptr, &words}));
  EXPECT_EQ(words.size(), kMostText);
}

TEST_F(SessionTest, GivesUpOnAGuestThatDoesNotAnswer) {
  SessionOptions options;
  options.give_up = Millis(20);
  const Error error = run_session(*guest_.client, exec({"x"}), {}, options).error();
  EXPECT_EQ(error.code(), Errc::kTimeout);
}

TEST_F(SessionTest, GivesUpOnAGuestThatAnswersWithAFlood) {
  const std::string chunk(wire::kMaxDataChunk, 'x');
  std::uint32_t open_stream = 0;
  // Every grant is answered with as much output: there is always something to do.
  guest_.on_frame = [&](const Seen& frame) {
    open_stream = frame.stream;
    if (frame.type == FrameType::kOpen || frame.type == FrameType::kCredit) {
      guest_.output(open_stream, chunk);
      guest_.output(open_stream, chunk);
    }
  };
  SessionOptions options;
  options.give_up = Millis(50);
  EXPECT_EQ(run_session(*guest_.client, exec({"yes"}), {}, options).error().code(), Errc::kTimeout);
}

TEST_F(SessionTest, TellsThePidAndTheProgress) {
  std::uint32_t pid = 0;
  std::uint64_t moved = 0;
  SessionOptions options;
  options.on_started = [&](std::uint32_t p) { pid = p; };
  options.on_progress = [&](std::uint64_t bytes) { moved = bytes; };
  on_open([&](std::uint32_t stream) {
    guest_.send(stream, FrameType::kStarted, 0, std::string("\x07\0\0\0", 4));
    guest_.output(stream, "12345");
    guest_.close(stream);
  });
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {}, options));
  EXPECT_EQ(pid, 7U);
  EXPECT_EQ(moved, 5U);
}

TEST_F(SessionTest, ForwardsSignalsOfOurs) {
  SessionOptions options;
  options.forward_signals = true;
  guest_.on_frame = [&](const Seen& frame) {
    if (frame.type == FrameType::kOpen) ::kill(::getpid(), SIGUSR1);
    if (frame.type == FrameType::kSignal) guest_.close(frame.stream);
  };
  sigset_t before;
  ::sigprocmask(SIG_SETMASK, nullptr, &before);
  ASSERT_TRUE(run_session(*guest_.client, exec({"x"}), {}, options));
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ASSERT_NE(guest_.find(FrameType::kSignal), nullptr);
  EXPECT_EQ(guest_.find(FrameType::kSignal)->payload, std::string("\x0a\0\0\0", 4));
}

TEST_F(SessionTest, FailsWhenTheConnectionEnds) {
  on_open([&](std::uint32_t) { guest_.hang_up(); });
  const auto closed = run_session(*guest_.client, exec({"x"}), {});
  ASSERT_FALSE(closed.has_value());
  EXPECT_THAT(closed.error().text(), HasSubstr("the supervisor has ended"));
}

TEST_F(SessionTest, FailsWithTheCauseWhenTheMachineDies) {
  on_open([&](std::uint32_t) {
    guest_.send_state({wire::VmPhase::kFailed, 0, "guest kernel panic: oops", "look"});
    guest_.hang_up();
  });
  EXPECT_THAT(run_session(*guest_.client, exec({"x"}), {}).error().text(),
              HasSubstr("guest kernel panic: oops"));
}

wire::Open read_request() {
  wire::Open open;
  open.kind = wire::OpenKind::kRead;
  open.file.path = "/etc/motd";
  return open;
}

TEST_F(SessionTest, CollectReturnsTheWholeAnswer) {
  on_eof([&](std::uint32_t stream) {
    guest_.output(stream, "hello ");
    guest_.output(stream, "world");
    guest_.close(stream);
  });
  EXPECT_EQ(collect(*guest_.client, read_request()).value(), "hello world");
}

TEST_F(SessionTest, CollectFailsWithTheGuestsOwnWords) {
  on_eof([&](std::uint32_t stream) {
    guest_.errors(stream, "/etc/motd: No such file or directory\n");
    guest_.close(stream, {wire::Outcome::kExited, 1, ""});
  });
  const Error error = collect(*guest_.client, read_request()).error();
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_EQ(error.text(), "guest: /etc/motd: No such file or directory");
}

TEST_F(SessionTest, CollectRefusesMoreThanItsLimit) {
  guest_.on_frame = [&](const Seen& frame) {
    if (frame.type == FrameType::kEof) guest_.output(frame.stream, std::string(2000, 'x'));
    if (frame.type == FrameType::kCancel)
      guest_.close(frame.stream, {wire::Outcome::kCancelled, 0, ""});
  };
  const Error error = collect(*guest_.client, read_request(), kibibytes(1)).error();
  EXPECT_EQ(error.code(), Errc::kLimit);
  EXPECT_THAT(error.text(), HasSubstr("1K"));
}

TEST_F(SessionTest, CollectRefusesMoreThanItsLimitEvenWhenTheGuestEndedWell) {
  on_eof([&](std::uint32_t stream) {
    guest_.output(stream, std::string(2000, 'x'));
    guest_.close(stream);
  });
  EXPECT_EQ(collect(*guest_.client, read_request(), kibibytes(1)).error().code(), Errc::kLimit);
}

TEST(ClosedError, SaysSomethingEvenWhenTheGuestDoesNot) {
  EXPECT_EQ(closed_error({}, "").text(), "guest: the guest gave no reason");
  EXPECT_EQ(closed_error({wire::Outcome::kRefused, 0, "too many"}, "").text(), "guest: too many");
  EXPECT_EQ(closed_error({}, "broken\n\n").code(), Errc::kIo);
}

TEST(ClientTest, WaitsUntilTheMachineIsReady) {
  Guest guest({wire::VmPhase::kStarting, 0, "", ""});
  guest.loop.after(Millis(5), [&] { guest.send_state({wire::VmPhase::kReady, 0, "", ""}); });
  EXPECT_TRUE(guest.client->wait_ready(Deadline::after(Millis(10'000), "ready")));
}

TEST(ClientTest, FailsWithTheCauseOfAFailedStart) {
  Guest guest({wire::VmPhase::kFailed, 0, "no such cpu", "choose another"});
  const Error error = guest.client->wait_ready(Deadline::after(Millis(10'000), "ready")).error();
  EXPECT_EQ(error.text(), "no such cpu");
  EXPECT_EQ(error.hint(), "choose another");
}

TEST(ClientTest, FailsWhenTheSupervisorGoesAway) {
  Guest guest({wire::VmPhase::kStarting, 0, "", ""});
  guest.hang_up();
  EXPECT_EQ(guest.client->wait_ready(Deadline::after(Millis(10'000), "ready")).error().code(),
            Errc::kNotFound);
}

TEST(ClientTest, NamesItsDeadline) {
  Guest guest({wire::VmPhase::kStarting, 0, "", ""});
  const Error error =
      guest.client->wait_ready(Deadline::after(Millis(10), "the guest being ready")).error();
  EXPECT_EQ(error.code(), Errc::kTimeout);
  EXPECT_THAT(error.text(), HasSubstr("the guest being ready"));
}

TEST(ClientTest, ReturnsTheFinalStateWhenEverythingIsCleanedUp) {
  Guest guest;
  guest.send_state({wire::VmPhase::kStopped, 3, "done", ""});
  guest.hang_up();
  const wire::VmState state =
      guest.client->wait_stopped(Deadline::after(Millis(10'000), "the end")).value();
  EXPECT_EQ(state.exit_code, 3);
  EXPECT_FALSE(guest.client->connected());
}

TEST(ClientTest, SendsARequestToStop) {
  Guest guest;
  guest.client->request_stop({1234, true});
  ASSERT_TRUE(guest.until([&] { return guest.find(FrameType::kStop) != nullptr; }));
  const wire::Stop stop =
      wire::decode_stop(bytes_of(guest.find(FrameType::kStop)->payload)).value();
  EXPECT_EQ(stop.grace_ms, 1234U);
  EXPECT_TRUE(stop.kill);
}

TEST(ClientTest, EndsTheConnectionOnAStateThatIsMalformed) {
  Guest guest({wire::VmPhase::kStarting, 0, "", ""});
  guest.send(0, FrameType::kState, 0, "?");
  EXPECT_THAT(guest.client->wait_ready(Deadline::after(Millis(10'000), "ready")).error().text(),
              HasSubstr("malformed state"));
}

TEST(ClientTest, TellsThatItHasBeenDisconnected) {
  Guest guest;
  bool told = false;
  guest.client->on_disconnected = [&] { told = true; };
  guest.hang_up();
  EXPECT_TRUE(guest.until([&] { return told; }));
}

}  // namespace
}  // namespace mvm::agent_client
