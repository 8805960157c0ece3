// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/api_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "http/client.h"
#include "sys/files.h"
#include "sys/socket.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

class ApiServerTest : public testing::Test {
 protected:
  ApiServerTest() {
    auto controller = [this](ApiRequest request, AnswerCallback answer) {
      requests_.push_back(std::move(request));
      answers_.push_back(std::move(answer));
      if (outcome_) answers_.back()(*outcome_);
    };
    const std::string path = dir_.path() + "/api";
    server_.emplace(
        ApiServer::create(loop_, sys::listen_unix(path).value(), std::move(controller), 256)
            .value());
    client_.emplace(loop_, path);
  }
  // Sends, and runs the loop until the answer is there, if one comes.
  void send(const std::string& method, const std::string& path, const std::string& body = "") {
    client_->send(method, path, body, Millis(60'000), [this](Result<http::Response> result) {
      responses_.push_back(std::move(result).value());
    });
    settle();
  }
  void settle() {
    for (int i = 0; i < 12; ++i)
      static_cast<void>(loop_.run_once(Deadline::after(Millis(0), "nothing")).has_value());
  }

  sys::EventLoop loop_ = sys::EventLoop::create().value();
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-api").value();
  std::optional<Result<ApiAnswer>> outcome_ = ApiAnswer{NoContent{}};
  std::vector<ApiRequest> requests_;
  std::vector<AnswerCallback> answers_;
  std::optional<ApiServer> server_;
  std::optional<http::Client> client_;
  std::vector<http::Response> responses_;
};

TEST_F(ApiServerTest, HandsOverTheParsedRequest) {
  send("PUT", "/vsock", R"({"guest_cid":3,"uds_path":"/v"})");
  ASSERT_EQ(requests_.size(), 1U);
  EXPECT_EQ(std::get<PutVsock>(requests_[0]).config.uds_path, "/v");
  ASSERT_EQ(responses_.size(), 1U);
  EXPECT_EQ(responses_[0].status, 204);
  EXPECT_EQ(http::header(responses_[0].headers, "Deprecation"), "");
}

TEST_F(ApiServerTest, AnswersABadRequestByItself) {
  send("PUT", "/vsock", R"({"guest_cid":3})");
  EXPECT_TRUE(requests_.empty());
  ASSERT_EQ(responses_.size(), 1U);
  EXPECT_EQ(responses_[0].status, 400);
  EXPECT_EQ(responses_[0].body, R"({"fault_message":"missing field `uds_path`"})");
}

TEST_F(ApiServerTest, SaysThatAFieldIsDeprecated) {
  send("PUT", "/vsock", R"({"vsock_id":"v","guest_cid":3,"uds_path":"/v"})");
  ASSERT_EQ(responses_.size(), 1U);
  EXPECT_EQ(http::header(responses_[0].headers, "Deprecation"), "true");
}

TEST_F(ApiServerTest, AnAnswerMayComeLater) {
  outcome_.reset();
  send("PATCH", "/vm", R"({"state":"Paused"})");
  EXPECT_TRUE(responses_.empty());
  answers_[0](ApiAnswer{NoContent{}});
  settle();
  ASSERT_EQ(responses_.size(), 1U);
  EXPECT_EQ(responses_[0].status, 204);
}

TEST_F(ApiServerTest, OnlyTheFirstAnswerCounts) {
  outcome_.reset();
  send("PATCH", "/vm", R"({"state":"Paused"})");
  answers_[0](Error(Errc::kIo, "broken"));
  answers_[0](ApiAnswer{NoContent{}});
  settle();
  send("GET", "/");
  answers_[1](ApiAnswer{VersionAnswer{"1"}});
  settle();
  ASSERT_EQ(responses_.size(), 2U);
  EXPECT_EQ(responses_[0].status, 400);
  EXPECT_EQ(responses_[1].status, 200);
}

TEST_F(ApiServerTest, MetadataOverItsLimitIs413AndOtherLimitsAre400) {
  outcome_ = Error(Errc::kLimit, "the metadata is too large");
  send("PUT", "/mmds", R"({"a":1})");
  send("PATCH", "/mmds", R"({"a":1})");
  send("PUT", "/entropy", "{}");
  ASSERT_EQ(responses_.size(), 3U);
  EXPECT_EQ(responses_[0].status, 413);
  EXPECT_EQ(responses_[1].status, 413);
  EXPECT_EQ(responses_[2].status, 400);
}

TEST_F(ApiServerTest, RefusesABodyOverTheLimit) {
  send("PUT", "/mmds", R"({"a":")" + std::string(300, 'x') + R"("})");
  ASSERT_EQ(responses_.size(), 1U);
  EXPECT_EQ(responses_[0].status, 400);
  EXPECT_THAT(responses_[0].body, HasSubstr("larger than the limit of 256"));
  EXPECT_TRUE(requests_.empty());
}

TEST_F(ApiServerTest, AControllerThatForgetsARequestAnswers500) {
  outcome_.reset();
  send("GET", "/version");
  answers_.clear();
  settle();
  ASSERT_EQ(responses_.size(), 1U);
  EXPECT_EQ(responses_[0].status, 500);
}

}  // namespace
}  // namespace mvm::vmm
