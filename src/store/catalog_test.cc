// SPDX-License-Identifier: Apache-2.0
#include "store/catalog.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <thread>

#include "store/config_json.h"
#include "store/gc.h"
#include "store/sqlite.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::store {
namespace {

using ::testing::HasSubstr;

// Makes the table of images what versions before 4 had.
constexpr char kWithoutSignatures[] =
    "ALTER TABLE images DROP COLUMN signed_manifest; ALTER TABLE images DROP COLUMN signature;"
    "ALTER TABLE images DROP COLUMN signer";

class CatalogTest : public ::testing::Test {
 protected:
  Catalog open() const { return Catalog::open(layout_).value(); }
  static ImageRecord image(const std::string& ref, char digit) {
    ImageRecord record;
    record.ref = ref;
    record.digest = std::string(64, digit);
    record.size = Bytes{5};
    record.config.cmd = {"sh", "-c"};
    return record;
  }
  static VmRecord vm(const std::string& id, const std::string& name, char digit = '1') {
    VmRecord record;
    record.id = id;
    record.name = name;
    record.image_digest = std::string(64, digit);
    record.spec_json = "{}";
    return record;
  }
  static SnapshotRecord snapshot(const std::string& id, const std::string& name) {
    SnapshotRecord record;
    record.id = id;
    record.name = name;
    record.image_digest = std::string(64, '1');
    record.spec_json = "{}";
    return record;
  }

  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-store-").value();
  Layout layout_{dir_.path() + "/data", dir_.path() + "/cache", dir_.path() + "/config",
                 dir_.path() + "/run"};
};

Result<Layout> layout_of(const std::map<std::string, std::string>& variables) {
  return Layout::from_variables([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

TEST(Layout, PutsEverythingBelowMvmHome) {
  const Layout layout = layout_of({{"MVM_HOME", "/h/"}, {"XDG_DATA_HOME", "/x"}}).value();
  EXPECT_EQ(layout.database_path(), "/h/data/catalog.db");
  EXPECT_EQ(layout.blob_path("ab"), "/h/data/images/blobs/ab.erofs");
  EXPECT_EQ(layout.vm_run_dir("7"), "/h/run/vms/7");
}

TEST(Layout, FollowsXdgAndFallsBackToHome) {
  const Layout layout =
      layout_of({{"HOME", "/me"}, {"XDG_CACHE_HOME", "/c"}, {"XDG_RUNTIME_DIR", "/r"}}).value();
  EXPECT_EQ(layout.data_dir, "/me/.local/share/mvm");
  EXPECT_EQ(layout.cache_dir, "/c/mvm");
  EXPECT_EQ(layout.config_dir, "/me/.config/mvm");
  EXPECT_EQ(layout.run_dir, "/r/mvm");
  EXPECT_EQ(layout_of({{"HOME", "/me"}})->run_dir, "/me/.local/share/mvm/run");
}

TEST(Layout, RefusesRelativeAndMissingHomes) {
  EXPECT_THAT(layout_of({{"MVM_HOME", "/a/../b"}}).error().text(), HasSubstr("'..'"));
  EXPECT_EQ(layout_of({{"MVM_HOME", "/a//b/./c/"}})->run_dir, "/a/b/c/run");
  EXPECT_EQ(layout_of({{"MVM_HOME", "x"}}).error().text(), "MVM_HOME='x' is not an absolute path");
  EXPECT_EQ(layout_of({}).error().code(), Errc::kInvalidArgument);
}

TEST_F(CatalogTest, ReadingWithoutDatabaseIsEmptyAndCreatesNothing) {
  const Catalog catalog = Catalog::open_read_only(layout_).value();
  EXPECT_TRUE(catalog.list_images()->empty());
  EXPECT_EQ(catalog.find_vm("x").error().code(), Errc::kNotFound);
  EXPECT_FALSE(sys::path_exists(layout_.data_dir));
}

TEST_F(CatalogTest, FindsImagesByRefAndDigestPrefix) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.put_image(image("busybox", 'a')).has_value());
  ASSERT_TRUE(catalog.put_image(image("other", 'a')).has_value());
  ASSERT_TRUE(catalog.put_image(image("debian:bookworm", 'b')).has_value());
  EXPECT_EQ(catalog.find_image("busybox")->config.cmd, (std::vector<std::string>{"sh", "-c"}));
  EXPECT_EQ(catalog.find_image("aaaa")->digest, std::string(64, 'a'));
  EXPECT_EQ(catalog.find_image("sha256:bbbbb")->ref, "debian:bookworm");
  EXPECT_EQ(catalog.find_image("aaa").error().code(), Errc::kNotFound);
  EXPECT_EQ(catalog.find_image("*").error().text(), "no image named '*'");
}

TEST_F(CatalogTest, AmbiguousPrefixNamesTheCandidates) {
  Catalog catalog = open();
  ImageRecord second = image("two", 'a');
  second.digest[63] = 'b';
  ASSERT_TRUE(catalog.put_image(image("one", 'a')).has_value());
  ASSERT_TRUE(catalog.put_image(second).has_value());
  EXPECT_THAT(catalog.find_image("aaaa").error().text(), HasSubstr("(one), aaaaaaaaaaaa (two)"));
}

TEST_F(CatalogTest, PutMovesARefToItsNewDigest) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.put_image(image("x", 'a')).has_value());
  ASSERT_TRUE(catalog.put_image(image("x", 'b')).has_value());
  EXPECT_EQ(catalog.list_images()->size(), 1U);
  EXPECT_EQ(catalog.find_image("x")->digest, std::string(64, 'b'));
}

TEST_F(CatalogTest, KeepsAnImageThatAMachineUses) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.put_image(image("x", '1')).has_value());
  ASSERT_TRUE(catalog.insert_vm(vm("00aa", "web")).has_value());
  EXPECT_TRUE(catalog.image_in_use(std::string(64, '1')).value());
  EXPECT_EQ(catalog.remove_image(std::string(64, '1')).error().text(),
            "image 111111111111 is used by: machine web");
  ASSERT_TRUE(catalog.remove_vm("00aa").has_value());
  EXPECT_TRUE(catalog.remove_image(std::string(64, '1')).has_value());
  EXPECT_EQ(catalog.remove_ref("x").error().code(), Errc::kNotFound);
}

TEST_F(CatalogTest, FindsMachinesByNameAndIdPrefix) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.insert_vm(vm("00aa11", "web")).has_value());
  ASSERT_TRUE(catalog.insert_vm(vm("00aa22", "db")).has_value());
  EXPECT_EQ(catalog.find_vm("web")->id, "00aa11");
  EXPECT_EQ(catalog.find_vm("00aa2")->name, "db");
  EXPECT_EQ(catalog.find_vm("00aa").error().text(),
            "'00aa' fits several machines: 00aa11 (web), 00aa22 (db)");
}

TEST_F(CatalogTest, KeepsAnImageThatASnapshotUses) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.put_image(image("x", '1')).has_value());
  ASSERT_TRUE(catalog.insert_snapshot(snapshot("00aa", "warm")).has_value());
  EXPECT_TRUE(catalog.image_in_use(std::string(64, '1')).value());
  EXPECT_EQ(catalog.remove_image(std::string(64, '1')).error().text(),
            "image 111111111111 is used by: snapshot warm");
  EXPECT_EQ(
      collect(layout_, catalog, {.unused_images = true, .caches = false, .dry_run = false})->images,
      0U);
  ASSERT_TRUE(catalog.remove_snapshot("00aa").has_value());
  EXPECT_TRUE(catalog.remove_image(std::string(64, '1')).has_value());
}

TEST_F(CatalogTest, FindsSnapshotsByNameThenById) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.insert_snapshot(snapshot("00aa", "warm")).has_value());
  ASSERT_TRUE(catalog.insert_snapshot(snapshot("00bb", "00aa")).has_value());
  EXPECT_EQ(catalog.find_snapshot("warm")->id, "00aa");
  EXPECT_EQ(catalog.find_snapshot("00aa")->id, "00bb");
  EXPECT_EQ(catalog.find_snapshot("00bb")->name, "00aa");
  EXPECT_EQ(catalog.find_snapshot("00").error().code(), Errc::kNotFound);
  EXPECT_EQ(catalog.insert_snapshot(snapshot("00cc", "warm")).error().code(), Errc::kAlreadyExists);
  EXPECT_EQ(catalog.list_snapshots()->size(), 2U);
}

TEST_F(CatalogTest, GivesACatalogueOfTheFirstVersionItsSnapshots) {
  {
    const Catalog catalog = open();
    const Database db = open_database(layout_.database_path(), SQLITE_OPEN_READWRITE).value();
    ASSERT_TRUE(execute(db.get(), kWithoutSignatures).has_value());
    ASSERT_TRUE(execute(db.get(), "DROP TABLE snapshots; PRAGMA user_version=1").has_value());
  }
  const Catalog reader = Catalog::open_read_only(layout_).value();
  EXPECT_TRUE(reader.list_snapshots()->empty());
  EXPECT_EQ(reader.find_snapshot("warm").error().code(), Errc::kNotFound);
  EXPECT_TRUE(open().insert_snapshot(snapshot("00aa", "warm")).has_value());
}

TEST_F(CatalogTest, ImagesOfACatalogueOfTheThirdVersionStayAndCanBeSigned) {
  ImageRecord image;
  image.ref = "web";
  image.digest = std::string(64, 'a');
  {
    Catalog catalog = open();
    ASSERT_TRUE(catalog.put_image(image).has_value());
    const Database db = open_database(layout_.database_path(), SQLITE_OPEN_READWRITE).value();
    ASSERT_TRUE(execute(db.get(), kWithoutSignatures).has_value());
    ASSERT_TRUE(execute(db.get(), "PRAGMA user_version=3").has_value());
  }
  EXPECT_EQ(Catalog::open_read_only(layout_)->find_image("web")->signature.manifest, "");
  image.signature = {"text", "bytes", "signer"};
  EXPECT_EQ(open().find_image("web")->digest, image.digest);
  ASSERT_TRUE(open().put_image(image).has_value());
  const auto found = Catalog::open_read_only(layout_)->find_image("web");
  EXPECT_EQ(found->signature.manifest, "text");
  EXPECT_EQ(found->signature.bytes, "bytes");
  EXPECT_EQ(found->signature.signer, "signer");
}

TEST_F(CatalogTest, OneOfTwoRacersGetsTheName) {
  (void)open();
  std::array<int, 2> won = {0, 0};
  const auto race = [&](std::size_t who) {
    Catalog catalog = open();
    for (int i = 0; i < 50; ++i) {
      const std::string name = "vm" + std::to_string(i);
      won[who] += catalog.insert_vm(vm(name + "-" + std::to_string(who), name)).has_value() ? 1 : 0;
    }
  };
  std::thread other(race, 1);
  race(0);
  other.join();
  EXPECT_EQ(won[0] + won[1], 50);
  EXPECT_EQ(open().insert_vm(vm("x", "vm1")).error().code(), Errc::kAlreadyExists);
}

TEST_F(CatalogTest, CreationRaceOfManyProcessesEndsInOneSchema) {
  std::vector<std::thread> openers;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 8; ++i)
    openers.emplace_back([&] { opened += Catalog::open(layout_).has_value() ? 1 : 0; });
  for (std::thread& opener : openers) opener.join();
  EXPECT_EQ(opened, 8);
}

TEST_F(CatalogTest, RefusesANewerSchemaNamingBothVersions) {
  (void)open();
  const Database db = open_database(layout_.database_path(), SQLITE_OPEN_READWRITE).value();
  ASSERT_TRUE(execute(db.get(), "PRAGMA user_version=9").has_value());
  const auto reopened = Catalog::open(layout_);
  EXPECT_EQ(reopened.error().code(), Errc::kUnsupported);
  EXPECT_THAT(reopened.error().text(),
              HasSubstr("schema version 9, this mvmctl knows up to version 4"));
}

TEST_F(CatalogTest, DamagedDatabaseIsAnErrorThatNamesIt) {
  ASSERT_TRUE(sys::make_dirs(layout_.data_dir).has_value());
  ASSERT_TRUE(sys::write_file(layout_.database_path(), std::string(8192, 'x')).has_value());
  EXPECT_EQ(Catalog::open(layout_).error().code(), Errc::kCorrupt);
  EXPECT_THAT(Catalog::open_read_only(layout_).error().text(), HasSubstr("catalog.db"));
}

TEST_F(CatalogTest, ListsAThousandMachinesInTenMilliseconds) {
  Catalog catalog = open();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(
        catalog.insert_vm(vm("id" + std::to_string(i), "n" + std::to_string(i))).has_value());
  }
  // The fastest of a few: a busy host may take the processor away in the middle of one.
  auto took = Clock::duration::max();
  for (int i = 0; i < 5; ++i) {
    const auto start = Clock::now();
    EXPECT_EQ(catalog.list_vms()->size(), 1000U);
    took = std::min(took, Clock::now() - start);
  }
  RecordProperty(
      "list_us",
      static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  EXPECT_LT(took, Millis(10));
}

TEST_F(CatalogTest, CollectRemovesOrphansAndSparesPullsAndRecords) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.put_image(image("x", 'a')).has_value());
  std::optional<sys::FileLock> pull = lock_images_shared(layout_).value();
  ASSERT_TRUE(sys::write_file(layout_.blob_path(std::string(64, 'a')), "kept").has_value());
  ASSERT_TRUE(sys::write_file(layout_.blob_path(std::string(64, 'b')), "orphan").has_value());
  ASSERT_TRUE(sys::make_dirs(layout_.images_tmp_dir() + "/pull-1").has_value());
  EXPECT_TRUE(collect(layout_, catalog, {})->busy);
  EXPECT_TRUE(sys::path_exists(layout_.images_tmp_dir() + "/pull-1"));
  pull.reset();
  const Collected done = collect(layout_, catalog, {}).value();
  EXPECT_EQ(done.blobs, 1U);
  EXPECT_GT(done.freed.count, 0U);
  EXPECT_FALSE(sys::path_exists(layout_.images_tmp_dir() + "/pull-1"));
  EXPECT_TRUE(sys::path_exists(layout_.blob_path(std::string(64, 'a'))));
  EXPECT_EQ(
      collect(layout_, catalog, {.unused_images = true, .caches = false, .dry_run = false})->images,
      1U);
  EXPECT_FALSE(sys::path_exists(layout_.blob_path(std::string(64, 'a'))));
}

TEST_F(CatalogTest, CollectRemovesSnapshotsWithoutARecord) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.insert_snapshot(snapshot("00aa", "warm")).has_value());
  for (const char* id : {"00aa", "00bb"})
    ASSERT_TRUE(sys::make_dirs(layout_.snapshot_dir(id)).has_value());
  std::optional<sys::FileLock> maker = lock_images_shared(layout_).value();
  ASSERT_TRUE(collect(layout_, catalog, {}).has_value());
  EXPECT_TRUE(sys::path_exists(layout_.snapshot_dir("00bb")));
  maker.reset();
  ASSERT_TRUE(collect(layout_, catalog, {}).has_value());
  EXPECT_TRUE(sys::path_exists(layout_.snapshot_dir("00aa")));
  EXPECT_FALSE(sys::path_exists(layout_.snapshot_dir("00bb")));
}

TEST(ConfigJson, SurvivesARoundTrip) {
  spec::ImageConfig config;
  config.entrypoint = {"/e"};
  config.env = {"A=b"};
  config.exposed_ports = {"80/tcp"};
  config.labels = {{"k", "v"}};
  const std::string text = image_config_to_json(config);
  EXPECT_EQ(
      text,
      R"({"Entrypoint":["/e"],"Env":["A=b"],"ExposedPorts":{"80/tcp":{}},"Labels":{"k":"v"}})");
  EXPECT_EQ(image_config_to_json(image_config_from_json(text).value()), text);
}

TEST(ConfigJson, RefusesWrongTypesByName) {
  EXPECT_EQ(image_config_from_json(R"({"Env":[1]})").error().text(),
            "image config: member Env is not a string");
  EXPECT_EQ(image_config_from_json(R"({"User":"a\u0000b"})").error().code(), Errc::kCorrupt);
  EXPECT_EQ(image_config_from_json("x").error().code(), Errc::kCorrupt);
}

BuildRecord build(const std::string& project, char digit, std::int64_t built_ms) {
  BuildRecord out;
  out.revision = std::string(64, digit);
  out.project = project;
  out.name = "web";
  out.image_digest = std::string(64, digit);
  out.fingerprint = "f";
  out.manifest_json = "{}";
  out.built_ms = built_ms;
  return out;
}

TEST_F(CatalogTest, TheNewestBuildOfAProjectIsItsCurrentOne) {
  Catalog catalog = open();
  EXPECT_FALSE(catalog.current_build("/p").value().has_value());
  ASSERT_TRUE(catalog.put_build(build("/p", 'a', 1)));
  ASSERT_TRUE(catalog.put_build(build("/p", 'b', 2)));
  ASSERT_TRUE(catalog.put_build(build("/q", 'c', 3)));
  EXPECT_EQ(catalog.current_build("/p").value()->revision, std::string(64, 'b'));
  // Built again, an older one is current again.
  ASSERT_TRUE(catalog.put_build(build("/p", 'a', 4)));
  EXPECT_EQ(catalog.current_build("/p").value()->revision, std::string(64, 'a'));
  EXPECT_EQ(catalog.list_builds()->size(), 3U);
  EXPECT_EQ(catalog.build_of_revision(std::string(64, 'c')).value()->project, "/q");
}

TEST_F(CatalogTest, ABuildIsFoundByTagNameAndPrefix) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.put_build(build("/p", 'a', 1)));
  ASSERT_TRUE(catalog.put_build(build("/p", 'b', 2)));
  ASSERT_TRUE(catalog.tag_build(std::string(64, 'a'), "stable"));
  EXPECT_EQ(catalog.find_build("stable")->revision, std::string(64, 'a'));
  EXPECT_EQ(catalog.find_build("stable")->tags, "stable");
  EXPECT_EQ(catalog.find_build("aaaa")->revision, std::string(64, 'a'));
  EXPECT_EQ(catalog.find_build("web")->revision, std::string(64, 'b'));
  EXPECT_EQ(catalog.find_build("aaa").error().code(), Errc::kNotFound);
  // A tag names one revision at a time.
  ASSERT_TRUE(catalog.tag_build(std::string(64, 'b'), "stable"));
  EXPECT_EQ(catalog.find_build("stable")->revision, std::string(64, 'b'));
}

TEST_F(CatalogTest, ARemovedBuildTakesItsTagsAlong) {
  Catalog catalog = open();
  ASSERT_TRUE(catalog.put_build(build("/p", 'a', 1)));
  ASSERT_TRUE(catalog.tag_build(std::string(64, 'a'), "stable"));
  ASSERT_TRUE(catalog.remove_build(std::string(64, 'a')));
  EXPECT_EQ(catalog.remove_build(std::string(64, 'a')).error().code(), Errc::kNotFound);
  EXPECT_EQ(catalog.find_build("stable").error().code(), Errc::kNotFound);
}

TEST_F(CatalogTest, ACacheIsEmptiedAroundAKernelThatIsBeingBuilt) {
  Catalog catalog = open();
  const std::string kernels = layout_.kernel_cache_dir();
  for (const char* name : {"/linux-image-1", "/.compile-x", "/.fetch-y"})
    ASSERT_TRUE(sys::make_dirs(kernels + name));
  const CollectOptions options{.unused_images = false, .caches = true, .dry_run = false};
  {
    const auto building = sys::FileLock::acquire(kernels + "/compile.lock");
    ASSERT_TRUE(collect(layout_, catalog, options).has_value());
    EXPECT_THAT(sys::children(kernels),
                testing::UnorderedElementsAre(kernels + "/.compile-x", kernels + "/compile.lock"));
  }
  ASSERT_TRUE(collect(layout_, catalog, options).has_value());
  EXPECT_FALSE(sys::path_exists(kernels));
}

}  // namespace
}  // namespace mvm::store
