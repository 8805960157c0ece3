// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/mmds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

using std::chrono::seconds;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Clock::time_point kNow = Clock::time_point(seconds(1000));
constexpr const char* kDocument = R"({
  "age": 43, "name": {"first": "John", "second": "Doe"},
  "phones": {"home": ["+1", "+2"], "mobile": "+3"}, "a/b": {"~": "odd"}})";

std::string body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

class MmdsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(mmds_.put(kDocument)); }
  std::string ask(const std::string& line, const std::string& headers = "") {
    return mmds_.respond(line + " HTTP/1.1\r\n" + headers + "\r\n", now_)->bytes;
  }
  std::string get(const std::string& path, const std::string& headers = "") {
    return ask("GET " + path, headers);
  }
  std::string token(const std::string& header = "X-metadata-token-ttl-seconds") {
    return body(ask("PUT /latest/api/token", header + ": 60\r\n"));
  }
  Mmds mmds_;
  Clock::time_point now_ = kNow;
};

constexpr const char* kJson = "Accept: application/json\r\n";

TEST_F(MmdsTest, AnswersWithAWholeHttpResponse) {
  EXPECT_EQ(get("/name/first"),
            "HTTP/1.1 200 OK\r\nServer: mvm-vmm\r\nConnection: keep-alive\r\n"
            "Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nJohn");
}

TEST_F(MmdsTest, ListsTheKeysOfAnObjectLikeEc2) {
  EXPECT_EQ(body(get("/")), "a/b/\nage\nname/\nphones/");
  EXPECT_EQ(body(get("/name")), "first\nsecond");
  EXPECT_EQ(body(get("/name", "Accept: */*\r\n")), "first\nsecond");
}

TEST_F(MmdsTest, GivesJsonToWhoAcceptsIt) {
  const std::string answer = get("/name", kJson);
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_EQ(body(answer), R"({"first":"John","second":"Doe"})");
  EXPECT_EQ(body(get("/age", kJson)), "43");
  EXPECT_EQ(body(get("/phones/home/1", kJson)), "\"+2\"");
}

TEST_F(MmdsTest, CannotListNumbersAndArrays) {
  EXPECT_THAT(get("/age"), StartsWith("HTTP/1.1 501 "));
  EXPECT_THAT(get("/phones/home"), StartsWith("HTTP/1.1 501 "));
}

TEST_F(MmdsTest, ListsForEverybodyWhenCompatibleWithEc2) {
  mmds_.configure({.session_tokens = false, .imds_compat = true});
  EXPECT_EQ(body(get("/name", kJson)), "first\nsecond");
}

TEST_F(MmdsTest, LooksOverDoubledAndTrailingSlashes) {
  EXPECT_EQ(body(get("//name///first/")), "John");
  EXPECT_EQ(body(get("http://169.254.169.254/name/first")), "John");
}

TEST_F(MmdsTest, ReadsThePathAsAJsonPointer) { EXPECT_EQ(body(get("/a~1b/~0")), "odd"); }

TEST_F(MmdsTest, SaysWhatItDoesNotHave) {
  for (const char* path : {"/nothing", "/name/first/x", "/phones/home/2", "/phones/home/-",
                           "/phones/home/01", "/phones/home/99999999999999999999", "/~", "/~7"})
    EXPECT_THAT(get(path), StartsWith("HTTP/1.1 404 ")) << path;
  EXPECT_EQ(body(get("/nothing")), "there is no resource /nothing");
}

TEST_F(MmdsTest, AllowsGetAndPutOnly) {
  for (const char* method : {"POST", "DELETE", "PATCH", "OPTIONS"}) {
    const std::string answer = ask(std::string(method) + " /name");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 ")) << method;
    EXPECT_THAT(answer, HasSubstr("\r\nAllow: GET, PUT\r\n"));
  }
  EXPECT_THAT(ask("HEAD /name"), EndsWith("\r\n\r\n"));
}

TEST_F(MmdsTest, RefusesWhatIsNotHttpAndCloses) {
  const auto answer = mmds_.respond("rubbish\r\n\r\n", kNow);
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->bytes, StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(answer->close);
  EXPECT_EQ(answer->consumed, 11U);
  EXPECT_EQ(mmds_.stats().malformed, 1U);
}

TEST_F(MmdsTest, WaitsForTheRestOfARequest) {
  EXPECT_FALSE(mmds_.respond("", kNow));
  EXPECT_FALSE(mmds_.respond("GET /name HTTP/1.1\r\n", kNow));
  EXPECT_EQ(mmds_.stats().requests, 0U);
}

TEST_F(MmdsTest, AnswersAnOldClientInItsVersionAndCloses) {
  const auto answer = mmds_.respond("GET /age HTTP/1.0\r\n\r\n", kNow);
  EXPECT_THAT(answer->bytes, StartsWith("HTTP/1.0 501 "));
  EXPECT_THAT(answer->bytes, HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_TRUE(answer->close);
}

TEST_F(MmdsTest, NeedsNoTokenInVersionOneButCounts) {
  EXPECT_EQ(body(get("/name/first")), "John");
  EXPECT_EQ(body(get("/name/first", "X-metadata-token: wrong\r\n")), "John");
  EXPECT_EQ(body(get("/name/first", "X-metadata-token: " + token() + "\r\n")), "John");
  EXPECT_EQ(mmds_.stats().no_token, 1U);
  EXPECT_EQ(mmds_.stats().invalid_token, 1U);
}

class MmdsV2Test : public MmdsTest {
 protected:
  void SetUp() override {
    MmdsTest::SetUp();
    mmds_.configure({.session_tokens = true, .imds_compat = false});
  }
};

TEST_F(MmdsV2Test, GivesNothingWithoutAToken) {
  EXPECT_THAT(get("/name/first"), StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(get("/name/first", "X-metadata-token: wrong\r\n"), StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(get("/nothing"), StartsWith("HTTP/1.1 401 "));
}

TEST_F(MmdsV2Test, TakesATokenByBothNamesInAnyCase) {
  const std::string value = token();
  for (const char* name : {"X-metadata-token", "X-aws-ec2-metadata-token", "x-METADATA-token"})
    EXPECT_EQ(body(get("/name/first", std::string(name) + ": " + value + "\r\n")), "John") << name;
}

TEST_F(MmdsV2Test, NamesTheLifeTimeInItsAnswerAsItWasAsked) {
  EXPECT_THAT(ask("PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 77\r\n"),
              HasSubstr("\r\nX-aws-ec2-metadata-token-ttl-seconds: 77\r\n"));
}

TEST_F(MmdsV2Test, RefusesATokenThatHasExpired) {
  const std::string header = "X-metadata-token: " + token() + "\r\n";
  now_ += seconds(59);
  EXPECT_EQ(body(get("/name/first", header)), "John");
  now_ += seconds(1);
  EXPECT_THAT(get("/name/first", header), StartsWith("HTTP/1.1 401 "));
}

TEST_F(MmdsV2Test, IssuesTokensForOneSecondToSixHours) {
  const auto status = [&](const std::string& seconds_text) {
    return ask("PUT /latest/api/token", "X-metadata-token-ttl-seconds: " + seconds_text + "\r\n")
        .substr(9, 3);
  };
  EXPECT_EQ(status("1"), "200");
  EXPECT_EQ(status("21600"), "200");
  for (const char* wrong : {"0", "21601", "-1", "1x", "", "4294967297", "1.5"})
    EXPECT_EQ(status(wrong), "400") << wrong;
  EXPECT_THAT(ask("PUT /latest/api/token"), StartsWith("HTTP/1.1 400 "));
}

TEST_F(MmdsV2Test, IssuesNoTokenToAProxy) {
  EXPECT_THAT(ask("PUT /latest/api/token",
                  "X-metadata-token-ttl-seconds: 60\r\nx-forwarded-for: 10.0.0.1\r\n"),
              StartsWith("HTTP/1.1 400 "));
}

TEST_F(MmdsV2Test, TakesNoOtherPut) {
  EXPECT_THAT(ask("PUT /name", "X-metadata-token-ttl-seconds: 60\r\n"),
              StartsWith("HTTP/1.1 404 "));
}

TEST(MmdsStore, IsNullUntilSomethingIsPut) {
  Mmds mmds;
  EXPECT_EQ(mmds.get(), "null");
  EXPECT_EQ(mmds.patch("{}").error().code(), Errc::kNotFound);
  EXPECT_THAT(mmds.respond("GET / HTTP/1.1\r\n\r\n", kNow)->bytes, StartsWith("HTTP/1.1 501 "));
}

TEST(MmdsStore, IsReplacedByPutAndMergedByPatch) {
  Mmds mmds;
  ASSERT_TRUE(mmds.put(R"({"a": 1, "b": {"c": 2, "d": 3}})"));
  ASSERT_TRUE(mmds.patch(R"({"a": null, "b": {"c": [4]}, "e": {"f": null}})"));
  EXPECT_EQ(mmds.get(), R"({"b":{"c":[4],"d":3},"e":{}})");
  ASSERT_TRUE(mmds.put(R"({"z":0})"));
  EXPECT_EQ(mmds.get(), R"({"z":0})");
}

// Source: RFC 7396, appendix A.
struct Merge {
  const char* original;
  const char* patch;
  const char* result;
};
class MmdsMerge : public ::testing::TestWithParam<Merge> {};

TEST_P(MmdsMerge, IsThatOfTheRfc) {
  Mmds mmds;
  ASSERT_TRUE(mmds.put(GetParam().original));
  ASSERT_TRUE(mmds.patch(GetParam().patch));
  EXPECT_EQ(mmds.get(), GetParam().result);
}

INSTANTIATE_TEST_SUITE_P(
    Rfc7396, MmdsMerge,
    ::testing::Values(Merge{R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
                      Merge{R"({"a":"b"})", R"({"a":null})", "{}"},
                      Merge{R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
                      Merge{R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
                      Merge{R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
                      Merge{R"(["a","b"])", R"(["c","d"])", R"(["c","d"])"},
                      Merge{R"({"a":"b"})", R"(["c"])", R"(["c"])"},
                      Merge{R"({"a":"foo"})", "null", "null"},
                      Merge{R"({"e":null})", R"({"a":1})", R"({"a":1,"e":null})"},
                      Merge{"[1,2]", R"({"a":"b","c":null})", R"({"a":"b"})"},
                      Merge{"{}", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"}));

TEST(MmdsStore, KeepsWhatItHasWhenAChangeIsTooLarge) {
  Mmds mmds(Bytes{20});
  ASSERT_TRUE(mmds.put(R"(  {"a" :  "0123456789"}  )"));
  EXPECT_EQ(mmds.put(R"({"a":"01234567890123"})").error().code(), Errc::kLimit);
  const auto patched = mmds.patch(R"({"b":1})");
  ASSERT_FALSE(patched);
  EXPECT_EQ(patched.error().text(), "metadata is larger than 20 bytes");
  EXPECT_EQ(mmds.get(), R"({"a":"0123456789"})");
}

TEST(MmdsStore, RefusesWhatIsNotJson) {
  Mmds mmds;
  for (const char* text : {"", "{", "{'a':1}", "{\"a\":1} x", "nul", "\"\xff\""})
    EXPECT_EQ(mmds.put(text).error().code(), Errc::kInvalidArgument) << text;
}

TEST(MmdsStore, RefusesDocumentsThatAreNestedTooDeep) {
  Mmds mmds;
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(mmds.put(nested(128)));
  EXPECT_THAT(mmds.put(nested(130)).error().text(), HasSubstr("nested deeper than 128"));
  EXPECT_FALSE(mmds.put(nested(25'000)));
}

}  // namespace
}  // namespace mvm::vmm
