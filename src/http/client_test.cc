// SPDX-License-Identifier: Apache-2.0
#include "http/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <optional>

#include "http/server.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::http {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Millis kLong{60'000};

class HttpClientTest : public testing::Test {
 protected:
  void settle() {
    for (int i = 0; i < 12; ++i)
      static_cast<void>(loop_.run_once(Deadline::after(Millis(0), "nothing")).has_value());
  }
  void serve() {
    auto handler = [this](Request request, Responder responder) {
      seen_.push_back(request.method + " " + request.target + " " + request.body);
      waiting_.push_back(std::move(responder));
      if (answer_at_once_) answer(waiting_.size() - 1, status_);
    };
    server_.emplace(Server::create(loop_, sys::listen_unix(path_).value(), handler).value());
  }
  void answer(std::size_t index, int status) {
    Response response;
    response.status = status;
    response.body = "\"" + std::to_string(index) + "\"";
    waiting_[index](response);
  }
  Client::Callback collect() {
    return [this](Result<Response> result) { results_.push_back(std::move(result)); };
  }
  // A client on one end of a pair of sockets.
  Client on_stream() {
    sys::SocketPair pair = sys::make_socket_pair().value();
    peer_ = std::move(pair.second);
    return {loop_, std::move(pair.first)};
  }
  void peer_says(std::string_view bytes) { EXPECT_TRUE(sys::write_full(peer_.get(), bytes)); }
  std::string peer_hears() {
    std::array<char, 4096> chunk;
    const ssize_t count = ::recv(peer_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    return count > 0 ? std::string(chunk.data(), static_cast<std::size_t>(count)) : std::string();
  }

  sys::EventLoop loop_ = sys::EventLoop::create().value();
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-http").value();
  std::string path_ = dir_.path() + "/s";
  std::optional<Server> server_;
  std::vector<std::string> seen_;
  std::vector<Responder> waiting_;
  bool answer_at_once_ = true;
  int status_ = 200;
  sys::UniqueFd peer_;
  std::vector<Result<Response>> results_;
};

TEST_F(HttpClientTest, SendsRequestsInOrderOnOneConnection) {
  serve();
  Client client(loop_, path_);
  client.send("PUT", "/a", "{}", kLong, collect());
  client.send("GET", "/b", "", kLong, collect());
  EXPECT_EQ(client.pending(), 2U);
  settle();
  EXPECT_THAT(seen_, ElementsAre("PUT /a {}", "GET /b "));
  ASSERT_EQ(results_.size(), 2U);
  EXPECT_EQ(results_[0].value().body, "\"0\"");
  EXPECT_EQ(results_[1].value().body, "\"1\"");
  EXPECT_EQ(server_->connection_count(), 1U);
  EXPECT_EQ(client.pending(), 0U);
}

TEST_F(HttpClientTest, AnAnswerOfAnyStatusIsASuccess) {
  serve();
  status_ = 400;
  Client client(loop_, path_);
  client.send("PUT", "/a", "{}", kLong, collect());
  settle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].value().status, 400);
}

TEST_F(HttpClientTest, SaysWhenNobodyListens) {
  Client client(loop_, path_);
  client.send("GET", "/version", "", kLong, collect());
  EXPECT_TRUE(results_.empty());  // it comes from the loop
  settle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].error().code(), Errc::kNotFound);
  EXPECT_THAT(results_[0].error().text(), HasSubstr("GET /version"));
}

TEST_F(HttpClientTest, ADeadlineNamesItsRequestAndTheNextOneGoesOn) {
  serve();
  answer_at_once_ = false;
  Client client(loop_, path_);
  client.send("PUT", "/slow", "{}", Millis(1), collect());
  client.send("PUT", "/next", "{}", kLong, collect());
  settle();
  ASSERT_TRUE(loop_.run_once(Deadline::after(Millis(10'000), "the timeout")));
  settle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].error().code(), Errc::kTimeout);
  EXPECT_THAT(results_[0].error().text(), HasSubstr("PUT /slow"));
  // The late answer is not taken for the second request's.
  answer(0, 500);
  answer(1, 204);
  settle();
  ASSERT_EQ(results_.size(), 2U);
  EXPECT_EQ(results_[1].value().status, 204);
}

TEST_F(HttpClientTest, ADestroyedClientCallsNobody) {
  serve();
  answer_at_once_ = false;
  {
    Client client(loop_, path_);
    client.send("GET", "/a", "", kLong, collect());
    client.send("GET", "/b", "", kLong, collect());
    settle();
  }
  answer(0, 200);
  settle();
  EXPECT_TRUE(results_.empty());
  EXPECT_EQ(server_->connection_count(), 0U);
}

TEST_F(HttpClientTest, ACallbackMayDestroyItsClient) {
  serve();
  std::optional<Client> client;
  client.emplace(loop_, path_);
  int calls = 0;
  client->send("GET", "/a", "", kLong, [&](const Result<Response>&) {
    ++calls;
    client.reset();
  });
  client->send("GET", "/b", "", kLong, [&](const Result<Response>&) { ++calls; });
  settle();
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(client);
}

TEST_F(HttpClientTest, ACallbackMaySendTheNextRequest) {
  serve();
  Client client(loop_, path_);
  client.send("GET", "/a", "", kLong,
              [&](const Result<Response>&) { client.send("GET", "/b", "", kLong, collect()); });
  settle();
  EXPECT_THAT(seen_, ElementsAre("GET /a ", "GET /b "));
  EXPECT_EQ(results_.size(), 1U);
}

TEST_F(HttpClientTest, ConnectsAnewAfterTheServerHasClosedBetweenRequests) {
  serve();
  Client client(loop_, path_);
  client.send("GET", "/a", "", kLong, collect());
  settle();
  server_.reset();
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  serve();
  client.send("GET", "/b", "", kLong, collect());
  settle();
  ASSERT_EQ(results_.size(), 2U);
  EXPECT_TRUE(results_[1].has_value());
}

TEST_F(HttpClientTest, ARequestUnderWayWhenTheConnectionEndsFails) {
  Client client = on_stream();
  client.send("PUT", "/actions", "{}", kLong, collect());
  settle();
  EXPECT_THAT(peer_hears(), HasSubstr("PUT /actions HTTP/1.1\r\n"));
  peer_.reset();
  settle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].error().code(), Errc::kIo);
  EXPECT_THAT(results_[0].error().text(), HasSubstr("PUT /actions"));
}

TEST_F(HttpClientTest, TakesAnAnswerThatComesInPieces) {
  Client client = on_stream();
  client.send("GET", "/", "", kLong, collect());
  settle();
  peer_says("HTTP/1.1 200 OK\r\nContent-Le");
  settle();
  peer_says("ngth: 2\r\n\r\n[");
  settle();
  EXPECT_TRUE(results_.empty());
  peer_says("]");
  settle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].value().body, "[]");
}

TEST_F(HttpClientTest, RefusesAnAnswerThatIsNotHttp) {
  Client client = on_stream();
  client.send("GET", "/", "", kLong, collect());
  settle();
  peer_says("SSH-2.0-hello\r\n");
  settle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].error().code(), Errc::kInvalidArgument);
}

TEST_F(HttpClientTest, TrustsNoConnectionThatAnswersUnasked) {
  Client client = on_stream();
  client.send("GET", "/a", "", kLong, collect());
  settle();
  peer_says("HTTP/1.1 204 \r\n\r\nHTTP/1.1 204 \r\n\r\n");
  settle();
  client.send("GET", "/b", "", kLong, collect());
  settle();
  ASSERT_EQ(results_.size(), 2U);
  EXPECT_TRUE(results_[0].has_value());
  EXPECT_EQ(results_[1].error().code(), Errc::kIo);
}

}  // namespace
}  // namespace mvm::http
