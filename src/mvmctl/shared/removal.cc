// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/shared/removal.h"

#include "cli/output.h"

namespace mvm::cli {

Result<int> remove_each(
    Context& context, const std::vector<std::string>& names,
    const std::function<Result<>(const store::Layout&, const std::string&)>& remove) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  Json removed = Json::array();
  for (const std::string& name : names) {
    MVM_TRY(remove(layout, name));
    removed.add(name);
    if (!context.json && !context.quiet) context.print(name + "\n");
  }
  if (context.json) context.print_json(1, Json::object().set("removed", removed));
  return 0;
}

}  // namespace mvm::cli
