// SPDX-License-Identifier: Apache-2.0
#include "workflow/containers.h"

#include <nlohmann/json.hpp>

#include "core/log.h"
#include "sys/io.h"
#include "sys/process.h"
#include "workflow/programs.h"

namespace mvm::workflow {
namespace {

// A directory that says that this home has had containers, with a file for each image.
std::string mark(const store::Layout& layout) { return layout.cache_dir + "/docker"; }

Result<std::string> ask(const std::vector<std::string>& words,
                        const Deadline& deadline = Deadline::after(Millis(60'000), "mvm-docker")) {
  sys::Command command;
  command.argv = {MVM_TRY(find_programs()).docker};
  command.argv.insert(command.argv.end(), words.begin(), words.end());
  command.die_with_parent = true;
  const sys::Output output = MVM_TRY(sys::run(std::move(command), {}, deadline));
  if (output.status.ok()) return output.out;
  // What it says is an error and its hint.
  constexpr std::string_view kHint = "\n  hint: ";
  const std::size_t end = output.err.find_last_not_of('\n') + 1;
  const std::string text = output.err.substr(0, end);
  const std::size_t at = text.rfind(kHint);
  Error error(Errc::kUnavailable, text.substr(0, at));
  if (at == std::string::npos) return error;
  return std::move(error).with_hint(text.substr(at + kHint.size()));
}

}  // namespace

Result<> import_image(const store::Layout& layout, const std::string& digest,
                      const std::function<void(const std::string&)>& on_step) {
  const std::string known = mark(layout) + "/" + digest;
  if (sys::path_exists(known)) return {};
  MVM_TRY(sys::make_dirs(mark(layout)));
  on_step("giving the image to Docker");
  MVM_TRY(ask({"import", digest, layout.blob_path(digest)}, Deadline::none()));
  return sys::write_file(known, "");
}

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
  if (!dry_run) MVM_TRY(sys::remove_tree(mark(layout)));
  return Bytes{told["bytes"].get<std::uint64_t>()};
}

}  // namespace mvm::workflow
