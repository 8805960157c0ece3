// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

std::string parse_error(std::string_view text) {
  const Result<Fields> fields = Fields::parse(text);
  return fields ? "" : fields.error().message();
}

TEST(Fields, ReadsEveryKindOfField) {
  Fields fields = Fields::parse(R"({"t":"x","b":true,"n":7,"l":["a","b"],"m":{"k":"v"},
                                    "c":"Two","o":{"i":1},"os":[{},{}]})")
                      .value();
  constexpr std::string_view kChoices[] = {"One", "Two"};
  EXPECT_EQ(fields.text("t", Need::kRequired), "x");
  EXPECT_EQ(fields.boolean("b", Need::kRequired), true);
  EXPECT_EQ(fields.number("n", 7, Need::kRequired), 7U);
  EXPECT_THAT(fields.texts("l", Need::kRequired).value(), testing::ElementsAre("a", "b"));
  EXPECT_EQ(fields.text_map("m", Need::kRequired).value().at("k"), "v");
  EXPECT_EQ(fields.choice("c", kChoices, Need::kRequired), 1U);
  Fields inner = fields.object("o", Need::kRequired).value();
  EXPECT_EQ(inner.number("i", 9, Need::kRequired), 1U);
  EXPECT_TRUE(inner.finish());
  EXPECT_EQ(fields.objects("os", Need::kRequired).size(), 2U);
  EXPECT_TRUE(fields.finish());
}

TEST(Fields, NamesAFieldThatNobodyAskedFor) {
  Fields fields = Fields::parse(R"({"known":1,"strange":2})").value();
  fields.number("known", 9, Need::kRequired);
  EXPECT_EQ(fields.finish().error().message(), "unknown field `strange`, expected one of `known`");
}

TEST(Fields, NamesAnUnknownFieldOfAnInnerObject) {
  Fields fields = Fields::parse(R"({"inner":{"strange":2}})").value();
  Fields inner = fields.object("inner", Need::kRequired).value();
  EXPECT_FALSE(inner.finish());
  EXPECT_THAT(fields.finish().error().message(), HasSubstr("`strange`"));
}

TEST(Fields, NamesAMissingField) {
  Fields fields = Fields::parse("{}").value();
  EXPECT_FALSE(fields.text("path", Need::kRequired));
  EXPECT_EQ(fields.finish().error().message(), "missing field `path`");
}

TEST(Fields, NullIsAbsentOnlyWhereItMayBe) {
  Fields optional = Fields::parse(R"({"a":null})").value();
  EXPECT_FALSE(optional.text("a", Need::kOptional));
  EXPECT_TRUE(optional.finish());
  Fields defaulted = Fields::parse(R"({"a":null})").value();
  EXPECT_FALSE(defaulted.boolean("a", Need::kDefault));
  EXPECT_THAT(defaulted.finish().error().message(), HasSubstr("`a`: null, expected a boolean"));
}

TEST(Fields, SaysWhichTypeItExpected) {
  Fields fields = Fields::parse(R"({"a":1})").value();
  EXPECT_FALSE(fields.text("a", Need::kRequired));
  EXPECT_EQ(fields.finish().error().message(),
            "invalid type of field `a`: number, expected a string");
}

TEST(Fields, NumbersAreWholeAndInRange) {
  for (const std::string_view text : {R"({"n":256})", R"({"n":-1})", R"({"n":1.0})", R"({"n":1e2})",
                                      R"({"n":99999999999999999999})", R"({"n":"1"})"}) {
    Fields fields = Fields::parse(text).value();
    EXPECT_FALSE(fields.number("n", 255, Need::kRequired)) << text;
    EXPECT_THAT(fields.finish().error().message(), HasSubstr("from 0 to 255")) << text;
  }
}

TEST(Fields, ListsTheChoices) {
  constexpr std::string_view kChoices[] = {"Full", "Diff"};
  Fields fields = Fields::parse(R"({"kind":"full"})").value();
  EXPECT_FALSE(fields.choice("kind", kChoices, Need::kRequired));
  EXPECT_EQ(fields.finish().error().message(),
            "unknown variant `full` of field `kind`, expected one of `Full`, `Diff`");
}

TEST(Fields, KeepsTheFirstError) {
  Fields fields = Fields::parse(R"({"a":1,"b":2})").value();
  fields.text("a", Need::kRequired);
  EXPECT_FALSE(fields.number("b", 9, Need::kRequired));
  fields.fail(Error(Errc::kUnsupported, "later"));
  EXPECT_THAT(fields.finish().error().message(), HasSubstr("`a`"));
}

TEST(Fields, RefusesAKeyThatComesTwice) {
  EXPECT_EQ(parse_error(R"({"a":1,"a":1})"), "duplicate field `a`");
  EXPECT_EQ(parse_error(R"({"o":{"b":1,"b":1}})"), "duplicate field `b`");
  EXPECT_EQ(parse_error(R"({"o":{"a":1},"p":[{"a":1},{"a":1}]})"), "");
}

TEST(Fields, RefusesDeepNesting) {
  const std::string deepest(kMaxJsonDepth - 1, '[');
  const std::string closed(kMaxJsonDepth - 1, ']');
  EXPECT_EQ(parse_error(R"({"a":)" + deepest + closed + "}"), "");
  EXPECT_THAT(parse_error(R"({"a":[)" + deepest + closed + "]}"), HasSubstr("nested deeper"));
  EXPECT_NE(parse_error(R"({"a":)" + std::string(100'000, '[')), "");
}

TEST(Fields, RefusesWhatIsNotOneJsonObject) {
  EXPECT_THAT(parse_error(""), HasSubstr("parse error"));
  EXPECT_THAT(parse_error("{"), HasSubstr("parse error"));
  EXPECT_THAT(parse_error("{} {}"), HasSubstr("parse error"));
  EXPECT_THAT(parse_error("{}x"), HasSubstr("parse error"));
  EXPECT_THAT(parse_error("{\"a\":\"\xff\"}"), HasSubstr("UTF-8"));
  EXPECT_THAT(parse_error("{'a':1}"), HasSubstr("parse error"));
  EXPECT_THAT(parse_error("{\"a\":1,}"), HasSubstr("parse error"));
  EXPECT_THAT(parse_error("\xef\xbb\xbf{}"), HasSubstr("byte order mark"));
  EXPECT_EQ(parse_error("[]"), "invalid type: array, expected object");
  EXPECT_EQ(parse_error("null"), "invalid type: null, expected object");
}

TEST(Fields, DoesNotRepeatTheTextOfMalformedJson) {
  const std::string message = parse_error(R"({"password": hunter2})");
  EXPECT_THAT(message, HasSubstr("column"));
  EXPECT_THAT(message, testing::Not(HasSubstr("hunter")));
}

TEST(Fields, NormalizesAnObjectOfAnyFields) {
  EXPECT_EQ(normalized_object(R"( { "b" : [1, 2.5, null] , "a":"ä" } )").value(),
            R"({"a":"ä","b":[1,2.5,null]})");
  EXPECT_FALSE(normalized_object("[]"));
}

}  // namespace
}  // namespace mvm::vmm
