// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "seal/bundle.h"
#include "seal/key_file.h"
#include "seal/key_store.h"
#include "seal/policy.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::seal {
namespace {

using testing::HasSubstr;

SecretKey secret_of(std::uint8_t fill) {
  SecretKey out;
  out.fill(fill);
  return out;
}

std::string digest_of(char c) { return std::string(64, c); }

Manifest sealed() {
  Manifest m;
  m.name = "web";
  m.revision = digest_of('1');
  m.arch = "x86_64";
  m.image_digest = sys::sha256_hex("the image");
  m.image_size = Bytes{9};
  m.kernel_digest = digest_of('3');
  m.kernel_release = "6.1.0 with blanks";
  m.verity = Verity{digest_of('4'), digest_of('5'), 10, 11};
  m.outputs = {"/out", "/var/a b"};
  m.tcp_ports = {80, 65535};
  m.udp_ports = {53};
  m.volumes = {"/data"};
  m.config_json = R"({"cmd":["a","b c"]})";
  return m;
}

// RFC 8032, section 7.1, TEST 2.
TEST(Ed25519, SignsAsTheStandardSays) {
  const auto hex = [](std::string_view text) { return *public_key_from_hex(text); };
  const SecretKey secret = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const PublicKey key = public_key_of(secret);
  EXPECT_EQ(to_hex(key), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Signature signature = sign(secret, "\x72");
  EXPECT_EQ(to_hex(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(verify(key, "\x72", signature));
  EXPECT_FALSE(verify(key, "\x73", signature));
  EXPECT_FALSE(verify(public_key_of(secret_of(1)), "\x72", signature));
  EXPECT_EQ(*signature_from_hex(to_hex(signature)), signature);
  EXPECT_EQ(*signature_from_bytes(to_bytes(signature)), signature);
}

TEST(KeyFile, IsReadAsItWasWritten) {
  const SecretKey secret = secret_of(7);
  EXPECT_EQ(*secret_key_from_pem(secret_to_pem(secret)), secret);
  EXPECT_EQ(*public_key_from_pem("# mine\n" + to_pem(public_key_of(secret))),
            public_key_of(secret));
}

TEST(KeyFile, SaysWhatIsWrong) {
  EXPECT_THAT(public_key_from_pem("hello").error().text(), HasSubstr("BEGIN PUBLIC KEY"));
  EXPECT_THAT(secret_key_from_pem("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").error().text(),
              HasSubstr("password"));
  EXPECT_THAT(public_key_from_pem("-----BEGIN PUBLIC KEY-----\nTUlN\n-----END PUBLIC KEY-----")
                  .error()
                  .text(),
              HasSubstr("not an Ed25519 key"));
  EXPECT_THAT(public_key_from_pem("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----")
                  .error()
                  .text(),
              HasSubstr("not base64"));
}

class KeyStoreTest : public testing::Test {
 protected:
  sys::TempDir dir_ = *sys::TempDir::create("/tmp", "keys-");
  KeyStore keys_{dir_.path() + "/keys"};
};

TEST_F(KeyStoreTest, KnowsOwnKeysAndThoseOfOthers) {
  EXPECT_TRUE(keys_.list()->empty());
  const Key own = *keys_.create("me");
  EXPECT_TRUE(own.own);
  EXPECT_EQ(public_key_of(*keys_.secret("me")), own.public_key);
  const PublicKey other = public_key_of(secret_of(2));
  ASSERT_TRUE(keys_.import("friend", to_pem(other)));
  ASSERT_EQ(keys_.list()->size(), 2U);
  EXPECT_EQ((*keys_.find(other))->name, "friend");
  EXPECT_FALSE((*keys_.find(other))->own);
  EXPECT_EQ(keys_.secret("friend").error().code(), Errc::kUnsupported);
  EXPECT_EQ(keys_.create("me").error().code(), Errc::kAlreadyExists);
  ASSERT_TRUE(keys_.remove("friend"));
  EXPECT_FALSE(keys_.find(other)->has_value());
  EXPECT_EQ(keys_.remove("friend").error().code(), Errc::kNotFound);
  EXPECT_EQ(keys_.find("../x").error().code(), Errc::kNotFound);
}

TEST_F(KeyStoreTest, RefusesASecretThatOthersMayRead) {
  ASSERT_TRUE(keys_.create("me"));
  ::chmod((dir_.path() + "/keys/me.key").c_str(), 0644);
  const auto secret = keys_.secret("me");
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().code(), Errc::kPermission);
  EXPECT_THAT(secret.error().hint(), HasSubstr("chmod 600"));
}

TEST_F(KeyStoreTest, NoticesASecretOfAnotherKey) {
  ASSERT_TRUE(keys_.create("me"));
  ASSERT_TRUE(sys::write_file(dir_.path() + "/keys/me.key", secret_to_pem(secret_of(9)), 0600));
  EXPECT_EQ(keys_.secret("me").error().code(), Errc::kCorrupt);
}

TEST(SignedManifest, IsReadAsItWasWritten) {
  const std::string text = to_text(sealed());
  const auto read = manifest_from_text(text);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(to_text(*read), text);
  EXPECT_EQ(read->outputs, sealed().outputs);
  EXPECT_EQ(read->kernel_release, "6.1.0 with blanks");
  EXPECT_TRUE(read->sealed());
}

TEST(SignedManifest, NamesTheLineThatIsWrong) {
  const std::string good = to_text(sealed());
  const auto with = [&](const std::string& line) { return manifest_from_text(good + line + "\n"); };
  EXPECT_THAT(with("tcp 65536").error().text(), HasSubstr("line 15"));
  EXPECT_THAT(with("start abc").error().text(), HasSubstr("'start'"));
  EXPECT_THAT(with("output relative").error().text(), HasSubstr("'output'"));
  EXPECT_THAT(with("arch aarch64").error().text(), HasSubstr("'arch'"));
  EXPECT_EQ(with("allow everything").error().code(), Errc::kUnsupported);
  EXPECT_THAT(manifest_from_text("mvm-signed-manifest 2\n").error().text(), HasSubstr("version 2"));
  EXPECT_FALSE(manifest_from_text(""));
  EXPECT_FALSE(manifest_from_text("mvm-signed-manifest 1\n"));
  EXPECT_FALSE(manifest_from_text(good.substr(0, good.size() - 1)));
}

TEST(SignedManifest, ANameCannotBeginALine) {
  Manifest m = sealed();
  m.name = "web\ntcp 22";
  EXPECT_EQ(manifest_from_text(to_text(m))->tcp_ports, sealed().tcp_ports);
}

wire::Open run(std::vector<std::string> argv) {
  wire::Open out;
  out.exec.argv = std::move(argv);
  out.exec.env = {"A=1"};
  return out;
}

wire::Open file_request(wire::OpenKind kind, std::string path) {
  wire::Open out;
  out.kind = kind;
  out.file.path = std::move(path);
  return out;
}

TEST(StartDigest, ChangesWithWhatRunsAndNotWithItsTerminal) {
  const std::string digest = start_digest(run({"a", "b"}));
  wire::Open other = run({"a", "b"});
  other.exec.tty = true;
  other.exec.rows = 50;
  other.exec.timeout_ms = 5;
  other.exec.env.push_back("TERM=xterm");
  EXPECT_EQ(start_digest(other), digest);
  other.exec.env.push_back("LD_PRELOAD=/evil.so");
  EXPECT_NE(start_digest(other), digest);
  EXPECT_NE(start_digest(run({"a b"})), digest);
  EXPECT_NE(start_digest(run({"ab"})), start_digest(run({"a", "b"})));
  wire::Open as_root = run({"a", "b"});
  as_root.exec.user = "root";
  EXPECT_NE(start_digest(as_root), digest);
}

TEST(StartDigest, CoversAllOfAService) {
  wire::Open open;
  open.kind = wire::OpenKind::kServices;
  open.services.resize(1);
  open.services[0].name = "db";
  open.services[0].exec.argv = {"db"};
  std::vector<std::string> seen = {start_digest(open)};
  const auto changed = [&](auto change) {
    wire::Open copy = open;
    change(copy.services[0]);
    seen.push_back(start_digest(copy));
  };
  changed([](auto& s) { s.name = "web"; });
  changed([](auto& s) { s.exec.argv = {"web"}; });
  changed([](auto& s) { s.restart = wire::ServiceRestart::kAlways; });
  changed([](auto& s) { s.after = {"x"}; });
  changed([](auto& s) { s.stop_signal = 2; });
  changed([](auto& s) { s.stop_grace_ms = 1; });
  changed([](auto& s) { s.health.emplace(); });
  changed([](auto& s) { s.health.emplace().argv = {"evil"}; });
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
}

TEST(SealPolicy, StartsTheEntrypointOnceAndNothingElse) {
  Manifest m = sealed();
  m.starts = {start_digest(run({"app"}))};
  Policy policy(m);
  const auto other = policy.admit(run({"sh"}));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code(), Errc::kPermission);
  EXPECT_THAT(other.error().text(), HasSubstr("sealed"));
  EXPECT_TRUE(policy.admit(run({"app"})));
  EXPECT_THAT(policy.admit(run({"app"})).error().text(), HasSubstr("second start"));
}

TEST(SealPolicy, GivesDeclaredFilesAndPortsOnly) {
  using Kind = wire::OpenKind;
  Policy policy(sealed());
  for (const char* path : {"/out", "/out/a/b", "/var/a b"})
    EXPECT_TRUE(policy.admit(file_request(Kind::kGet, path))) << path;
  for (const char* path :
       {"/outside", "/out/../etc/passwd", "/", "", "out", "/etc/passwd", "/out/.."})
    EXPECT_FALSE(policy.admit(file_request(Kind::kRead, path))) << path;
  EXPECT_TRUE(policy.admit(file_request(Kind::kConnect, "127.0.0.1:80")));
  for (const char* address :
       {"127.0.0.1:8", "127.0.0.1:8080", "127.0.0.1:080", "80", "10.0.0.7:80", "127.0.0.1:53"})
    EXPECT_FALSE(policy.admit(file_request(Kind::kConnect, address))) << address;
  for (const Kind kind : {Kind::kPut, Kind::kWrite, Kind::kDiff})
    EXPECT_FALSE(policy.admit(file_request(kind, "/out")));
}

TEST(SealPolicy, TakesDeclaredVolumesOnly) {
  const Policy policy(sealed());
  wire::Configure configure;
  EXPECT_TRUE(policy.admit(configure));
  configure.volumes = {{"mvm_volume_0", "data", "/data"}};
  EXPECT_TRUE(policy.admit(configure));
  configure.volumes.push_back({"mvm_volume_1", "bin", "/usr/bin"});
  EXPECT_THAT(policy.admit(configure).error().text(), HasSubstr("/usr/bin"));
}

class BundleTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sys::write_file(image_, "the image"));
    document_ = sign_manifest(secret_of(3), sealed());
    const auto written = write_bundle(file_, document_, image_);
    ASSERT_TRUE(written) << written.error().text();
  }
  // Of reading all of it.
  std::string complaint() {
    const auto bundle = open_bundle(file_);
    if (!bundle) return bundle.error().text();
    const auto image = read_image(*bundle, -1);
    return image ? "" : image.error().text();
  }

  sys::TempDir dir_ = *sys::TempDir::create("/tmp", "bundle-");
  std::string image_ = dir_.path() + "/image";
  std::string file_ = dir_.path() + "/web.mvmpkg";
  Signed document_;
};

TEST_F(BundleTest, IsReadAsItWasWritten) {
  const auto bundle = open_bundle(file_);
  ASSERT_TRUE(bundle) << bundle.error().text();
  EXPECT_EQ(bundle->document.signer, public_key_of(secret_of(3)));
  const std::string copy = dir_.path() + "/copy";
  const sys::UniqueFd to = *sys::open_file(copy, O_WRONLY | O_CREAT, 0600);
  ASSERT_TRUE(read_image(*bundle, to.get()));
  EXPECT_EQ(*sys::read_file(copy), "the image");
  EXPECT_EQ(to_text(bundle->manifest), document_.text);
}

TEST_F(BundleTest, IsTheSameEveryTime) {
  const std::string first = *sys::read_file(file_);
  ASSERT_TRUE(write_bundle(file_, document_, image_));
  EXPECT_EQ(*sys::read_file(file_), first);
}

TEST_F(BundleTest, AFlippedByteAnywhereIsNoticed) {
  const std::string good = *sys::read_file(file_);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    ASSERT_TRUE(sys::write_file(file_, bad));
    ASSERT_NE(complaint(), "") << "byte " << at;
  }
}

TEST_F(BundleTest, ABundleThatIsCutOffOrGoesOnIsNoticed) {
  const std::string good = *sys::read_file(file_);
  for (std::size_t size = 0; size < good.size(); ++size) {
    ASSERT_TRUE(sys::write_file(file_, good.substr(0, size)));
    ASSERT_NE(complaint(), "") << size << " bytes";
  }
  ASSERT_TRUE(sys::write_file(file_, good + "x"));
  EXPECT_NE(complaint(), "");
}

TEST_F(BundleTest, AnImageThatWasNotSignedIsNotWritten) {
  ASSERT_TRUE(sys::write_file(image_, "the imagE"));
  const std::string other = dir_.path() + "/other.mvmpkg";
  const auto written = write_bundle(other, document_, image_);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), Errc::kCorrupt);
  EXPECT_FALSE(sys::path_exists(other));
  EXPECT_EQ(sys::children(dir_.path()).size(), 2U);
}

}  // namespace
}  // namespace mvm::seal
