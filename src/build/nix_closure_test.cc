// SPDX-License-Identifier: Apache-2.0
#include "build/nix_closure.h"

#include <gmock/gmock.h>
#include <sqlite3.h>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

using testing::ElementsAre;

// As Nix 2.8 makes it, without the columns that nobody asks for.
constexpr const char* kTables = R"(
  CREATE TABLE ValidPaths (id integer primary key, path text unique not null);
  CREATE TABLE Refs (referrer integer not null, reference integer not null);
  INSERT INTO ValidPaths VALUES
    (1, '/nix/store/d'), (2, '/nix/store/c'), (3, '/nix/store/b'), (4, '/nix/store/a');
  -- c refers to itself and to b, b to a and back; nobody to d.
  INSERT INTO Refs VALUES (2, 2), (2, 3), (3, 4), (4, 3), (1, 2);
)";

class NixClosure : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sys::make_dirs(db_));
    ASSERT_TRUE(sys::write_file(db_ + "/schema", "10"));
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((db_ + "/db.sqlite").c_str(), &db), SQLITE_OK);
    const int made = sqlite3_exec(db, kTables, nullptr, nullptr, nullptr);
    sqlite3_close(db);
    ASSERT_EQ(made, SQLITE_OK);
  }

  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-nix-").value();
  std::string db_ = dir_.path() + "/nix/var/nix/db";
};

TEST_F(NixClosure, IsAllThatAPathRefersToAndItself) {
  EXPECT_THAT(nix_closure(dir_.path(), "/nix/store/c").value(),
              ElementsAre("/nix/store/a", "/nix/store/b", "/nix/store/c"));
}

TEST_F(NixClosure, OfAnUnknownPathIsNone) {
  EXPECT_EQ(nix_closure(dir_.path(), "/nix/store/e").error().code(), Errc::kNotFound);
}

TEST_F(NixClosure, OfADatabaseOfAnotherSchemaIsNotGuessed) {
  ASSERT_TRUE(sys::write_file(db_ + "/schema", "11"));
  EXPECT_EQ(nix_closure(dir_.path(), "/nix/store/c").error().code(), Errc::kUnsupported);
}

}  // namespace
}  // namespace mvm::build
