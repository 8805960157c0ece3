// SPDX-License-Identifier: Apache-2.0
// Kernel modules: which files have to be loaded, in which order.
//
// Source: modules.dep(5), modules.builtin (Linux Documentation/kbuild/kbuild.rst). The text is not
// trusted: paths that leave the modules directory, loops and endless chains are errors.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::kernel {

struct ModuleIndex {
  struct Entry {
    std::string file;               // below the modules directory: "kernel/fs/erofs/erofs.ko"
    std::vector<std::string> deps;  // names, every one a key of `modules`
  };
  std::map<std::string, Entry, std::less<>> modules;  // by name, with '-' written as '_'
  std::set<std::string, std::less<>> builtin;
};

// "kernel/fs/erofs/erofs.ko.xz" → "erofs"; "dm-verity" → "dm_verity".
std::string module_name(std::string_view file);

// Reads both texts. Errors: kCorrupt names the line; kLimit.
Result<ModuleIndex> parse_modules(std::string_view modules_dep, std::string_view modules_builtin);

// The same from a .../lib/modules/REL directory. Errors: kNotFound when depmod never ran there.
Result<ModuleIndex> read_modules(const std::string& modules_dir);

struct ModuleFile {
  std::string name;
  std::string file;
};

// The files of these modules and of everything they need, each once, dependencies first; built-in
// ones are left out. Errors: kNotFound names the module; kCorrupt for a loop.
Result<std::vector<ModuleFile>> resolve(const ModuleIndex& index,
                                        const std::vector<std::string>& names);

}  // namespace mvm::kernel
