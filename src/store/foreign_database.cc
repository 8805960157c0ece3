// SPDX-License-Identifier: Apache-2.0
#include "store/foreign_database.h"

#include "store/sqlite.h"

namespace mvm::store {

Result<std::vector<std::string>> read_column(const std::string& database, std::string_view query,
                                             std::string_view parameter) {
  const Database db = MVM_TRY(open_database(database, SQLITE_OPEN_READONLY));
  Statement statement = MVM_TRY(Statement::prepare(db.get(), query));
  statement.bind(parameter);
  std::vector<std::string> out;
  while (MVM_TRY(statement.step())) out.push_back(statement.text(0));
  return out;
}

}  // namespace mvm::store
