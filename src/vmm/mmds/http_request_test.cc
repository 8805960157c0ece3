// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/http_request.h"

#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

HttpRequest parse(std::string_view bytes) { return parse_http_request(bytes).value().value(); }

TEST(HttpRequest, HasMethodPathAndHeaders) {
  const std::string text =
      "GET /latest/meta-data?x=1 HTTP/1.1\r\nHost: a\r\nX-Metadata-Token:  t \r\n\r\n";
  const HttpRequest request = parse(text);
  EXPECT_EQ(request.method, HttpRequest::Method::kGet);
  EXPECT_EQ(request.path, "/latest/meta-data");
  EXPECT_EQ(request.minor_version, 1);
  EXPECT_TRUE(request.keep_alive);
  ASSERT_NE(request.header("x-metadata-token"), nullptr);
  EXPECT_EQ(*request.header("x-metadata-token"), "t ");
  EXPECT_EQ(request.header("Accept"), nullptr);
  EXPECT_EQ(request.consumed, text.size());
}

TEST(HttpRequest, TakesThePathOfAnAbsoluteTarget) {
  EXPECT_EQ(parse("GET http://169.254.169.254/a/b HTTP/1.1\r\n\r\n").path, "/a/b");
}

TEST(HttpRequest, EndsWhereTheNextOneBegins) {
  const std::string first = "PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
  const HttpRequest request = parse(first + "GET /b HTTP/1.1\r\n\r\n");
  EXPECT_EQ(request.consumed, first.size());
  EXPECT_EQ(request.method, HttpRequest::Method::kPut);
}

TEST(HttpRequest, IsNotThereBeforeItsLastByte) {
  const std::string text = "PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(parse_http_request(text.substr(0, size)).value().has_value()) << size;
  EXPECT_TRUE(parse_http_request(text).value().has_value());
}

TEST(HttpRequest, ClosesAsTheClientsVersionSays) {
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").keep_alive);
}

TEST(HttpRequest, IgnoresAnOfferToUpgrade) {
  const HttpRequest request =
      parse("GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
  EXPECT_EQ(request.path, "/a");
}

class NotHttp : public ::testing::TestWithParam<const char*> {};

TEST_P(NotHttp, IsRefused) {
  const auto parsed = parse_http_request(GetParam());
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code(), Errc::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Streams, NotHttp,
                         ::testing::Values("hello\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/x\r\n\r\n",
                                           "GET / HTTP/1.1\r\nbad header\r\n\r\n",
                                           "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                                           "\x16\x03\x01\x02"));

}  // namespace
}  // namespace mvm::vmm
