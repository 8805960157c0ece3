// SPDX-License-Identifier: Apache-2.0
#include "spec/toml_types.h"

#include <gmock/gmock.h>

namespace mvm::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

enum class Colour { kRed, kBlue };

struct Wheel {
  std::uint32_t spokes = 0;
};

struct Cart {
  std::string owner;
  Colour colour = Colour::kRed;
  std::vector<std::string> goods;
  std::vector<Wheel> wheels;
  Named<std::string> labels;
  Bytes load;
  std::optional<Millis> rest;
  bool covered = false;
};

Type<Cart> cart() {
  const auto wheel =
      table<Wheel>({field("spokes", &Wheel::spokes, number(3, 64), "how many", Need::kRequired)});
  return table<Cart>({
      field("owner", &Cart::owner, text(), "whose it is"),
      field("colour", &Cart::colour,
            choice<Colour>({{"red", Colour::kRed}, {"blue", Colour::kBlue}}), "its paint"),
      field("goods", &Cart::goods, list(text()), "what is on it"),
      field("wheels", &Cart::wheels, list(wheel), "its wheels"),
      field("labels", &Cart::labels, named(text()), "anything"),
      field("load", &Cart::load, size(), "what it bears"),
      field("rest", &Cart::rest, duration(), "between two ways"),
      field("covered", &Cart::covered, flag(), "against rain"),
  });
}

Cart read(std::string_view text) { return read_document(cart(), text, "cart.toml").value(); }
Error refused(std::string_view text) { return read_document(cart(), text, "cart.toml").error(); }

TEST(TomlTypes, ReadsEveryKindOfValue) {
  const Cart cart = read(R"(
owner = "ann"
colour = "blue"
goods = ["hay", "milk"]
load = "2K"
rest = "5m"
covered = true
labels = { z = "last letter", a = "first" }
[[wheels]]
spokes = 8
[[wheels]]
spokes = 9
)");
  EXPECT_EQ(cart.owner, "ann");
  EXPECT_EQ(cart.colour, Colour::kBlue);
  EXPECT_THAT(cart.goods, ElementsAre("hay", "milk"));
  EXPECT_EQ(cart.load, kibibytes(2));
  EXPECT_EQ(cart.rest, Millis(300'000));
  EXPECT_TRUE(cart.covered);
  EXPECT_THAT(cart.labels, ElementsAre(Pair("a", "first"), Pair("z", "last letter")));
  ASSERT_EQ(cart.wheels.size(), 2U);
  EXPECT_EQ(cart.wheels[1].spokes, 9U);
}

TEST(TomlTypes, WhatIsNotGivenKeepsItsDefault) {
  const Cart cart = read("");
  EXPECT_EQ(cart.colour, Colour::kRed);
  EXPECT_FALSE(cart.rest.has_value());
}

TEST(TomlTypes, AnErrorSaysFileLineColumnAndPath) {
  EXPECT_EQ(refused("owner = \"ann\"\n\n  [[wheels]]\n  spokes = 2\n").text(),
            "cart.toml:4:12: wheels[0].spokes: 2 is not between 3 and 64");
  EXPECT_EQ(refused("goods = [\"hay\", 7]").text(),
            "cart.toml:1:17: goods[1]: must be a text in quotes");
  EXPECT_EQ(refused("labels = { a = 1 }").text(),
            "cart.toml:1:16: labels.a: must be a text in quotes");
}

TEST(TomlTypes, AnUnknownKeyIsRefusedWithTheNearest) {
  const Error error = refused("colour = \"red\"\nownr = \"ann\"");
  EXPECT_EQ(error.text(), "cart.toml:2:1: there is no key 'ownr'");
  EXPECT_EQ(error.hint(), "did you mean owner?");
}

TEST(TomlTypes, AKeyLikeNoOtherIsRefusedWithAllThereAre) {
  const Error error = refused("[[wheels]]\nspokes = 3\nqqqqq = 1");
  EXPECT_EQ(error.text(), "cart.toml:3:1: wheels[0]: there is no key 'qqqqq'");
  EXPECT_EQ(error.hint(), "choose one of spokes");
}

TEST(TomlTypes, AMissingKeyIsNamed) {
  EXPECT_EQ(refused("[[wheels]]").text(), "cart.toml:1:1: wheels[0]: 'spokes' is missing");
}

TEST(TomlTypes, AWrongTypeIsSaidForEachKind) {
  EXPECT_THAT(refused("owner = 1").text(), HasSubstr("owner: must be a text in quotes"));
  EXPECT_THAT(refused("goods = \"hay\"").text(), HasSubstr("goods: must be a list"));
  EXPECT_THAT(refused("labels = []").text(), HasSubstr("labels: must be a table"));
  EXPECT_THAT(refused("wheels = [1]").text(), HasSubstr("wheels[0]: must be a table"));
  EXPECT_THAT(refused("covered = \"yes\"").text(), HasSubstr("covered: must be true or false"));
  EXPECT_THAT(refused("[[wheels]]\nspokes = 3.5").text(), HasSubstr("must be a whole number"));
  EXPECT_THAT(refused("colour = \"green\"").text(), HasSubstr("'green' is none of red, blue"));
}

TEST(TomlTypes, AQuantityNeedsAUnitItKnows) {
  EXPECT_EQ(refused("load = 512").text(), "cart.toml:1:8: load: has no unit");
  EXPECT_EQ(refused("load = 512").hint(), "write it as a text with one: \"512M\"");
  EXPECT_THAT(refused("load = \"12 parsec\"").text(), HasSubstr("12 parsec"));
  EXPECT_THAT(refused("rest = \"9y\"").text(), HasSubstr("9y"));
}

TEST(TomlTypes, ABrokenDocumentIsRefusedWhereItBreaks) {
  EXPECT_THAT(refused("owner = \"ann\"\ncolour = = 1").text(), HasSubstr("cart.toml:2:10: "));
  EXPECT_THAT(refused("a = 1\na = 2").text(), HasSubstr("cart.toml:2:"));
  EXPECT_EQ(refused("\nowner = \"\xc3\xa4\"").text(),
            "cart.toml:2: only ASCII characters are allowed");
}

TEST(TomlTypes, AZeroByteInATextIsRefused) {
  EXPECT_THAT(refused("owner = \"a\\u0000b\"").text(), HasSubstr("holds a zero byte"));
}

TEST(TomlTypes, WhatWasReadAndIsWrittenReadsTheSame) {
  const Cart before = read(R"(
owner = "ann"
colour = "blue"
goods = ["hay"]
load = "2K"
rest = "1500ms"
labels = { a = "first" }
wheels = [{ spokes = 8 }]
)");
  const Json written = cart().write(before);
  EXPECT_EQ(written.dump(), R"({"owner":"ann","colour":"blue","goods":["hay"],)"
                            R"("wheels":[{"spokes":8}],"labels":{"a":"first"},)"
                            R"("load":"2048","rest":"1500ms"})");
  const Cart after = read_json(cart(), written.dump(), "cart.json").value();
  EXPECT_EQ(cart().write(after), written);
}

TEST(TomlTypes, JsonIsRefusedByTheSameRulesWithoutLines) {
  const auto refused_json = [](std::string_view text) {
    return read_json(cart(), text, "cart.json").error().text();
  };
  EXPECT_EQ(refused_json(R"({"wheels": [{"spokes": 2}]})"),
            "cart.json: wheels[0].spokes: 2 is not between 3 and 64");
  EXPECT_EQ(refused_json(R"({"goods": [null]})"), "cart.json: holds a null in a list");
  EXPECT_EQ(refused_json("[1]"), "cart.json: is no JSON object");
  EXPECT_EQ(refused_json(R"({"goods": )" + std::string(100, '[') + std::string(100, ']') + "}"),
            "cart.json: nests too deeply");
  EXPECT_TRUE(read_json(cart(), R"({"owner": null})", "cart.json").has_value());
}

TEST(TomlTypes, TheSchemaSaysTheSame) {
  const Json schema = cart().schema;
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"]["owner"]["description"], "whose it is");
  EXPECT_EQ(schema["properties"]["colour"]["enum"], Json({"red", "blue"}));
  EXPECT_EQ(schema["properties"]["wheels"]["items"]["required"], Json({"spokes"}));
  EXPECT_EQ(schema["properties"]["wheels"]["items"]["properties"]["spokes"]["minimum"], 3);
}

}  // namespace
}  // namespace mvm::spec
