// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/seal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/boot/cmdline.h"
#include "seal/ed25519.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

using testing::HasSubstr;

class SealTest : public testing::Test {
 protected:
  void SetUp() override {
    secret_.fill(5);
    seal::Manifest m;
    m.name = "web";
    m.arch = "x86_64";
    m.image_digest = std::string(64, '1');
    m.kernel_digest = std::string(64, '2');
    m.verity = seal::Verity{std::string(64, '3'), std::string(64, '4'), 7, 8};
    put(seal::to_text(m));
  }
  void put(const std::string& text) {
    text_ = text;
    ASSERT_TRUE(sys::write_file(dir_.path() + "/manifest", text));
    ASSERT_TRUE(
        sys::write_file(dir_.path() + "/signature", seal::to_bytes(seal::sign(secret_, text))));
  }
  std::string signer() const { return seal::to_hex(seal::public_key_of(secret_)); }

  sys::TempDir dir_ = *sys::TempDir::create("/tmp", "seal-");
  seal::SecretKey secret_{};
  std::string text_;
};

TEST_F(SealTest, ASignedManifestIsRead) {
  const auto manifest = read_seal(dir_.path(), signer());
  ASSERT_TRUE(manifest) << manifest.error().text();
  EXPECT_EQ((*manifest)->name, "web");
}

TEST_F(SealTest, AMachineWithoutSealHasNone) {
  const auto none = read_seal(dir_.path() + "/none", "");
  ASSERT_TRUE(none);
  EXPECT_FALSE(none->has_value());
}

TEST_F(SealTest, AnyChangedByteOfManifestOrSignatureIsRefused) {
  for (const char* file : {"/manifest", "/signature"}) {
    const std::string good = *sys::read_file(dir_.path() + file);
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 4);
      ASSERT_TRUE(sys::write_file(dir_.path() + file, bad));
      ASSERT_FALSE(read_seal(dir_.path(), signer())) << file << " byte " << at;
    }
    ASSERT_TRUE(sys::write_file(dir_.path() + file, good));
  }
}

TEST_F(SealTest, AManifestThatAnotherKeyHasSignedIsRefused) {
  const std::string named = signer();
  secret_.fill(6);
  put(text_ + "tcp 22\n");
  EXPECT_THAT(read_seal(dir_.path(), named).error().text(), HasSubstr("not what was signed"));
}

TEST_F(SealTest, KeyAndManifestComeTogetherOrNotAtAll) {
  EXPECT_THAT(read_seal(dir_.path(), "").error().text(), HasSubstr("no signer"));
  EXPECT_THAT(read_seal(dir_.path() + "/none", signer()).error().text(),
              HasSubstr("no signed manifest"));
}

TEST_F(SealTest, AManifestOfADevImageSealsNothing) {
  put("mvm-signed-manifest 1\nname web\narch x86_64\nimage " + std::string(64, '1') + " 9\n");
  EXPECT_THAT(read_seal(dir_.path(), signer()).error().text(), HasSubstr("not of a sealed image"));
}

TEST(VerityTable, SaysWhatTheKernelIsToCheck) {
  EXPECT_EQ(verity_table("/dev/vda", {"aa", "bb", 10, 11}),
            "1 /dev/vda /dev/vda 4096 4096 10 11 sha256 aa bb 1 panic_on_corruption");
}

TEST(Cmdline, NamesTheSigner) { EXPECT_EQ(parse_cmdline("a mvm.seal=00ff b").signer, "00ff"); }

}  // namespace
}  // namespace mvm::agent
