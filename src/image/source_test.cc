// SPDX-License-Identifier: Apache-2.0
#include "image/source.h"

#include <gmock/gmock.h>

#include "image/entry_path.h"
#include "image/limits.h"
#include "image/oci_manifest.h"
#include "image/skopeo.h"

namespace mvm::image {
namespace {

using ::testing::HasSubstr;

std::string ref_of(std::string_view text) { return parse_source(text).value().ref(); }
std::string why(std::string_view text) { return parse_source(text).error().text(); }

TEST(Source, NormalisesNames) {
  EXPECT_EQ(ref_of("busybox"), "busybox");
  EXPECT_EQ(ref_of("debian:bookworm"), "debian:bookworm");
  EXPECT_EQ(ref_of("debian:12"), "debian:bookworm");
  EXPECT_EQ(ref_of("debian:bookworm?include=python3,curl,curl"),
            "debian:bookworm?include=curl,python3");
  EXPECT_EQ(ref_of("alpine:3.20"), "docker://docker.io/library/alpine:3.20");
  EXPECT_EQ(ref_of("me/app"), "docker://docker.io/me/app:latest");
  EXPECT_EQ(ref_of("docker://ghcr.io/a/b:1"), "docker://ghcr.io/a/b:1");
  EXPECT_EQ(ref_of("127.0.0.1:5000/app"), "docker://127.0.0.1:5000/app:latest");
  EXPECT_EQ(ref_of("localhost/app:1"), "docker://localhost/app:1");
  EXPECT_EQ(ref_of("oci:/x:1"), "oci:/x:1");
  EXPECT_EQ(ref_of("docker-archive:/x.tar:app:1"), "docker-archive:/x.tar:app:1");
  EXPECT_EQ(ref_of("dir:/with:colon"), "dir:/with:colon");
}

TEST(Source, LetsTheDigestDecideOverTheTag) {
  const std::string digest = "@sha256:" + std::string(64, 'a');
  EXPECT_EQ(ref_of("ghcr.io/a/b:1" + digest), "docker://ghcr.io/a/b" + digest);
}

TEST(Source, MakesPathsAbsolute) {
  EXPECT_EQ(absolute_source(parse_source("dir:../x/./y/").value(), "/home/me").ref(),
            "dir:/home/x/y");
}

TEST(Source, RefusesWithTheReason) {
  EXPECT_EQ(why(""), "the image name is empty");
  EXPECT_EQ(
      why("alpine"),
      "image 'alpine' is not known; for a registry give a tag or a slash, like alpine:latest");
  EXPECT_EQ(why("ftp://x/y"), "image 'ftp://x/y' has the unknown scheme 'ftp'");
  EXPECT_EQ(why("nix:/x/y"), "image 'nix:/x/y' has the unknown scheme 'nix'");
  EXPECT_EQ(
      why("C:\\images\\x"),
      "image 'C:\\images\\x' looks like a Windows path; use the Linux path, as in dir:/mnt/c/…");
  EXPECT_EQ(why("C:/images"),
            "image 'C:/images' looks like a Windows path; use the Linux path, as in dir:/mnt/c/…");
  EXPECT_EQ(why("/var/x"),
            "image '/var/x' looks like a path; say what it is: dir:PATH or tar:PATH");
  EXPECT_EQ(why("dir:"), "image 'dir:' has no path");
  EXPECT_EQ(why("a\nb"), "image 'a\\x0ab' holds a control character");
  EXPECT_EQ(why("debian:Book Worm"),
            "image 'debian:Book Worm' does not name a Debian suite, like debian:bookworm");
  EXPECT_EQ(why("debian:sid?include=a;rm"),
            "image 'debian:sid?include=a;rm' includes 'a;rm', which is not a package name");
  EXPECT_THAT(why("docker://x/Upper:1"), HasSubstr("lower-case"));
  EXPECT_THAT(why("x/y@sha256:12"), HasSubstr("64 lower-case hex"));
  EXPECT_THAT(parse_source("ftp://x").error().hint(), HasSubstr("oci-archive:FILE"));
}

TEST(Source, IsAtMost4096Characters) {
  EXPECT_TRUE(parse_source("dir:" + std::string(kMaxSourceLength - 4, 'a')).has_value());
  EXPECT_THAT(why("dir:" + std::string(kMaxSourceLength - 3, 'a')),
              HasSubstr("longer than 4096 characters"));
}

TEST(Source, KnowsLoopback) {
  EXPECT_TRUE(parse_source("127.3.4.5:5000/a:1").value().on_loopback());
  EXPECT_TRUE(parse_source("[::1]:5000/a:1").value().on_loopback());
  EXPECT_TRUE(parse_source("localhost:5000/a:1").value().on_loopback());
  EXPECT_FALSE(parse_source("127.evil.example/a:1").value().on_loopback());
  EXPECT_FALSE(parse_source("10.0.0.1:5000/a:1").value().on_loopback());
}

TEST(EntryPath, CleansAndRefuses) {
  EXPECT_EQ(entry_path("./usr//bin/.").value(), "usr/bin");
  EXPECT_EQ(entry_path("/").value(), "");
  EXPECT_FALSE(entry_path("a/..").has_value());
  EXPECT_FALSE(entry_path("").has_value());
  EXPECT_FALSE(entry_path(std::string_view("a\0b", 3)).has_value());
  EXPECT_FALSE(entry_path(std::string(256, 'n')).has_value());
  EXPECT_FALSE(entry_path(std::string(5000, '/')).has_value());
}

TEST(EntryPath, IsAtMost256DirectoriesDeep) {
  const auto nested = [](std::size_t depth) {
    std::string out;
    for (std::size_t i = 0; i < depth; ++i) out += "d/";
    return out;
  };
  EXPECT_TRUE(entry_path(nested(kMaxPathDepth)).has_value());
  EXPECT_THAT(entry_path(nested(kMaxPathDepth + 1)).error().text(), HasSubstr("deeper than 256"));
}

TEST(Skopeo, CondensesItsComplaints) {
  const Source source = parse_source("127.0.0.1:5000/app:1").value();
  const Error error = skopeo_error(source,
                                   "time=\"2024\" level=fatal msg=\"initializing source: reading "
                                   "manifest 1: manifest unknown\"\n");
  EXPECT_EQ(error.text(), "fetching docker://127.0.0.1:5000/app:1: not found in the registry");
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_EQ(
      skopeo_error(source, "level=fatal msg=\"dial tcp: connect: connection refused\"").code(),
      Errc::kUnavailable);
  EXPECT_EQ(skopeo_error(source, "").text(),
            "fetching docker://127.0.0.1:5000/app:1: skopeo failed without a message");
}

TEST(Skopeo, RefusesUnverifiedRegistryElsewhere) {
  FetchOptions options;
  options.tls_verify = false;
  const auto done = fetch_with_skopeo(parse_source("reg.example/a:1").value(), options, "/x", "/y");
  EXPECT_EQ(done.error().code(), Errc::kInvalidArgument);
}

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(OciManifest, ChoosesByArchitectureAndNamesWhatIsThere) {
  const std::string text = R"({"schemaVersion":2,"manifests":[{"digest":")" + kDigest +
                           R"(","size":5,"platform":{"os":"linux","architecture":"arm64"}}]})";
  const auto entries = parse_index(text).value();
  EXPECT_TRUE(choose(entries, "", spec::Arch::kAarch64).has_value());
  EXPECT_EQ(choose(entries, "", spec::Arch::kX86_64).error().text(),
            "the image is not made for linux/amd64; it has: linux/arm64");
  EXPECT_EQ(choose(entries, "v1", spec::Arch::kAarch64).error().code(), Errc::kNotFound);
}

TEST(OciManifest, RefusesHostileDescriptors) {
  const auto index = [](const std::string& digest, const std::string& size) {
    return parse_index(R"({"manifests":[{"digest":")" + digest + R"(","size":)" + size + "}]}");
  };
  EXPECT_TRUE(index(kDigest, "1").has_value());
  EXPECT_EQ(index("sha256:../../../etc/passwd", "1").error().code(), Errc::kCorrupt);
  EXPECT_EQ(index("sha512:" + std::string(128, 'a'), "1").error().code(), Errc::kUnsupported);
  EXPECT_EQ(index(kDigest, "-1").error().code(), Errc::kCorrupt);
  EXPECT_EQ(index(kDigest, "1e99").error().code(), Errc::kCorrupt);
  EXPECT_EQ(parse_index("[]").error().code(), Errc::kCorrupt);
  EXPECT_EQ(parse_index(std::string(100'000, '[')).error().code(), Errc::kCorrupt);
}

TEST(OciManifest, RefusesADocumentOverFourMebibytes) {
  const std::string padding(kMaxIndexSize.count, ' ');
  EXPECT_EQ(parse_index(R"({"manifests":[]})" + padding).error().code(), Errc::kLimit);
  EXPECT_EQ(parse_manifest(R"({"layers":[]})" + padding).error().code(), Errc::kLimit);
  EXPECT_EQ(parse_image_document("{}" + padding).error().code(), Errc::kLimit);
}

std::string manifest_of(std::size_t layers, const std::string& size) {
  const auto blob = [](const std::string& bytes) {
    return R"({"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":")" + kDigest +
           R"(","size":)" + bytes + "}";
  };
  std::string out = R"({"schemaVersion":2,"config":)" + blob("1") + R"(,"layers":[)";
  for (std::size_t i = 0; i < layers; ++i) out += (i == 0 ? "" : ",") + blob(size);
  return out + "]}";
}

TEST(OciManifest, TakesTwoHundredAndFiftySixLayersAndNoMore) {
  EXPECT_EQ(parse_manifest(manifest_of(kMaxLayers, "1"))->layers.size(), kMaxLayers);
  EXPECT_EQ(parse_manifest(manifest_of(kMaxLayers + 1, "1")).error().code(), Errc::kLimit);
}

TEST(OciManifest, RefusesALayerOverSixtyFourGibibytes) {
  const auto with = [](std::uint64_t size) {
    return parse_manifest(manifest_of(1, std::to_string(size)));
  };
  EXPECT_TRUE(with(kMaxLayerSize.count).has_value());
  EXPECT_EQ(with(kMaxLayerSize.count + 1).error().code(), Errc::kLimit);
}

TEST(OciManifest, ReadsTheConfiguration) {
  const auto document = parse_image_document(
      R"({"os":"linux","architecture":"amd64","config":{"User":"1","Cmd":["a"],"Entrypoint":null,"ExposedPorts":{"80/tcp":{}}}})");
  EXPECT_EQ(document->config.user, "1");
  EXPECT_EQ(document->config.cmd, std::vector<std::string>{"a"});
  EXPECT_EQ(document->config.exposed_ports, std::vector<std::string>{"80/tcp"});
  EXPECT_EQ(parse_image_document(R"({"config":{"Cmd":"a"}})").error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace mvm::image
