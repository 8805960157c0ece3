// SPDX-License-Identifier: Apache-2.0
#include "build/nix_closure.h"

#include "store/foreign_database.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

constexpr std::string_view kSchema = "10";

constexpr std::string_view kClosure =
    "WITH RECURSIVE closure(id) AS ("
    "  SELECT id FROM ValidPaths WHERE path = ?1"
    "  UNION SELECT reference FROM Refs JOIN closure ON referrer = closure.id) "
    "SELECT path FROM ValidPaths JOIN closure USING (id) ORDER BY path";

}  // namespace

Result<std::vector<std::string>> nix_closure(const std::string& store, const std::string& path) {
  const std::string directory = store + "/nix/var/nix/db";
  const std::string schema = MVM_TRY(sys::read_file(directory + "/schema", kibibytes(1)));
  if (schema != kSchema && schema != std::string(kSchema) + "\n")
    return Error(Errc::kUnsupported, "the Nix store " + store + " is of schema " + schema);
  std::vector<std::string> out =
      MVM_TRY(store::read_column(directory + "/db.sqlite", kClosure, path));
  if (out.empty()) return Error(Errc::kNotFound, path + " is not in the Nix store " + store);
  return out;
}

}  // namespace mvm::build
