// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite.h"

namespace mvm::store {

Error sqlite_error(sqlite3* db, std::string_view what) {
  const int code = sqlite3_errcode(db);
  const std::string text = std::string(what) + ": " + sqlite3_errmsg(db);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Error(Errc::kNoSpace, text)
          .with_hint("free some space, for example with: mvmctl cache prune");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(Errc::kBusy, text).with_hint("another mvmctl holds the catalogue; try again");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Errc::kCorrupt, text)
          .with_hint("move the file away; images can be pulled again");
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Error(Errc::kPermission, text)
          .with_hint("check the owner and mode of the directory, or set MVM_HOME to another one");
    case SQLITE_CONSTRAINT:
      return Error(Errc::kAlreadyExists, text);
    default:
      return Error(Errc::kIo, text);
  }
}

Result<Statement> Statement::prepare(sqlite3* db, std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db, sql.data(), static_cast<int>(sql.size()), &statement, nullptr) !=
      SQLITE_OK) {
    return sqlite_error(db, "reading the catalogue");
  }
  return Statement(statement);
}

Statement& Statement::bind(std::string_view text) {
  sqlite3_bind_text64(statement_.get(), ++bound_, text.data() == nullptr ? "" : text.data(),
                      text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind(std::int64_t number) {
  sqlite3_bind_int64(statement_.get(), ++bound_, number);
  return *this;
}

Result<bool> Statement::step() {
  switch (sqlite3_step(statement_.get())) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return sqlite_error(sqlite3_db_handle(statement_.get()), "using the catalogue");
  }
}

std::string Statement::text(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return data == nullptr ? std::string() : std::string(data, static_cast<std::size_t>(size));
}

Result<> execute(sqlite3* db, const char* sql) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    return sqlite_error(db, "writing the catalogue");
  }
  return {};
}

Result<Database> open_database(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Database db(raw);
  if (raw == nullptr) return Error(Errc::kIo, "open " + path + ": out of memory");
  if (code != SQLITE_OK) return sqlite_error(raw, "open " + path);
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, 10'000);
  return db;
}

}  // namespace mvm::store
