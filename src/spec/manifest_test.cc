// SPDX-License-Identifier: Apache-2.0
#include "spec/manifest.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace mvm::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

Manifest read(std::string_view text) { return parse_manifest(text, "mvm.toml").value(); }
Error refused(std::string_view text) { return parse_manifest(text, "mvm.toml").error(); }
// Of a manifest that is whole but for this.
Error refused_in(const std::string& text, const std::string& source = "image = \"busybox\"") {
  return refused(text + "\n[source]\n" + source + "\n");
}

TEST(Manifest, TheSmallestNamesItsSource) {
  const Manifest m = read("[source]\nimage = \"busybox\"");
  EXPECT_EQ(m.source.kind, SourceSpec::Kind::kImage);
  EXPECT_EQ(m.source.what, "busybox");
  EXPECT_EQ(m.arch, Arch::kX86_64);
  EXPECT_EQ(m.seal, Seal::kDev);
  EXPECT_THAT(m.entrypoint, IsEmpty());
  EXPECT_EQ(m.resources.memory, mebibytes(512));
}

TEST(Manifest, HasEveryKey) {
  const Manifest m = read(R"(
name = "web"
target = "aarch64-linux"
seal = "sealed"
entrypoint = ["/usr/bin/web", "--verbose"]
env = { B = "2", A = "1" }
user = "www:www"
workdir = "/srv"
ports = ["8080:80", "0.0.0.0:53:53/udp"]
[source]
debian = "bookworm"
packages = ["python3", "curl"]
[resources]
vcpus = 4
memory = "2G"
disk = "16G"
[[files]]
path = "/etc/web.conf"
text = "port = 80\n"
mode = "0600"
[[files]]
path = "/srv/site"
from = "site"
[[volumes]]
name = "data"
path = "/var/lib/web"
size = "4G"
[health]
http = ":80/alive"
interval = "2s"
)");
  EXPECT_EQ(m.name, "web");
  EXPECT_EQ(m.arch, Arch::kAarch64);
  EXPECT_EQ(m.seal, Seal::kSealed);
  EXPECT_THAT(m.entrypoint, ElementsAre("/usr/bin/web", "--verbose"));
  EXPECT_THAT(m.env, ElementsAre(Pair("A", "1"), Pair("B", "2")));
  EXPECT_EQ(m.user, "www:www");
  EXPECT_EQ(m.working_dir, "/srv");
  ASSERT_EQ(m.ports.size(), 2U);
  EXPECT_EQ(m.ports[1].protocol, Protocol::kUdp);
  EXPECT_THAT(m.source.packages, ElementsAre("python3", "curl"));
  EXPECT_EQ(m.resources.vcpus, 4U);
  EXPECT_EQ(m.resources.disk, gibibytes(16));
  ASSERT_EQ(m.files.size(), 2U);
  EXPECT_EQ(m.files[0].text, "port = 80\n");
  EXPECT_EQ(m.files[0].mode, 0600U);
  EXPECT_EQ(m.files[1].from, "site");
  EXPECT_EQ(m.volumes.front().size, gibibytes(4));
  EXPECT_EQ(m.health->http, ":80/alive");
  EXPECT_EQ(m.health->interval, Millis(2000));
  const std::string json = manifest_to_json(m);
  EXPECT_EQ(manifest_to_json(manifest_from_json(json, "json").value()), json);
  EXPECT_THAT(json, HasSubstr(R"("source":{"debian":"bookworm","packages":["python3","curl"]})"));
  EXPECT_THAT(json, HasSubstr(R"("mode":"0600")"));
}

TEST(Manifest, ACommandOfOneTextIsTheShells) {
  EXPECT_THAT(read("entrypoint = \"web | tee log\"\n[source]\ndir = \"root\"").entrypoint,
              ElementsAre("/bin/sh", "-c", "web | tee log"));
}

TEST(Manifest, ServicesHaveTheirNames) {
  const Manifest m = read(R"(
[source]
flake = "."
[services.web]
command = ["web"]
after = ["db"]
restart = "always"
[services.db]
command = ["db"]
stop_grace = "1m"
[services.db.health]
tcp = 5432
)");
  ASSERT_EQ(m.services.size(), 2U);
  EXPECT_EQ(m.services[0].name, "db");
  EXPECT_EQ(m.services[0].stop_grace, Millis(60'000));
  EXPECT_EQ(m.services[0].health->tcp, 5432U);
  EXPECT_EQ(m.services[1].name, "web");
  EXPECT_THAT(m.services[1].after, ElementsAre("db"));
  EXPECT_EQ(m.services[1].restart, ServiceSpec::Restart::kAlways);
  EXPECT_EQ(m.source.profile, "default");
}

TEST(Manifest, HasNoMoreServicesThanTheAgentTakes) {
  std::string text = "[source]\nimage = \"busybox\"\n";
  for (int i = 0; i < 64; ++i) text += "[services.s" + std::to_string(i) + "]\ncommand = [\"x\"]\n";
  EXPECT_EQ(read(text).services.size(), 64U);
  EXPECT_THAT(refused(text + "[services.one-more]\ncommand = [\"x\"]\n").text(),
              HasSubstr("services: 65 are more than 64"));
}

TEST(Manifest, NeedsExactlyOneSource) {
  EXPECT_EQ(refused("name = \"a\"").text(), "mvm.toml:1:1: 'source' is missing");
  EXPECT_THAT(refused("[source]").text(), HasSubstr("names nothing to make the image from"));
  EXPECT_THAT(refused("[source]\nimage = \"a\"\ndir = \"b\"").text(),
              HasSubstr("'image' and 'dir' exclude each other"));
}

TEST(Manifest, WhatBelongsToAnotherKindOfSourceIsRefused) {
  EXPECT_THAT(refused_in("", "image = \"a\"\npackages = []").text(),
              HasSubstr("'packages' belongs to 'debian', not to 'image'"));
  EXPECT_THAT(refused_in("", "debian = \"bookworm\"\nstage = \"x\"").text(),
              HasSubstr("'stage' belongs to 'dockerfile'"));
  EXPECT_THAT(refused_in("", "dir = \"a\"\nprofile = \"x\"").text(),
              HasSubstr("'profile' belongs to 'flake'"));
}

TEST(Manifest, AMistypedKeyIsAnsweredWithTheRightOne) {
  const Error error = refused_in("entrypiont = [\"a\"]");
  EXPECT_EQ(error.text(), "mvm.toml:1:1: there is no key 'entrypiont'");
  EXPECT_EQ(error.hint(), "did you mean entrypoint?");
}

TEST(Manifest, AServiceMayNotWaitForWhatThereIsNot) {
  EXPECT_THAT(refused_in("[services.a]\ncommand = [\"a\"]\nafter = [\"b\"]").text(),
              HasSubstr("'a' comes after 'b', which there is not"));
}

TEST(Manifest, ServicesMayNotWaitInACircle) {
  const Error error = refused_in(R"(
[services.first]
command = ["x"]
[services.a]
command = ["x"]
after = ["b", "first"]
[services.b]
command = ["x"]
after = ["a"]
)");
  EXPECT_THAT(error.text(), HasSubstr("services: no order starts these: a, b"));
  EXPECT_THAT(refused_in("[services.a]\ncommand = [\"a\"]\nafter = [\"a\"]").text(),
              HasSubstr("no order starts these: a"));
}

TEST(Manifest, HasEitherAnEntrypointOrServices) {
  EXPECT_THAT(refused_in("entrypoint = \"a\"\n[services.a]\ncommand = \"a\"").text(),
              HasSubstr("'entrypoint' and 'services' exclude each other"));
  EXPECT_THAT(refused_in("[health]\ntcp = 80").text(), HasSubstr("'health' is the entrypoint's"));
}

TEST(Manifest, ACheckOfHealthIsOfOneKind) {
  const std::string start = "entrypoint = \"a\"\n[health]\n";
  EXPECT_THAT(refused_in(start).text(), HasSubstr("needs one of command, tcp and http"));
  EXPECT_THAT(refused_in(start + "tcp = 1\nhttp = \":1/\"").text(), HasSubstr("needs one of"));
  EXPECT_THAT(refused_in(start + "http = \"http://x\"").text(), HasSubstr("is no address"));
  EXPECT_THAT(refused_in(start + "http = \":0/\"").text(), HasSubstr("is no address"));
  EXPECT_THAT(refused_in(start + "tcp = 65536").text(), HasSubstr("between 1 and 65535"));
}

struct Bad {
  const char* text;
  const char* says;
};

class BadManifest : public testing::TestWithParam<Bad> {};

TEST_P(BadManifest, IsRefusedAndSaysWhy) {
  const Error error = refused_in(GetParam().text);
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), testing::StartsWith("mvm.toml:"));
  EXPECT_THAT(error.text(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Values, BadManifest,
    testing::Values(
        Bad{"name = \"a b\"", "name: 'a b' is not a project name"},
        Bad{"target = \"riscv\"", "'riscv' is none of x86_64-linux, aarch64-linux"},
        Bad{"seal = true", "seal: must be a text in quotes"},
        Bad{"entrypoint = []", "entrypoint: names no program"},
        Bad{"entrypoint = \"\"", "entrypoint: is empty"},
        Bad{"entrypoint = 1", "must be a list of words, or a text for the shell"},
        Bad{"env = { \"A=B\" = \"1\" }", "'A=B' is no name for it"},
        Bad{"env = { A = 1 }", "env.A: must be a text in quotes"},
        Bad{"workdir = \"srv\"", "'srv' does not begin with /"},
        Bad{"workdir = \"/srv/../etc\"", "has .. in it"},
        Bad{"ports = [\"80\"]", "ports[0]: '80' is not a port forward"},
        Bad{"[resources]\nmemory = 512", "resources.memory: has no unit"},
        Bad{"[resources]\nvcpus = 0", "0 is not between 1 and 64"},
        Bad{"[[files]]\npath = \"/a\"", "files[0]: needs one of text, from and link"},
        Bad{"[[files]]\npath = \"/a\"\nlink = \"/b\"\nmode = \"0644\"",
            "a symbolic link has no mode"},
        Bad{"[[files]]\npath = \"/a\"\ntext = \"\"\nfrom = \"b\"",
            "needs one of text, from and link"},
        Bad{"[[files]]\npath = \"/a\"\nfrom = \"../b\"", "leads out of the project"},
        Bad{"[[files]]\npath = \"/a\"\nfrom = \"/b\"", "is not relative to the manifest"},
        Bad{"[[files]]\npath = \"/a\"\ntext = \"\"\nmode = \"9\"", "'9' is not a mode"},
        Bad{"[[volumes]]\nname = \"a\"", "volumes[0]: 'path' is missing"},
        Bad{"[[volumes]]\nname = \"a\"\npath = \"/a\"\n[[volumes]]\nname = \"a\"\npath = \"/b\"",
            "two volumes are named 'a'"},
        Bad{"[[volumes]]\nname = \"a\"\npath = \"/a\"\n[[volumes]]\nname = \"b\"\npath = \"/a\"",
            "two volumes lie at /a"},
        Bad{"[services.\"a b\"]\ncommand = \"x\"", "'a b' is no name for it"},
        Bad{"[services.a]", "services.a: 'command' is missing"},
        Bad{"[services.a]\ncommand = \"x\"\nstop_signal = \"kill me\"", "is not a signal"}));

TEST(ManifestSchema, KnowsEveryKeyAndNoOther) {
  const auto schema = nlohmann::json::parse(manifest_schema());
  EXPECT_EQ(schema["required"], nlohmann::json({"source"}));
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"].size(), 15U);
  for (const auto& [key, value] : schema["properties"].items())
    EXPECT_TRUE(value.contains("description")) << key;
  EXPECT_EQ(schema["properties"]["target"]["enum"].size(), 2U);
}

}  // namespace
}  // namespace mvm::spec
