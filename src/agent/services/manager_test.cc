// SPDX-License-Identifier: Apache-2.0
#include "agent/services/manager.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "sys/io.h"
#include "sys/signals.h"
#include "sys/socket.h"

namespace mvm::agent::services {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using wire::Health;
using wire::ServicePhase;

wire::ServiceRequest shell(const std::string& name, const std::string& script) {
  wire::ServiceRequest out;
  out.name = name;
  out.exec.argv = {"/bin/sh", "-c", script};
  out.exec.env = {"PATH=/usr/bin:/bin"};
  out.restart = wire::ServiceRestart::kNo;
  return out;
}

wire::HealthRequest quick_check() {
  wire::HealthRequest out;
  out.interval_ms = 30;
  out.timeout_ms = 2000;
  out.retries = 2;
  return out;
}

// A TCP server on a port of its own that answers whoever connects with a text.
class Port {
 public:
  explicit Port(sys::EventLoop& loop, std::string answer = "")
      : answer_(std::move(answer)), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(socket_.get(), 16), 0);
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    number = ntohs(address.sin_port);
    EXPECT_TRUE(loop.add(socket_.get(), EPOLLIN, [this](std::uint32_t) {
      sys::UniqueFd peer(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      (void)sys::write_full(peer.get(), answer_);
      ::shutdown(peer.get(), SHUT_WR);
      peers_.push_back(std::move(peer));
    }));
  }
  std::uint16_t number = 0;

 private:
  std::string answer_;
  sys::UniqueFd socket_;
  std::vector<sys::UniqueFd> peers_;
};

class ManagerTest : public testing::Test {
 protected:
  void run(const std::vector<wire::ServiceRequest>& services) {
    signals_ = sys::signal_fd({SIGCHLD}).value();
    manager_ = std::make_unique<Manager>(loop_, services, -1);
    ASSERT_TRUE(loop_.add(signals_.get(), EPOLLIN, [this](std::uint32_t) {
      while (sys::read_signal(signals_.get())) {
      }
      manager_->on_child();
    }));
    auto pair = sys::make_socket_pair().value();
    ours_ = std::move(pair.first);
    ASSERT_TRUE(loop_.add(ours_.get(), EPOLLIN, [this](std::uint32_t) { take(); }));
    ASSERT_TRUE(manager_->add_listener(std::move(pair.second), true));
    manager_->start();
  }
  void TearDown() override {
    if (manager_) {
      manager_->stop();
      EXPECT_TRUE(until([&] { return manager_->done(); }));
    }
  }

  bool until(const std::function<bool()>& condition) {
    const Deadline deadline = Deadline::after(Millis(20'000), "test");
    while (!condition() && !deadline.passed()) (void)loop_.run_once(deadline);
    return condition();
  }
  bool until_phase(const std::string& name, ServicePhase phase) {
    return until([&] { return states_[name].phase == phase; });
  }
  bool until_health(const std::string& name, Health health) {
    return until([&] { return states_[name].health == health; });
  }

  sys::EventLoop loop_ = sys::EventLoop::create().value();
  sys::UniqueFd signals_;
  sys::UniqueFd ours_;
  std::unique_ptr<Manager> manager_;
  std::map<std::string, wire::ServiceState> states_;
  std::vector<std::string> order_;  // "db running", as it was told
  std::map<std::string, std::string> said_;

 private:
  void take() {
    std::array<std::byte, 65536> chunk;
    const std::size_t count = sys::read_some(ours_.get(), chunk).value_or(0);
    buffer_.append(reinterpret_cast<const char*>(chunk.data()), count);
    for (auto record = wire::take_service_record(buffer_).value(); record;
         record = wire::take_service_record(buffer_).value()) {
      if (record->output) said_[record->output->name] += record->output->text;
      if (!record->state) continue;
      wire::ServiceState& state = states_[record->state->name];
      if (record->state->phase == ServicePhase::kRunning && state.phase != record->state->phase)
        order_.push_back(record->state->name + " runs");
      if (record->state->phase == ServicePhase::kStopped)
        order_.push_back(record->state->name + " stopped");
      state = *record->state;
    }
  }
  std::string buffer_;
};

TEST_F(ManagerTest, TellsWhatAServiceSaysAndHowItEnds) {
  run({shell("one", "echo out; echo err >&2; exit 3")});
  EXPECT_TRUE(until_phase("one", ServicePhase::kFailed));
  EXPECT_EQ(states_["one"].message, "exit code 3");
  EXPECT_TRUE(until([&] { return said_["one"].size() == 8; }));
  EXPECT_THAT(said_["one"], HasSubstr("err\n"));
}

TEST_F(ManagerTest, TheLastWordsOfAServiceAreToldBeforeItsEnd) {
  run({shell("one", "echo last; kill -9 $$")});
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
  // As when both have come by the time that the manager looks.
  manager_->on_child();
  EXPECT_TRUE(until_phase("one", ServicePhase::kFailed));
  EXPECT_EQ(said_["one"], "last\n");
}

TEST_F(ManagerTest, AServiceThatEndsWellAndNeedNotRunAgainIsDone) {
  run({shell("once", "exit 0")});
  EXPECT_TRUE(until_phase("once", ServicePhase::kDone));
  EXPECT_EQ(states_["once"].restarts, 0U);
}

TEST_F(ManagerTest, StartsAServiceOnlyWhenThoseBeforeItRun) {
  auto web = shell("a-web", "sleep 100");
  web.after = {"z-db"};
  run({web, shell("z-db", "sleep 100")});
  EXPECT_TRUE(until_phase("a-web", ServicePhase::kRunning));
  EXPECT_THAT(order_, ElementsAre("z-db runs", "a-web runs"));
}

TEST_F(ManagerTest, WaitsForTheHealthOfTheServiceBefore) {
  const std::string flag = testing::TempDir() + "mvm-healthy-" + std::to_string(::getpid());
  auto db = shell("db", "sleep 100");
  db.health = quick_check();
  db.health->argv = {"/bin/sh", "-c", "test -e " + flag};
  auto web = shell("web", "sleep 100");
  web.after = {"db"};
  run({db, web});
  EXPECT_TRUE(until_health("db", Health::kUnhealthy));
  EXPECT_EQ(states_["web"].phase, ServicePhase::kWaiting);
  ASSERT_TRUE(sys::write_file(flag, ""));
  EXPECT_TRUE(until_phase("web", ServicePhase::kRunning));
  EXPECT_EQ(states_["db"].health, Health::kHealthy);
  ::unlink(flag.c_str());
}

TEST_F(ManagerTest, StartsAServiceAgainAfterMoreAndMoreTime) {
  auto bad = shell("bad", "exit 1");
  bad.restart = wire::ServiceRestart::kOnFailure;
  const auto begun = Clock::now();
  run({bad});
  EXPECT_TRUE(until([&] { return states_["bad"].restarts == 3; }));
  // 100, 200 and 400 ms.
  EXPECT_GE(Clock::now() - begun, Millis(700));
  EXPECT_TRUE(until_phase("bad", ServicePhase::kBackoff));
}

TEST_F(ManagerTest, AServiceThatCannotBeStartedSaysWhy) {
  auto missing = shell("missing", "");
  missing.exec.argv = {"/nonexistent/program"};
  auto nobody = shell("stranger", "true");
  nobody.exec.user = "no-such-user";
  run({missing, nobody});
  EXPECT_TRUE(until_phase("missing", ServicePhase::kFailed));
  EXPECT_THAT(states_["missing"].message, HasSubstr("exec /nonexistent/program"));
  EXPECT_TRUE(until_phase("stranger", ServicePhase::kFailed));
  EXPECT_THAT(states_["stranger"].message, HasSubstr("no-such-user"));
}

TEST_F(ManagerTest, StopsInTheOppositeOrder) {
  auto web = shell("web", "trap 'sleep 0.1; exit 0' TERM; while :; do sleep 0.02; done");
  web.after = {"db"};
  auto top = shell("top", "sleep 100");
  top.after = {"web"};
  run({shell("db", "sleep 100"), top, web});
  ASSERT_TRUE(until_phase("top", ServicePhase::kRunning));
  order_.clear();
  manager_->stop();
  EXPECT_TRUE(until_phase("db", ServicePhase::kStopped));
  EXPECT_THAT(order_, ElementsAre("top stopped", "web stopped", "db stopped"));
}

TEST_F(ManagerTest, KillsWhatDoesNotStopInItsTime) {
  auto deaf = shell("deaf", "trap '' TERM; echo ready; while :; do sleep 1; done");
  deaf.stop_grace_ms = 100;
  run({deaf});
  ASSERT_TRUE(until([&] { return said_["deaf"] == "ready\n"; }));
  manager_->stop();
  EXPECT_TRUE(until_phase("deaf", ServicePhase::kStopped));
  EXPECT_EQ(states_["deaf"].message, "signal 9");
}

TEST_F(ManagerTest, ASignalOfItsOwnStopsAService) {
  auto odd = shell("odd", "trap 'exit 0' INT; echo ready; while :; do sleep 0.02; done");
  odd.stop_signal = SIGINT;
  run({odd});
  ASSERT_TRUE(until([&] { return said_["odd"] == "ready\n"; }));
  manager_->stop();
  EXPECT_TRUE(until_phase("odd", ServicePhase::kStopped));
  EXPECT_EQ(states_["odd"].message, "exit code 0");
}

TEST_F(ManagerTest, WhatAServiceHasStartedEndsWithIt) {
  run({shell("parent", "sleep 1000 & echo $!; exit 1")});
  ASSERT_TRUE(until_phase("parent", ServicePhase::kFailed));
  ASSERT_TRUE(until([&] { return !said_["parent"].empty(); }));
  const pid_t child = std::stoi(said_["parent"]);
  EXPECT_TRUE(until([&] {
    const auto stat = sys::read_file("/proc/" + std::to_string(child) + "/stat");
    return !stat || stat->find(") Z") != std::string::npos;
  }));
}

TEST_F(ManagerTest, ATcpCheckIsHealthyWhenThePortTakesAConnection) {
  const Port open(loop_);
  auto service = shell("tcp", "sleep 100");
  service.health = quick_check();
  service.health->port = open.number;
  run({service});
  EXPECT_TRUE(until_health("tcp", Health::kHealthy));
}

TEST_F(ManagerTest, AnHttpCheckWantsAGoodStatus) {
  const Port good(loop_, "HTTP/1.1 204 No Content\r\n\r\n");
  const Port bad(loop_, "HTTP/1.1 503 Service Unavailable\r\n\r\n");
  const Port other(loop_, "SSH-2.0-OpenSSH_9.2\r\n");
  std::vector<wire::ServiceRequest> services;
  for (const auto& [name, port] : {std::pair("bad", &bad), {"good", &good}, {"other", &other}}) {
    wire::ServiceRequest& service = services.emplace_back(shell(name, "sleep 100"));
    service.health = quick_check();
    service.health->port = port->number;
    service.health->http_path = "/";
  }
  run(services);
  EXPECT_TRUE(until_health("good", Health::kHealthy));
  EXPECT_TRUE(until_health("bad", Health::kUnhealthy));
  EXPECT_EQ(states_["bad"].message, "it answers with status 503");
  EXPECT_TRUE(until_health("other", Health::kUnhealthy));
  EXPECT_EQ(states_["other"].message, "the answer is not HTTP");
}

TEST_F(ManagerTest, ACheckThatTakesTooLongHasFailed) {
  auto service = shell("slow", "sleep 100");
  service.health = quick_check();
  service.health->timeout_ms = 50;
  service.health->argv = {"/bin/sleep", "100"};
  run({service});
  EXPECT_TRUE(until_health("slow", Health::kUnhealthy));
  EXPECT_EQ(states_["slow"].message, "the check took longer than 50ms");
}

TEST_F(ManagerTest, AFailureInTheStartPeriodDoesNotCount) {
  auto service = shell("young", "sleep 100");
  service.health = quick_check();
  service.health->start_period_ms = 60'000;
  service.health->argv = {"/bin/false"};
  run({service});
  const auto begun = Clock::now();
  until([&] { return Clock::now() - begun > Millis(400); });
  EXPECT_EQ(states_["young"].health, Health::kStarting);
}

TEST_F(ManagerTest, ACheckWithoutAProgramWatchesWhatRunsAnyway) {
  wire::ServiceRequest main;
  main.name = "main";
  main.health = quick_check();
  main.health->argv = {"/bin/true"};
  run({main});
  EXPECT_TRUE(until_health("main", Health::kHealthy));
  EXPECT_EQ(states_["main"].phase, ServicePhase::kRunning);
}

TEST_F(ManagerTest, ASecondListenerIsToldTheStatesThereAre) {
  run({shell("web", "sleep 100")});
  ASSERT_TRUE(until_phase("web", ServicePhase::kRunning));
  auto pair = sys::make_socket_pair().value();
  ASSERT_TRUE(manager_->add_listener(std::move(pair.second), true));
  std::array<std::byte, 4096> chunk;
  const std::size_t count = sys::read_some(pair.first.get(), chunk).value();
  std::string text(reinterpret_cast<const char*>(chunk.data()), count);
  EXPECT_EQ(wire::take_service_record(text).value()->state->phase, ServicePhase::kRunning);
  // It may end the services, and its own end is nobody's trouble.
  ASSERT_TRUE(sys::write_full(pair.first.get(), std::string_view("s")));
  EXPECT_TRUE(until_phase("web", ServicePhase::kStopped));
}

TEST_F(ManagerTest, AServiceThatSaysMoreThanIsTakenWaits) {
  run({shell("loud", "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end; sleep 100")});
  EXPECT_TRUE(until([&] { return said_["loud"].ends_with("end\n"); }));
  EXPECT_EQ(said_["loud"].size(), 30'000'005U);
}

}  // namespace
}  // namespace mvm::agent::services
