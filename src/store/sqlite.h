// SPDX-License-Identifier: Apache-2.0
// A thin owner for SQLite handles; included only by the .cc files of store/.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm::store {

// SQLite's last failure as an Error: full disk → kNoSpace, locked → kBusy, damaged → kCorrupt.
Error sqlite_error(sqlite3* db, std::string_view what);

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

// One prepared statement. Bind in order, then step() until it says false.
class Statement {
 public:
  static Result<Statement> prepare(sqlite3* db, std::string_view sql);

  Statement& bind(std::string_view text);
  Statement& bind(std::int64_t number);
  // True while there is a row. A broken UNIQUE or PRIMARY KEY is kAlreadyExists.
  Result<bool> step();

  std::string text(int column) const;
  std::int64_t number(int column) const { return sqlite3_column_int64(statement_.get(), column); }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
};

Result<> execute(sqlite3* db, const char* sql);

// Opens; `flags` are SQLITE_OPEN_*. Errors name the path.
Result<Database> open_database(const std::string& path, int flags);

}  // namespace mvm::store
