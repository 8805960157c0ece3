// SPDX-License-Identifier: Apache-2.0
#include "docker/container.h"

#include <gmock/gmock.h>

namespace mvm::docker {
namespace {

using testing::HasSubstr;

TEST(Order, IsReadWhole) {
  const Order order = parse_order(R"({"schema":1,"name":"mvm-1","lock":"/run/1/lock",
      "image":{"digest":"ab","path":"/a"},"create":{"User":"0:0"}})")
                          .value();
  EXPECT_EQ(order.name, "mvm-1");
  EXPECT_EQ(order.lock, "/run/1/lock");
  EXPECT_EQ(order.digest, "ab");
  EXPECT_EQ(order.image, "/a");
  EXPECT_EQ(order.create, R"({"User":"0:0"})");
}

TEST(Order, OfAnotherKindIsRefused) {
  for (const char* text :
       {"", "[]", "{}",
        R"({"schema":2,"name":"n","lock":"l","image":{"digest":"d","path":"p"},"create":{}})",
        R"({"schema":1,"name":"n","lock":"l","image":{"digest":"d"},"create":{}})",
        R"({"schema":1,"name":"n","lock":"l","image":{"digest":"d","path":"p"},"create":[]})"})
    EXPECT_EQ(parse_order(text).error().code(), Errc::kInvalidArgument) << text;
}

std::string piece(char stream, std::string_view text) {
  std::string out = {stream, 0, 0, 0, 0, 0, 0, static_cast<char>(text.size())};
  return out.append(text);
}

TEST(LogText, LeavesTheHeadsOutHoweverTheBytesCome) {
  const std::string bytes = piece(1, "one\n") + piece(2, "") + piece(2, "two\n");
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    LogText log;
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += step)
      text += log.feed(std::string_view(bytes).substr(at, step));
    EXPECT_EQ(text, "one\ntwo\n") << "in steps of " << step;
  }
}

TEST(Failure, HasTheDaemonsWordsAndTheirKind) {
  EXPECT_THAT(
      failure("making it", {500, R"({"message":"driver failed: port is already allocated"})"})
          .text(),
      HasSubstr("making it: driver failed"));
  EXPECT_EQ(failure("it", {500, R"({"message":"port is already allocated"})"}).code(), Errc::kBusy);
  EXPECT_EQ(failure("it", {500, R"({"message":"write /x: no space left on device"})"}).code(),
            Errc::kNoSpace);
  EXPECT_EQ(failure("it", {404, "garbage"}).code(), Errc::kNotFound);
  EXPECT_EQ(message_of({502, "garbage"}), "status 502");
}

}  // namespace
}  // namespace mvm::docker
