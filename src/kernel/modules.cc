// SPDX-License-Identifier: Apache-2.0
#include "kernel/modules.h"

#include <algorithm>

#include "sys/io.h"

namespace mvm::kernel {
namespace {

constexpr std::size_t kMaxModules = 65536;
constexpr std::size_t kMaxDepth = 64;  // Debian's deepest chain is below 10
constexpr std::size_t kMaxPath = 512;

Error bad_line(std::string_view file, std::size_t number, std::string_view why) {
  return Error(Errc::kCorrupt,
               std::string(file) + " line " + std::to_string(number) + ": " + std::string(why));
}

// A relative path of plain components that names a module.
bool is_module_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || path.find(".ko") == std::string_view::npos)
    return false;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  const auto plain = [](char c) { return c > ' ' && c < 0x7f; };
  return std::all_of(path.begin(), path.end(), plain) && !module_name(path).empty();
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

Result<> parse_dep_line(std::string_view line, std::size_t number, ModuleIndex& index) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bad_line("modules.dep", number, "no colon");
  const std::string_view file = line.substr(0, colon);
  if (!is_module_path(file)) return bad_line("modules.dep", number, "no module path");
  if (index.modules.size() >= kMaxModules)
    return Error(Errc::kLimit, "modules.dep lists too many modules");
  ModuleIndex::Entry entry{std::string(file), {}};
  std::string_view rest = line.substr(colon + 1);
  for (std::string_view dep = take_word(rest); !dep.empty(); dep = take_word(rest)) {
    if (!is_module_path(dep))
      return bad_line("modules.dep", number, "a dependency is no module path");
    entry.deps.push_back(module_name(dep));
  }
  if (!index.modules.emplace(module_name(file), std::move(entry)).second)
    return bad_line("modules.dep", number, "module is listed twice");
  return {};
}

// Depth-first: a module is emitted after everything below it.
class Resolver {
 public:
  explicit Resolver(const ModuleIndex& index) : index_(index) {}

  Result<> visit(const std::string& name, std::size_t depth) {
    const std::string key = module_name(name);
    if (done_.contains(key)) return {};
    const auto it = index_.modules.find(key);
    if (it == index_.modules.end()) {
      if (index_.builtin.contains(key)) return {};
      return Error(Errc::kNotFound, "kernel module '" + name + "' does not exist");
    }
    if (depth > kMaxDepth || !open_.insert(key).second)
      return Error(Errc::kCorrupt, "modules.dep: the dependencies of '" + name + "' have no end");
    for (const std::string& dep : it->second.deps)
      MVM_TRY_CTX(visit(dep, depth + 1), "module " + key);
    open_.erase(key);
    done_.insert(key);
    files_.push_back({key, it->second.file});
    return {};
  }

  std::vector<ModuleFile> take() { return std::move(files_); }

 private:
  const ModuleIndex& index_;
  std::set<std::string> open_, done_;
  std::vector<ModuleFile> files_;
};

}  // namespace

std::string module_name(std::string_view file) {
  file.remove_prefix(file.find_last_of('/') + 1);  // npos + 1 is 0
  std::string name(file.substr(0, file.find(".ko")));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

Result<ModuleIndex> parse_modules(std::string_view modules_dep, std::string_view modules_builtin) {
  ModuleIndex index;
  for (std::size_t number = 1; !modules_dep.empty(); ++number) {
    const std::string_view line = take_line(modules_dep);
    if (!line.empty()) MVM_TRY(parse_dep_line(line, number, index));
  }
  for (std::size_t number = 1; !modules_builtin.empty(); ++number) {
    const std::string_view line = take_line(modules_builtin);
    if (line.empty()) continue;
    if (!is_module_path(line)) return bad_line("modules.builtin", number, "no module path");
    if (index.builtin.size() >= kMaxModules)
      return Error(Errc::kLimit, "modules.builtin lists too many modules");
    index.builtin.insert(module_name(line));
  }
  return index;
}

Result<ModuleIndex> read_modules(const std::string& modules_dir) {
  const std::string dep = MVM_TRY(sys::read_file(modules_dir + "/modules.dep"));
  const std::string builtin = MVM_TRY(sys::read_file(modules_dir + "/modules.builtin"));
  return MVM_TRY_CTX(parse_modules(dep, builtin), "reading " + modules_dir);
}

Result<std::vector<ModuleFile>> resolve(const ModuleIndex& index,
                                        const std::vector<std::string>& names) {
  Resolver resolver(index);
  for (const std::string& name : names) MVM_TRY(resolver.visit(name, 0));
  return resolver.take();
}

}  // namespace mvm::kernel
