// SPDX-License-Identifier: Apache-2.0
#include "http/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <optional>

#include "sys/files.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::http {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// A client's end: bytes in and out, nothing parsed.
class Peer {
 public:
  explicit Peer(sys::UniqueFd fd) : fd_(std::move(fd)) {
    EXPECT_TRUE(sys::set_nonblocking(fd_.get(), true));
  }
  void write(std::string_view bytes) {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // What is there to read; notes the end of the stream.
  std::string read() {
    std::string out;
    std::array<char, 4096> chunk;
    ssize_t count = 0;
    while ((count = ::recv(fd_.get(), chunk.data(), chunk.size(), 0)) > 0)
      out.append(chunk.data(), static_cast<std::size_t>(count));
    ended_ = ended_ || count == 0;
    return out;
  }
  void end_output() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  bool ended() const { return ended_; }

 private:
  sys::UniqueFd fd_;
  bool ended_ = false;
};

class HttpServerTest : public testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    path_ = dir_.path() + "/s";
    auto handler = [this](Request request, Responder responder) {
      requests_.push_back(std::move(request));
      if (answer_at_once_)
        responder(echo(requests_.back()));
      else
        waiting_.push_back(std::move(responder));
    };
    server_.emplace(
        Server::create(loop_, sys::listen_unix(path_).value(), handler, options).value());
  }
  static Response echo(const Request& request) {
    Response response;
    response.body = request.method + " " + request.target + " " + request.body;
    return response;
  }
  Peer connect() { return Peer(sys::connect_unix(path_).value()); }
  // Runs the loop until nothing is left to do at once.
  // A turn takes one connection.
  void settle() {
    for (int i = 0; i < 128; ++i)
      static_cast<void>(loop_.run_once(Deadline::after(Millis(0), "nothing")).has_value());
  }
  sys::EventLoop loop_ = sys::EventLoop::create().value();
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-http").value();
  std::string path_;
  std::optional<Server> server_;
  std::vector<Request> requests_;
  std::vector<Responder> waiting_;
  bool answer_at_once_ = true;
};

TEST_F(HttpServerTest, AnswersARequest) {
  start();
  Peer peer = connect();
  peer.write("GET /version HTTP/1.1\r\n\r\n");
  settle();
  const std::string answer = peer.read();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\n\r\nGET /version "));
  EXPECT_FALSE(peer.ended());
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  answer_at_once_ = false;
  Peer peer = connect();
  peer.write("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n");
  settle();
  ASSERT_EQ(waiting_.size(), 1U);  // the next ones wait for the answer
  waiting_[0](echo(requests_[0]));
  ASSERT_EQ(waiting_.size(), 2U);
  waiting_[1](echo(requests_[1]));
  waiting_[2](echo(requests_[2]));
  settle();
  const std::string answers = peer.read();
  EXPECT_LT(answers.find("GET /1"), answers.find("GET /2"));
  EXPECT_LT(answers.find("GET /2"), answers.find("GET /3"));
  EXPECT_NE(answers.find("GET /3"), std::string::npos);
}

TEST_F(HttpServerTest, AnswersThousandsOfPipelinedRequestsAtOnce) {
  start();
  Peer peer = connect();
  std::string requests;
  for (int i = 0; i < 2000; ++i) requests += "GET /r HTTP/1.1\r\n\r\n";
  peer.write(requests);
  std::string answers;
  for (int i = 0; i < 50; ++i) {
    settle();
    answers += peer.read();
  }
  EXPECT_EQ(requests_.size(), 2000U);
  EXPECT_THAT(answers, testing::EndsWith("GET /r "));
}

TEST_F(HttpServerTest, ALaterAnswerDoesNotHoldUpOthers) {
  start();
  answer_at_once_ = false;
  Peer slow = connect();
  slow.write("PUT /snapshot/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
  settle();
  answer_at_once_ = true;
  Peer quick = connect();
  quick.write("GET /quick HTTP/1.1\r\n\r\n");
  settle();
  EXPECT_THAT(quick.read(), HasSubstr("GET /quick"));
  EXPECT_EQ(slow.read(), "");
  waiting_[0](echo(requests_[0]));
  settle();
  EXPECT_THAT(slow.read(), HasSubstr("PUT /snapshot/create {}"));
}

TEST_F(HttpServerTest, SaysContinueBeforeTheBodyIsSent) {
  start();
  Peer peer = connect();
  peer.write("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  settle();
  EXPECT_EQ(peer.read(), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.write("{}");
  settle();
  EXPECT_THAT(peer.read(), HasSubstr("PUT /a {}"));
}

TEST_F(HttpServerTest, RefusesAnOversizeBodyAndThenCloses) {
  start({.limits = {.head_bytes = 1024, .body_bytes = 16}});
  Peer peer = connect();
  peer.write("PUT /a HTTP/1.1\r\nContent-Length: 17\r\n\r\n");
  settle();
  // What the client still sends is dropped, so that it can read the answer.
  peer.write(std::string(17, 'x'));
  settle();
  const std::string answer = peer.read();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer,
              HasSubstr("{\"error\":\"Request payload with size 17 is larger than the limit "
                        "of 16 allowed by server.\"}"));
  EXPECT_TRUE(peer.ended());
  EXPECT_TRUE(requests_.empty());
}

TEST_F(HttpServerTest, AClientThatGoesOnSendingAfterAnErrorIsClosedInTime) {
  start({.limits = {.head_bytes = 1024, .body_bytes = 16}, .drain_time = Millis(500)});
  Peer peer = connect();
  peer.write("nonsense\r\n\r\n");
  settle();
  EXPECT_EQ(server_->connection_count(), 1U);
  EXPECT_TRUE(loop_.run_once(Deadline::after(Millis(10'000), "the drain timer")));
  settle();
  EXPECT_EQ(server_->connection_count(), 0U);
}

TEST_F(HttpServerTest, AnswersMalformedRequestsWithJson) {
  start();
  Peer peer = connect();
  peer.write("this is not http\r\n\r\n");
  settle();
  const std::string answer = peer.read();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(answer, HasSubstr("{\"error\":\""));
}

TEST_F(HttpServerTest, ClosesWhenTheClientAsksForIt) {
  start();
  Peer peer = connect();
  peer.write("GET /a HTTP/1.1\r\nConnection: close\r\n\r\n");
  settle();
  EXPECT_THAT(peer.read(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(peer.ended());
}

TEST_F(HttpServerTest, AHalfClosedClientStillGetsItsAnswers) {
  start();
  answer_at_once_ = false;
  Peer peer = connect();
  peer.write("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
  peer.end_output();
  settle();
  ASSERT_EQ(waiting_.size(), 1U);
  waiting_[0](echo(requests_[0]));
  settle();
  ASSERT_EQ(waiting_.size(), 2U);
  waiting_[1](echo(requests_[1]));
  settle();
  const std::string answers = peer.read();
  EXPECT_THAT(answers, HasSubstr("GET /1"));
  EXPECT_THAT(answers, HasSubstr("GET /2"));
  EXPECT_TRUE(peer.ended());
  EXPECT_EQ(server_->connection_count(), 0U);
}

TEST_F(HttpServerTest, AnEndInTheMiddleOfARequestOnlyCloses) {
  start();
  Peer peer = connect();
  peer.write("PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nab");
  peer.end_output();
  settle();
  EXPECT_EQ(peer.read(), "");
  EXPECT_TRUE(peer.ended());
  EXPECT_TRUE(requests_.empty());
}

TEST_F(HttpServerTest, ForgetsAClientThatGoesAwayBeforeItsAnswer) {
  start();
  answer_at_once_ = false;
  Peer peer = connect();
  peer.write("GET /a HTTP/1.1\r\n\r\n");
  settle();
  peer.close();
  settle();
  EXPECT_EQ(server_->connection_count(), 0U);
  waiting_[0](echo(requests_[0]));  // nobody is there
}

TEST_F(HttpServerTest, AnswersAfterTheServerIsGoneDoNothing) {
  start();
  answer_at_once_ = false;
  Peer peer = connect();
  peer.write("GET /a HTTP/1.1\r\n\r\n");
  settle();
  server_.reset();
  waiting_[0](echo(requests_[0]));
  EXPECT_EQ(peer.read(), "");
  EXPECT_TRUE(peer.ended());
}

TEST_F(HttpServerTest, ADroppedResponderAnswers500) {
  start();
  answer_at_once_ = false;
  Peer peer = connect();
  peer.write("GET /a HTTP/1.1\r\n\r\n");
  settle();
  waiting_.clear();
  settle();
  EXPECT_THAT(peer.read(), StartsWith("HTTP/1.1 500 "));
}

TEST_F(HttpServerTest, ServesFiftyConnectionsAtOnce) {
  start();
  std::vector<Peer> peers;
  for (int i = 0; i < 50; ++i) peers.push_back(connect());
  for (std::size_t i = 0; i < peers.size(); ++i)
    peers[i].write("GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n");
  settle();
  for (std::size_t i = 0; i < peers.size(); ++i)
    EXPECT_THAT(peers[i].read(), HasSubstr("GET /" + std::to_string(i) + " "));
  EXPECT_EQ(server_->connection_count(), 50U);
}

TEST_F(HttpServerTest, TellsOneConnectionTooManySo) {
  start({.limits = {}, .max_connections = 2});
  Peer first = connect();
  Peer second = connect();
  Peer third = connect();
  settle();
  EXPECT_THAT(third.read(), StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(third.ended());
  first.close();
  settle();
  Peer fourth = connect();
  fourth.write("GET /a HTTP/1.1\r\n\r\n");
  settle();
  EXPECT_THAT(fourth.read(), HasSubstr("GET /a"));
}

TEST_F(HttpServerTest, ClientsThatHaveLeftDoNotCountForTheNext) {
  start({.limits = {}, .max_connections = 4});
  for (int i = 0; i < 40; ++i) {
    Peer leaver = connect();
    leaver.write("PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n{");
  }
  Peer last = connect();
  last.write("GET /a HTTP/1.1\r\n\r\n");
  settle();
  EXPECT_THAT(last.read(), HasSubstr("GET /a"));
}

TEST_F(HttpServerTest, AClientThatNeverFinishesDoesNotHoldUpOthers) {
  start();
  Peer slow = connect();
  slow.write("PUT /a HTTP/1.1\r\nContent-Le");
  Peer quick = connect();
  quick.write("GET /b HTTP/1.1\r\n\r\n");
  settle();
  EXPECT_THAT(quick.read(), HasSubstr("GET /b"));
  slow.write("ngth: 1\r\n\r\n");
  settle();
  slow.write("x");
  settle();
  EXPECT_THAT(slow.read(), HasSubstr("PUT /a x"));
}

TEST_F(HttpServerTest, SendsAnAnswerLargerThanTheSocketsBuffer) {
  start();
  answer_at_once_ = false;
  Peer peer = connect();
  peer.write("GET /a HTTP/1.1\r\n\r\n");
  settle();
  Response large;
  large.body = std::string(4U << 20, 'x');
  waiting_[0](large);
  std::string answer;
  for (int i = 0; i < 400 && answer.size() < large.body.size(); ++i) {
    settle();
    answer += peer.read();
  }
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n" + large.body));
}

TEST_F(HttpServerTest, TakesNoMoreRequestsFromAClientThatDoesNotReadItsAnswers) {
  start();
  answer_at_once_ = false;
  Peer peer = connect();
  peer.write("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
  settle();
  Response large;
  large.body = std::string(4U << 20, 'x');
  waiting_[0](large);
  settle();
  EXPECT_EQ(requests_.size(), 1U);
  for (int i = 0; i < 400 && requests_.size() < 2; ++i) {
    peer.read();
    settle();
  }
  EXPECT_EQ(requests_.size(), 2U);
}

TEST_F(HttpServerTest, ServesAStreamThatIsHandedOver) {
  start();
  sys::SocketPair pair = sys::make_socket_pair().value();
  ASSERT_TRUE(server_->serve(std::move(pair.first)));
  Peer peer(std::move(pair.second));
  peer.write("GET /a HTTP/1.1\r\n\r\n");
  settle();
  EXPECT_THAT(peer.read(), HasSubstr("GET /a"));
}

}  // namespace
}  // namespace mvm::http
