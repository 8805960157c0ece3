// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "image/host_trees.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::image {
namespace {

bool has_word(std::string_view line, std::string_view word) {
  for (std::size_t at = line.find(word); at != std::string_view::npos;
       at = line.find(word, at + 1)) {
    const auto is_edge = [&](std::size_t i) {
      return i >= line.size() || line[i] == ' ' || line[i] == '\t';
    };
    if ((at == 0 || is_edge(at - 1)) && is_edge(at + word.size())) return true;
  }
  return false;
}

// True when a file of apt sources, in either format, has the suite.
bool mentions_suite(std::string_view text, std::string_view suite) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if ((line.starts_with("deb ") || line.starts_with("deb\t") || line.starts_with("Suites:")) &&
        has_word(line, suite)) {
      return true;
    }
  }
  return false;
}

// The host's own source files for the suite; none when the host follows another one.
std::vector<std::string> host_sources(const std::string& suite) {
  std::vector<std::string> files = {"/etc/apt/sources.list"};
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("/etc/apt/sources.list.d", ec)) {
    const std::string extension = entry.path().extension();
    if (extension == ".list" || extension == ".sources") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> out;
  for (const std::string& file : files) {
    const auto text = sys::read_file(file, mebibytes(1));
    if (text.has_value() && mentions_suite(*text, suite)) out.push_back(file);
  }
  return out;
}

std::string last_complaint(std::string_view text) {
  std::string last;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    const bool complaint = line.starts_with("E: ") || line.starts_with("Err:");
    // mmdebstrap's own last line names only the command that failed; apt's says why.
    if (complaint && (last.empty() || line.find("apt-get") == std::string_view::npos)) last = line;
  }
  return last.empty() ? "no message" : last;
}

}  // namespace

Error debian_failure(const sys::Output& output) {
  const std::string why = last_complaint(output.err);
  const std::string text = "mmdebstrap: " + why;
  const auto has = [&](const char* sign) { return output.err.find(sign) != std::string::npos; };
  if (has("No space left") || has("enough free space"))
    return Error(Errc::kNoSpace, text).with_hint("free some space, or set MVM_HOME");
  if (has("Unable to locate package") || has("has no installation candidate")) {
    return Error(Errc::kNotFound, text).with_hint("check the names of the packages");
  }
  if (has("does not have a Release file") || has("404")) {
    return Error(Errc::kNotFound, text)
        .with_hint("check the suite's name, for example debian:bookworm");
  }
  if (has("Could not resolve") || has("Could not connect") || has("Temporary failure")) {
    return Error(Errc::kUnavailable, text)
        .with_hint("check the network and the host's apt sources");
  }
  return Error(Errc::kIo, text);
}

AptSources host_apt_sources(const std::string& suite) {
  AptSources out;
  for (const std::string& file : host_sources(suite)) {
    const auto text = sys::read_file(file, mebibytes(1));
    if (!text) continue;
    std::string& to = file.ends_with(".list") ? out.list : out.deb822;
    to += (to.empty() ? "" : "\n") + *text;
  }
  return out;
}

Result<DebianCommand> debian_command(const DebianRecipe& recipe, const std::string& work_dir,
                                     const std::string& tar) {
  DebianCommand out;
  // Nothing in the result depends on when or on which host it was made.
  out.environment = {"SOURCE_DATE_EPOCH=0"};
  out.argv = {"mmdebstrap", "--variant=minbase", "--quiet", "--format=tar",
              "--customize-hook=rm -f \"$1/etc/resolv.conf\" \"$1/etc/hostname\"",
              // Written when Debian's own scripts import a module; their bytes depend on what else
              // was imported before, and no package owns them.
              "--customize-hook=rm -rf \"$1/usr/share/python3/debpython/__pycache__\""};
  // Its user namespaces would want subordinate ids and directories that everybody may enter.
  if (::geteuid() != 0) {
    if (!sys::find_program("fakechroot"))
      return Error(Errc::kUnavailable,
                   "a Debian system without root needs fakechroot, which is not installed")
          .with_hint("install it with: apt-get install fakechroot");
    out.argv.push_back("--mode=fakechroot");
  }
  if (!recipe.packages.empty()) {
    std::string include = "--include=";
    for (const std::string& package : recipe.packages)
      include += (include.back() == '=' ? "" : ",") + package;
    out.argv.push_back(include);
  }
  for (const std::string& hook : recipe.hooks) {
    // The command is an argument of the shell inside, whatever is in it.
    std::string quoted;
    for (const char c : hook) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    out.argv.push_back("--customize-hook=chroot \"$1\" /bin/sh -ec '" + quoted + "'");
  }
  out.argv.insert(out.argv.end(), {recipe.suite, tar});
  const auto add = [&](const char* name, const std::string& text) -> Result<> {
    if (text.empty()) return {};
    const std::string path = work_dir + "/" + name;
    out.argv.push_back(path);
    return sys::write_file(path, text, 0644);
  };
  // Under names of ours: they go into the result.
  MVM_TRY(add("mvm.list", recipe.sources.list));
  MVM_TRY(add("mvm.sources", recipe.sources.deb822));
  return out;
}

Result<> write_debian_tar(const Source& source, const std::string& work_dir,
                          const std::string& tar) {
  const auto program = sys::find_program("mmdebstrap");
  if (!program) {
    return Error(Errc::kUnavailable,
                 "making " + source.ref() + " needs mmdebstrap, which is not installed")
        .with_hint("install it with: apt-get install mmdebstrap");
  }
  const DebianRecipe recipe{source.suite, source.packages, {}, host_apt_sources(source.suite)};
  DebianCommand made = MVM_TRY(debian_command(recipe, work_dir, tar));
  sys::Command command;
  command.contain = true;  // it starts apt and dpkg, which would go on without it
  command.argv = std::move(made.argv);
  command.argv.front() = *program;
  // Its working tree stays below our directory, so that a killed pull is collected whole.
  made.environment.push_back("TMPDIR=" + work_dir);
  command.environment = sys::environment_with(made.environment);
  const sys::Output output = MVM_TRY_CTX(sys::run(std::move(command)), "running mmdebstrap");
  if (!output.status.ok()) return debian_failure(output).with_context("making " + source.ref());
  return {};
}

}  // namespace mvm::image
