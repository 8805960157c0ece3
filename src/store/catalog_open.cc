// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include "store/catalog_state.h"
#include "store/schema.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::store {
namespace {

constexpr std::int64_t kFirstWithSnapshots = 2;
constexpr std::int64_t kFirstWithBuilds = 3;
constexpr std::int64_t kFirstWithSignatures = 4;

// Before the script, for a table that an older version has made.
constexpr char kAddSignatures[] = R"sql(
ALTER TABLE images ADD COLUMN signed_manifest TEXT NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN signature       TEXT NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN signer          TEXT NOT NULL DEFAULT '';
)sql";

Result<std::int64_t> user_version(sqlite3* db) {
  Statement statement = MVM_TRY(Statement::prepare(db, "PRAGMA user_version"));
  if (!MVM_TRY(statement.step())) return sqlite_error(db, "reading the catalogue's version");
  return statement.number(0);
}

Result<> check_version(std::int64_t version, const std::string& path) {
  if (version <= kSchemaVersion) return {};
  return Error(Errc::kUnsupported, path + " has schema version " + std::to_string(version) +
                                       ", this mvmctl knows up to version " +
                                       std::to_string(kSchemaVersion))
      .with_hint("use the newer mvmctl that wrote it, or set MVM_HOME to another directory");
}

// To be called with the first-use lock held: the change to WAL needs the file alone and, unlike
// every other statement, does not wait for it.
Result<> create_tables(sqlite3* db) {
  const std::int64_t version = MVM_TRY(user_version(db));
  if (version >= kSchemaVersion) return {};  // somebody else was first
  MVM_TRY(execute(db, "PRAGMA journal_mode=WAL"));
  MVM_TRY(execute(db, "BEGIN IMMEDIATE"));
  const bool add_signatures = version > 0 && version < kFirstWithSignatures;
  const std::string script = std::string(add_signatures ? kAddSignatures : "") + kSchema +
                             "PRAGMA user_version=" + std::to_string(kSchemaVersion) + "; COMMIT;";
  return execute(db, script.c_str());
}

// WAL needs its shared-memory file even to read. Where that cannot be made (read-only home) the
// file is read as it lies; records of a writer killed before its checkpoint are then not seen.
Result<Database> open_immutable(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      constexpr char kDigits[] = "0123456789abcdef";
      uri += {'%', kDigits[(c >> 4) & 15], kDigits[c & 15]};
    } else {
      uri += c;
    }
  }
  return open_database(uri + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
}

}  // namespace

Catalog::Catalog(std::unique_ptr<State> state) : state_(std::move(state)) {}
Catalog::Catalog(Catalog&&) noexcept = default;
Catalog& Catalog::operator=(Catalog&&) noexcept = default;
Catalog::~Catalog() = default;

Result<Catalog> Catalog::open(const Layout& layout) {
  const std::string path = layout.database_path();
  MVM_TRY(sys::make_dirs(layout.data_dir));
  auto state = std::make_unique<State>();
  // Nobody reads a file that is still empty without the lock, so that the one who fills it has it
  // alone.
  std::optional<sys::FileLock> first_use;
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 || st.st_size == 0)
    first_use = MVM_TRY(sys::FileLock::acquire(path + ".lock"));
  state->db = MVM_TRY(open_database(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  const std::int64_t version = MVM_TRY_CTX(user_version(state->db.get()), path);
  MVM_TRY(check_version(version, path));
  if (version < kSchemaVersion) {
    if (!first_use) first_use = MVM_TRY(sys::FileLock::acquire(path + ".lock"));
    MVM_TRY_CTX(create_tables(state->db.get()), path);
  }
  MVM_TRY_CTX(execute(state->db.get(), "PRAGMA synchronous=NORMAL"), path);
  return Catalog(std::move(state));
}

Result<Catalog> Catalog::open_read_only(const Layout& layout) {
  const std::string path = layout.database_path();
  auto state = std::make_unique<State>();
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return Error::from_errno("open " + path);
    return Catalog(std::move(state));
  }
  state->db = MVM_TRY(open_database(path, SQLITE_OPEN_READONLY));
  auto version = user_version(state->db.get());
  if (!version.has_value() && version.error().code() == Errc::kPermission) {
    state->db = MVM_TRY(open_immutable(path));
    version = user_version(state->db.get());
  }
  if (!version.has_value()) return std::move(version).error().with_context(path);
  MVM_TRY(check_version(*version, path));
  if (*version == 0) state->db.reset();  // another process is about to make the tables
  state->has_snapshots = *version >= kFirstWithSnapshots;
  state->has_builds = *version >= kFirstWithBuilds;
  state->has_signatures = *version >= kFirstWithSignatures;
  return Catalog(std::move(state));
}

}  // namespace mvm::store
