// SPDX-License-Identifier: Apache-2.0
#include "build/tool.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <map>

#include "build/sandbox.h"
#include "core/lines.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::build {
namespace {

bool has(std::string_view text, std::string_view sign) {
  return text.find(sign) != std::string_view::npos;
}

Result<> append(const std::string& path, std::string_view text) {
  const sys::UniqueFd file = MVM_TRY(sys::open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0600));
  return sys::write_full(file.get(), text);
}

std::string shown(const std::vector<std::string>& argv) {
  std::string out = "$";
  for (const std::string& word : argv) out += " " + word;
  return out + "\n";
}

Error failure(const Tool& tool, const sys::Output& output) {
  const std::string text =
      tool.argv.front() + " ended with " + output.status.text() + ":\n" + complaint_in(output.err);
  if (has(output.err, "No space left on device") || has(output.err, "no space left on device"))
    return Error(Errc::kNoSpace, text)
        .with_hint("free some space: mvmctl image prune, mvmctl cache prune");
  constexpr std::array<std::string_view, 5> kNoNetwork = {
      "Could not resolve", "Temporary failure in name resolution", "no such host",
      "connection refused", "Network is unreachable"};
  if (std::ranges::any_of(kNoNetwork, [&](auto sign) { return has(output.err, sign); }))
    return Error(Errc::kUnavailable, text).with_hint("the step could not reach the network");
  return {Errc::kIo, text};
}

}  // namespace

std::string complaint_in(std::string_view text, std::size_t most) {
  std::vector<std::string_view> lines = lines_of(text);
  std::erase_if(lines, [](std::string_view line) {
    return line.find_first_not_of(" \t\r") == std::string_view::npos;
  });
  constexpr std::array<std::string_view, 4> kSigns = {"error", "Error", "E: ", "failed"};
  const auto complains = [&](std::string_view line) {
    return std::ranges::any_of(kSigns, [&](auto sign) { return has(line, sign); });
  };
  // From the first complaint on; without one, the end.
  auto first = std::ranges::find_if(lines, complains);
  if (first == lines.end())
    first = lines.end() - static_cast<std::ptrdiff_t>(std::min(most, lines.size()));
  std::string out;
  for (; first != lines.end() && most > 0; ++first, --most)
    out += (out.empty() ? "  " : "\n  ") + std::string(*first);
  return out.empty() ? "  (it said nothing)" : out;
}

Result<std::string> run_tool(const Shop& shop, const Tool& tool) {
  static const std::map<std::string, std::string, std::less<>> kPackages = {
      {"nix", "nix-bin"}, {"mkfs.erofs", "erofs-utils"}, {"veritysetup", "cryptsetup-bin"}};
  const std::string& name = tool.argv.front();
  const auto program = sys::find_program(name);
  if (!program) {
    const auto package = kPackages.find(name);
    return Error(Errc::kUnavailable, name + " is not installed")
        .with_hint("install it with: apt-get install " +
                   (package == kPackages.end() ? name : package->second));
  }
  sys::Command command;
  command.contain = true;
  command.argv = tool.argv;
  command.argv.front() = *program;
  command.working_dir = tool.working_dir;
  const std::string temporary = shop.temporary();
  MVM_TRY(sys::make_dirs(temporary));
  std::vector<std::string> environment = tool.environment;
  environment.insert(environment.end(), {"TMPDIR=" + temporary, "HOME=" + temporary});
  command.environment = sys::environment_with(environment);
  Sandbox sandbox{.writable = {shop.job.work_dir, shop.job.cache_dir}, .network = tool.network};
  sandbox.writable.insert(sandbox.writable.end(), tool.writable.begin(), tool.writable.end());
  const std::string log = shop.log_path(tool.step);
  MVM_TRY(append(log, shown(tool.argv)));
  const sys::Output output =
      MVM_TRY_CTX(sys::run(MVM_TRY(sandboxed(std::move(command), sandbox))), "running " + name);
  MVM_TRY(append(log, output.out + output.err));
  if (!output.status.ok()) return tool.explain ? tool.explain(output) : failure(tool, output);
  return output.out;
}

}  // namespace mvm::build
