// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/qmp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <memory>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::backend::qemu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Kind = QmpMessage::Kind;

TEST(ParseQmp, KnowsTheGreeting) {
  EXPECT_EQ(parse_qmp(R"({"QMP": {"version": {}, "capabilities": ["oob"]}})").value().kind,
            Kind::kGreeting);
}

TEST(ParseQmp, KnowsAnAnswerAndItsNumber) {
  const QmpMessage message = parse_qmp(R"({"return": {}, "id": 7})").value();
  EXPECT_EQ(message.kind, Kind::kReturn);
  EXPECT_EQ(message.id, 7U);
}

TEST(ParseQmp, KnowsAnErrorAndItsDescription) {
  const QmpMessage message =
      parse_qmp(R"({"id": 3, "error": {"class": "CommandNotFound", "desc": "no such command"}})")
          .value();
  EXPECT_EQ(message.kind, Kind::kError);
  EXPECT_EQ(message.id, 3U);
  EXPECT_EQ(message.name, "no such command");
}

TEST(ParseQmp, KnowsWhyAGuestShutDown) {
  const QmpMessage message =
      parse_qmp(
          R"({"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-panic"}})")
          .value();
  EXPECT_EQ(message.kind, Kind::kEvent);
  EXPECT_EQ(message.name, "SHUTDOWN");
  EXPECT_EQ(message.reason, "guest-panic");
}

TEST(ParseQmp, TakesFieldsOfAnotherTypeAsAbsent) {
  const QmpMessage message =
      parse_qmp(R"({"event": 5, "data": {"reason": []}, "id": "x"})").value();
  EXPECT_EQ(message.name, "");
  EXPECT_EQ(message.reason, "");
  EXPECT_EQ(message.id, 0U);
}

TEST(ParseQmp, RefusesWhatIsNoMessage) {
  for (const char* line :
       {"", "{", "[]", "7", "null", "{}", R"({"error": "text"})", R"({"hello": 1})", "\xff\xfe"})
    EXPECT_EQ(parse_qmp(line).error().code(), Errc::kCorrupt) << line;
}

// A Qmp and the engine's end of its socket.
class QmpTest : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    ASSERT_TRUE(sys::set_nonblocking(pair_.second.get(), true));
    qmp_ = std::make_unique<Qmp>(loop_, std::move(pair_.first), [this](const QmpMessage& event) {
      events_.push_back(event.name + ":" + event.reason);
    });
    ASSERT_TRUE(qmp_->start());
  }
  void engine_says(const std::string& text) {
    ASSERT_TRUE(sys::write_full(pair_.second.get(), text));
  }
  void turn() { (void)loop_.run_once(Deadline::after(Millis(0), "nothing")); }
  std::string heard() {
    std::array<std::byte, 4096> bytes;
    const auto n = sys::read_some(pair_.second.get(), bytes);
    return std::string(reinterpret_cast<const char*>(bytes.data()), n.value_or(0));
  }

  sys::EventLoop loop_ = sys::EventLoop::create().value();
  sys::SocketPair pair_ = sys::make_socket_pair().value();
  std::vector<std::string> events_;
  std::unique_ptr<Qmp> qmp_;
};

TEST_F(QmpTest, ShakesHandsBeforeItSendsCommands) {
  qmp_->execute("quit");
  EXPECT_THAT(heard(), HasSubstr("qmp_capabilities"));
  engine_says("{\"QMP\": {}}\n");
  turn();
  EXPECT_EQ(heard(), "");
  engine_says("{\"return\": {}, \"id\": 0}\n");
  turn();
  EXPECT_EQ(heard(), "{\"execute\":\"quit\",\"id\":1}\n");
  qmp_->execute("system_powerdown");
  EXPECT_EQ(heard(), "{\"execute\":\"system_powerdown\",\"id\":2}\n");
}

TEST_F(QmpTest, PutsTogetherALineThatComesInPieces) {
  engine_says(R"({"event": "SHUT)");
  turn();
  EXPECT_THAT(events_, testing::IsEmpty());
  engine_says("DOWN\", \"data\": {\"reason\": \"guest-reset\"}}\n{\"event\": \"STOP\"}\n");
  turn();
  EXPECT_THAT(events_, ElementsAre("SHUTDOWN:guest-reset", "STOP:"));
}

TEST_F(QmpTest, GoesOnAfterALineThatIsGarbage) {
  engine_says("garbage\n\n{\"event\": \"RESET\"}\n");
  turn();
  EXPECT_THAT(events_, ElementsAre("RESET:"));
}

TEST_F(QmpTest, GivesUpOnALineWithoutEnd) {
  const std::string flood(16384, 'x');
  for (int i = 0; i < 80; ++i) {
    (void)sys::write_some(pair_.second.get(), std::as_bytes(std::span(flood)));
    turn();
  }
  EXPECT_EQ(sys::write_some(pair_.second.get(), std::as_bytes(std::span(flood))).error().errnum(),
            EPIPE);
}

TEST_F(QmpTest, TellsEachCommandItsOwnAnswer) {
  std::string heard_back;
  const auto note = [&](const char* name) {
    return [&heard_back, name](const Result<>& done) {
      heard_back += std::string(name) + (done ? " done; " : ": " + done.error().text() + "; ");
    };
  };
  qmp_->execute("stop", note("first"));
  qmp_->execute("cont", note("second"));
  engine_says("{\"return\": {}, \"id\": 0}\n");
  turn();
  engine_says("{\"error\": {\"desc\": \"not now\"}, \"id\": 2}\n{\"return\": {}, \"id\": 1}\n");
  turn();
  EXPECT_EQ(heard_back, "second: qemu refused 'cont': not now; first done; ");
}

TEST_F(QmpTest, TellsACommandThatTheEngineIsGone) {
  std::string heard_back;
  qmp_->execute("stop", [&](const Result<>& done) { heard_back = done.error().text(); });
  pair_.second.reset();
  turn();
  EXPECT_EQ(heard_back, "qemu has gone before it answered 'stop'");
  heard_back.clear();
  qmp_->execute("cont", [&](const Result<>& done) { heard_back = done.error().text(); });
  EXPECT_EQ(heard_back, "qemu has gone before it answered 'cont'");
}

TEST_F(QmpTest, SurvivesTheEndOfTheEngine) {
  pair_.second.reset();
  turn();
  qmp_->receive();
  qmp_->execute("quit");
  EXPECT_THAT(events_, testing::IsEmpty());
}

}  // namespace
}  // namespace mvm::backend::qemu
