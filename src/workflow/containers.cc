// SPDX-License-Identifier: Apache-2.0
#include "workflow/containers.h"

#include <nlohmann/json.hpp>

#include "core/log.h"
#include "sys/io.h"
#include "sys/process.h"
#include "workflow/programs.h"

namespace mvm::workflow {
namespace {

// A directory that says that this home has had containers.
std::string mark(const store::Layout& layout) { return layout.cache_dir + "/docker"; }

Result<std::string> ask(const std::vector<std::string>& words) {
  sys::Command command;
  command.argv = {MVM_TRY(find_programs()).docker};
  command.argv.insert(command.argv.end(), words.begin(), words.end());
  return sys::run_checked(std::move(command), Deadline::after(Millis(60'000), "mvm-docker"));
}

}  // namespace

Result<> expect_containers(const store::Layout& layout) { return sys::make_dirs(mark(layout)); }

void sweep_containers(const store::Layout& layout) {
  if (!sys::path_exists(mark(layout))) return;
  const auto done = ask({"sweep", layout.run_dir + "/vms"});
  if (!done) log::debug("containers: " + done.error().text());
}

Result<Bytes> prune_containers(const store::Layout& layout, bool dry_run) {
  if (!sys::path_exists(mark(layout))) return Bytes{};
  std::vector<std::string> words = {"prune"};
  if (dry_run) words.emplace_back("--dry-run");
  const std::string text = MVM_TRY_CTX(ask(words), "removing the images that Docker keeps");
  const auto told = nlohmann::json::parse(text, nullptr, false);
  if (!told.is_object() || !told.contains("bytes") || !told["bytes"].is_number_unsigned())
    return Error(Errc::kIo, "mvm-docker did not say what it has removed");
  return Bytes{told["bytes"].get<std::uint64_t>()};
}

}  // namespace mvm::workflow
