// SPDX-License-Identifier: Apache-2.0
#include "backend/firecracker/firecracker_api.h"

#include <gtest/gtest.h>

#include <optional>

#include "http/server.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::backend::firecracker {
namespace {

http::Response answer_of(int status, const std::string& body) {
  http::Response out;
  out.status = status;
  out.body = body;
  return out;
}

// A monitor that answers every request in the same way and keeps what it was asked.
class MonitorApiTest : public testing::Test {
 protected:
  void SetUp() override {
    sys::UniqueFd listener = sys::listen_unix(socket_).value();
    ASSERT_TRUE(sys::set_nonblocking(listener.get(), true));
    auto server = http::Server::create(
        loop_, std::move(listener),
        [this](const http::Request& request, http::Responder responder) {
          asked_ += request.method + " " + request.target + " " + request.body + "\n";
          responder(answer_);
        });
    server_.emplace(std::move(server.value()));
  }
  Result<> outcome(const std::function<void(MonitorApi&, Machine::Done)>& act) {
    MonitorApi api(loop_, socket_);
    std::optional<Result<>> out;
    act(api, [&](Result<> done) { out = std::move(done); });
    const Deadline deadline = Deadline::after(Millis(10'000), "the answer");
    while (!out && loop_.run_once(deadline)) {
    }
    return out.value_or(Error(Errc::kTimeout, "no answer"));
  }

  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-api-").value();
  const std::string socket_ = dir_.path() + "/api.sock";
  sys::EventLoop loop_ = sys::EventLoop::create().value();
  http::Response answer_ = answer_of(204, "");
  std::string asked_;
  std::optional<http::Server> server_;
};

TEST_F(MonitorApiTest, HoldsTheGuestAndLetsItGoOn) {
  EXPECT_TRUE(outcome([](MonitorApi& api, Machine::Done done) { api.pause(std::move(done)); }));
  EXPECT_TRUE(outcome([](MonitorApi& api, Machine::Done done) { api.resume(std::move(done)); }));
  EXPECT_EQ(asked_, "PATCH /vm {\"state\":\"Paused\"}\nPATCH /vm {\"state\":\"Resumed\"}\n");
}

TEST_F(MonitorApiTest, NamesTheFilesOfASnapshot) {
  EXPECT_TRUE(outcome([](MonitorApi& api, Machine::Done done) {
    api.save({"/snaps/a \"b\"/state", "/snaps/m"}, std::move(done));
  }));
  EXPECT_EQ(asked_,
            "PUT /snapshot/create {\"mem_file_path\":\"/snaps/m\",\"snapshot_path\":\"/snaps/a "
            "\\\"b\\\"/state\"}\n");
}

TEST_F(MonitorApiTest, PassesOnTheMonitorsOwnWords) {
  answer_ = answer_of(400, R"({"fault_message":"not in this state"})");
  const Result<> done =
      outcome([](MonitorApi& api, Machine::Done then) { api.pause(std::move(then)); });
  EXPECT_EQ(done.error().code(), Errc::kIo);
  EXPECT_EQ(done.error().text(), "PATCH /vm: not in this state");
}

TEST(ResultOf, KnowsAFullDiskByItsWords) {
  const http::Response response =
      answer_of(400, R"({"fault_message":"write /s/memory: No space left on device"})");
  EXPECT_EQ(result_of(response, "PUT /snapshot/create").error().code(), Errc::kNoSpace);
}

TEST(ResultOf, TakesAnAnswerWithoutAMessageByItsStatus) {
  for (const char* body : {"", "[]", "{", R"({"fault_message":7})"})
    EXPECT_EQ(result_of(answer_of(500, body), "PATCH /vm").error().text(), "PATCH /vm: status 500");
}

}  // namespace
}  // namespace mvm::backend::firecracker
