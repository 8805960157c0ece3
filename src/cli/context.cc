// SPDX-License-Identifier: Apache-2.0
#include "cli/context.h"

#include "sys/io.h"

namespace mvm::cli {

void Context::print(std::string_view text) {
  if (output_error_) return;
  auto written = sys::write_full(out_fd, text);
  if (!written) output_error_ = std::move(written.error()).with_context("writing the result");
}

void Context::print_json(int schema, const Json& body) {
  Json document = Json::object().set("schema", schema);
  document.merge(body);
  print(document.dump() + "\n");
}

void Context::note(std::string_view line) const {
  if (quiet) return;
  // A closed stderr must not stop the work it is about.
  static_cast<void>(sys::write_full(err_fd, std::string(line) + "\n").has_value());
}

}  // namespace mvm::cli
