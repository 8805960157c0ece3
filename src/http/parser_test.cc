// SPDX-License-Identifier: Apache-2.0
#include "http/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::http {
namespace {

using testing::HasSubstr;

Parser request_parser(ParserLimits limits = {}) { return {Parser::Kind::kRequest, limits}; }

TEST(HttpParser, ReadsARequestWithABody) {
  Parser parser = request_parser();
  const std::string bytes =
      "PUT /drives/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{\"a\"rest";
  const auto used = parser.feed(bytes);
  ASSERT_TRUE(used);
  EXPECT_EQ(bytes.substr(*used), "rest");
  ASSERT_TRUE(parser.done());
  const Request request = parser.take_request();
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "/drives/a");
  EXPECT_EQ(request.body, "{\"a\"");
  EXPECT_EQ(header(request.headers, "host"), "x");
  EXPECT_TRUE(request.keep_alive);
}

TEST(HttpParser, ReadsBytesOneByOne) {
  Parser parser = request_parser();
  const std::string bytes =
      "PATCH /vm HTTP/1.1\r\nX-Long-Name: some value\r\nContent-Length: 2\r\n\r\n{}";
  for (const char byte : bytes) {
    ASSERT_FALSE(parser.done());
    ASSERT_EQ(parser.feed(std::string_view(&byte, 1)).value(), 1U);
  }
  ASSERT_TRUE(parser.done());
  const Request request = parser.take_request();
  EXPECT_EQ(header(request.headers, "X-Long-Name"), "some value");
  EXPECT_EQ(request.body, "{}");
}

TEST(HttpParser, JoinsTheChunksOfABody) {
  Parser parser = request_parser();
  ASSERT_TRUE(
      parser.feed("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
                  "0\r\n\r\n"));
  ASSERT_TRUE(parser.done());
  EXPECT_EQ(parser.take_request().body, "abcde");
}

TEST(HttpParser, TakesOneMessageAfterTheOther) {
  Parser parser = request_parser();
  const std::string two = "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
  const std::size_t first = parser.feed(two).value();
  EXPECT_EQ(parser.take_request().target, "/a");
  EXPECT_FALSE(parser.in_message());
  EXPECT_EQ(parser.feed(two.substr(first)).value(), two.size() - first);
  EXPECT_EQ(parser.take_request().target, "/b");
}

TEST(HttpParser, RefusesABodyThatIsAnnouncedTooLargeBeforeItComes) {
  Parser parser = request_parser({.head_bytes = 1024, .body_bytes = 10});
  const auto fed = parser.feed("PUT /a HTTP/1.1\r\nContent-Length: 11\r\n\r\n");
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code(), Errc::kLimit);
  EXPECT_THAT(fed.error().message(), HasSubstr("size 11 is larger than the limit of 10"));
}

TEST(HttpParser, TakesABodyOfExactlyTheLimit) {
  Parser parser = request_parser({.head_bytes = 1024, .body_bytes = 10});
  ASSERT_TRUE(parser.feed("PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789"));
  EXPECT_TRUE(parser.done());
}

TEST(HttpParser, RefusesChunksThatGrowTooLarge) {
  Parser parser = request_parser({.head_bytes = 1024, .body_bytes = 10});
  ASSERT_TRUE(
      parser.feed("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n"));
  const auto fed = parser.feed("3\r\n012\r\n");
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code(), Errc::kLimit);
}

TEST(HttpParser, RefusesHeadersWithoutEnd) {
  Parser parser = request_parser({.head_bytes = 256, .body_bytes = 10});
  ASSERT_TRUE(parser.feed("GET / HTTP/1.1\r\n"));
  Result<std::size_t> fed = std::size_t{0};
  for (int i = 0; fed && i < 100; ++i) fed = parser.feed("X-Header: 0123456789\r\n");
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code(), Errc::kLimit);
}

TEST(HttpParser, CountsHeadersAlikeHoweverTheyArrive) {
  // 2 of target, 7 + 4 for each header.
  const std::string bytes = "GET /a HTTP/1.1\r\nA: 012345\r\nB: 012345\r\n\r\n";
  Parser parser = request_parser({.head_bytes = 24, .body_bytes = 10});
  for (const char byte : bytes) ASSERT_TRUE(parser.feed(std::string_view(&byte, 1)));
  EXPECT_TRUE(parser.done());
  Parser smaller = request_parser({.head_bytes = 23, .body_bytes = 10});
  EXPECT_FALSE(smaller.feed(bytes));
}

TEST(HttpParser, RefusesATargetThatIsTooLong) {
  Parser parser = request_parser({.head_bytes = 256, .body_bytes = 10});
  const auto fed = parser.feed("GET /" + std::string(300, 'a'));
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code(), Errc::kLimit);
}

TEST(HttpParser, RefusesWhatIsNotHttp) {
  const std::string_view inputs[] = {"hello\r\n\r\n",
                                     "BREW / HTTP/1.1\r\n\r\n",
                                     "GET / HTTP/2.0\r\n\r\n",
                                     "GET /\r\n\r\n",
                                     "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                                     "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"};
  for (const std::string_view input : inputs) {
    Parser parser = request_parser();
    const auto fed = parser.feed(input);
    ASSERT_FALSE(fed) << input;
    EXPECT_EQ(fed.error().code(), Errc::kInvalidArgument);
  }
}

TEST(HttpParser, RefusesALengthAndChunksAtOnce) {
  Parser parser = request_parser();
  EXPECT_FALSE(
      parser.feed("PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

TEST(HttpParser, RefusesTwoLengths) {
  Parser parser = request_parser();
  EXPECT_FALSE(parser.feed("PUT / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"));
}

TEST(HttpParser, KeepsItsErrorWhenFedOnwards) {
  Parser parser = request_parser();
  ASSERT_FALSE(parser.feed("nonsense\r\n"));
  EXPECT_FALSE(parser.feed("GET / HTTP/1.1\r\n\r\n"));
}

TEST(HttpParser, DoesNotFollowAnUpgrade) {
  Parser parser = request_parser();
  const std::string head = "PUT / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n";
  ASSERT_TRUE(parser.feed(head + "Content-Length: 2\r\n\r\n{}"));
  ASSERT_TRUE(parser.done());
  EXPECT_EQ(parser.take_request().body, "{}");
}

TEST(HttpParser, TellsOnceThatTheClientWaitsBeforeItsBody) {
  Parser parser = request_parser();
  ASSERT_TRUE(parser.feed("PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_TRUE(parser.take_expects_continue());
  EXPECT_FALSE(parser.take_expects_continue());
}

TEST(HttpParser, KnowsWhetherTheConnectionStays) {
  Parser parser = request_parser();
  ASSERT_TRUE(parser.feed("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"));
  EXPECT_FALSE(parser.take_request().keep_alive);
  Parser old = request_parser();
  ASSERT_TRUE(old.feed("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_FALSE(old.take_request().keep_alive);
}

TEST(HttpParser, AnEndInTheMiddleOfAMessageIsAnError) {
  Parser parser = request_parser();
  ASSERT_TRUE(parser.finish());
  Parser begun = request_parser();
  ASSERT_TRUE(begun.feed("GET / HT"));
  EXPECT_TRUE(begun.in_message());
  EXPECT_FALSE(begun.finish());
}

TEST(HttpParser, ReadsAResponseAndSkipsProvisionalOnes) {
  Parser parser(Parser::Kind::kResponse, {});
  std::string_view bytes =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
      "Content-Length: 2\r\n\r\n[]";
  ASSERT_EQ(parser.feed(bytes).value(), bytes.size());
  ASSERT_TRUE(parser.done());
  const Response response = parser.take_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "[]");
  EXPECT_EQ(response.content_type, "application/json");
}

TEST(HttpParser, AResponseWithoutALengthEndsWithTheStream) {
  Parser parser(Parser::Kind::kResponse, {});
  ASSERT_TRUE(parser.feed("HTTP/1.1 200 OK\r\n\r\nall of it"));
  EXPECT_FALSE(parser.done());
  ASSERT_TRUE(parser.finish());
  ASSERT_TRUE(parser.done());
  EXPECT_EQ(parser.take_response().body, "all of it");
}

TEST(HttpParser, A204HasNoBody) {
  Parser parser(Parser::Kind::kResponse, {});
  ASSERT_TRUE(parser.feed("HTTP/1.1 204 \r\nServer: Firecracker API\r\n\r\n"));
  ASSERT_TRUE(parser.done());
  EXPECT_EQ(parser.take_response().status, 204);
}

TEST(HttpMessage, ErrorsAreJsonWhateverTheirText) {
  EXPECT_EQ(error_response(400, "a \"b\"\n\\").body, R"({"error":"a \"b\"\u000a\\"})");
}

TEST(HttpMessage, A204IsSentWithoutLengthAndBody) {
  Response response;
  response.status = 204;
  EXPECT_EQ(serialize(response, "mvm", true),
            "HTTP/1.1 204 No Content\r\nServer: mvm\r\nConnection: keep-alive\r\n\r\n");
}

TEST(HttpMessage, WhatIsSentIsWhatIsRead) {
  Request sent;
  sent.method = "PUT";
  sent.target = "/mmds";
  sent.headers.push_back({"X-A", "b"});
  sent.body = "{\"k\":1}";
  Parser parser = request_parser();
  ASSERT_TRUE(parser.feed(serialize(sent)));
  ASSERT_TRUE(parser.done());
  const Request read = parser.take_request();
  EXPECT_EQ(read.body, sent.body);
  EXPECT_EQ(header(read.headers, "x-a"), "b");
}

}  // namespace
}  // namespace mvm::http
