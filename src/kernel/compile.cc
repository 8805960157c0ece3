// SPDX-License-Identifier: Apache-2.0
#include "kernel/compile.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/lines.h"
#include "kernel/package.h"
#include "kernel/vmlinux.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/sha256.h"

namespace mvm::kernel {
namespace {

constexpr std::size_t kShownLines = 4;

struct Tool {
  const char* program;
  const char* package;
};
// What the kernel's build calls. Source: Documentation/process/changes.rst.
constexpr std::array<Tool, 8> kTools = {{{"apt-get", "apt"},
                                         {"dpkg-deb", "dpkg"},
                                         {"xz", "xz-utils"},
                                         {"make", "make"},
                                         {"gcc", "gcc"},
                                         {"flex", "flex"},
                                         {"bison", "bison"},
                                         {"bc", "bc"}}};

std::string_view key_of(std::string_view line) {
  return line.starts_with("CONFIG_") ? line.substr(0, line.find('=')) : std::string_view();
}

// As a .config says that something is left out: "# CONFIG_X is not set" is "CONFIG_X=n".
std::string plain(std::string_view line) {
  constexpr std::string_view kBegin = "# CONFIG_", kEnd = " is not set";
  if (!line.starts_with(kBegin) || !line.ends_with(kEnd)) return std::string(line);
  return std::string(line.substr(2, line.size() - 2 - kEnd.size())) + "=n";
}

Result<> check_tools() {
  for (const Tool& tool : kTools) {
    if (!sys::find_program(tool.program))
      return Error(Errc::kUnavailable,
                   std::string(tool.program) + " is not installed, it is needed to build a kernel")
          .with_hint("install it with: apt-get install " + std::string(tool.package));
  }
  if (!sys::path_exists("/usr/include/libelf.h"))
    return Error(Errc::kUnavailable, "libelf.h is not installed, it is needed to build a kernel")
        .with_hint("install it with: apt-get install libelf-dev");
  return {};
}

// The end of what make has said, where its errors stand.
std::string complaint(const std::string& log) {
  const std::string text = sys::read_file(log).value_or("");
  std::vector<std::string_view> said = lines_of(text);
  std::erase_if(said, [](std::string_view line) {
    return line.find("rror") == std::string_view::npos &&
           line.find("***") == std::string_view::npos;
  });
  if (said.size() > kShownLines) said.resize(kShownLines);
  std::string out;
  for (const std::string_view line : said) out.append("\n  ").append(line);
  return out;
}

// Everything that would put this host, this user or this hour into the image.
// Source: Linux, Documentation/kbuild/reproducible-builds.rst.
std::vector<std::string> build_environment() {
  return sys::environment_with({"LC_ALL=C", "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970",
                                "KBUILD_BUILD_USER=mvm", "KBUILD_BUILD_HOST=mvm",
                                "KBUILD_BUILD_VERSION=1", "MAKEFLAGS=", "CFLAGS=", "LDFLAGS="});
}

struct Work {
  std::string directory;
  const CompileOptions& options;

  std::string source() const { return directory + "/source"; }
  void report(const std::string& step) const {
    if (options.progress) options.progress({step, -1});
  }
  Result<> run(std::vector<std::string> argv, const std::string& in) const {
    const std::string what = argv.front();
    const sys::UniqueFd log =
        MVM_TRY(sys::open_file(options.log_path, O_WRONLY | O_CREAT | O_APPEND, 0600));
    sys::Command command;
    command.contain = true;
    command.argv = std::move(argv);
    command.working_dir = in;
    command.environment = build_environment();
    command.fds = {{log.get(), STDOUT_FILENO}, {log.get(), STDERR_FILENO}};
    sys::Child child = MVM_TRY(sys::spawn(command));
    const sys::ExitStatus status = MVM_TRY(child.wait());
    if (status.ok()) return {};
    const std::string said = complaint(options.log_path);
    if (said.find("No space left") != std::string::npos)
      return Error(Errc::kNoSpace, "no space left for building the kernel: 2 GB are needed");
    return Error(Errc::kIo, what + " ended with " + status.text() + said)
        .with_hint("the whole log: " + options.log_path);
  }
};

// "linux-source-6.1_6.1.192-2", its source unpacked.
Result<std::string> unpack_source(const Work& work, const std::string& package) {
  const std::string deb_dir = work.directory + "/deb", raw = work.directory + "/raw";
  MVM_TRY(sys::make_dirs(deb_dir));
  MVM_TRY(sys::make_dirs(work.source()));
  ObtainOptions options;
  options.progress = work.options.progress;
  MVM_TRY(download_package(deb_dir, package, options));
  std::string deb = MVM_TRY(only_entry(deb_dir, package + "_", ".deb"));
  work.report("unpacking " + package);
  MVM_TRY(work.run({"dpkg-deb", "-x", deb_dir + "/" + deb, raw}, work.directory));
  MVM_TRY(work.run({"tar", "-xJf", raw + "/usr/src/" + package + ".tar.xz", "--strip-components=1"},
                   work.source()));
  MVM_TRY(sys::remove_tree(raw));
  MVM_TRY(sys::remove_tree(deb_dir));
  return deb;
}

Result<> configure(const Work& work) {
  const std::string& config = work.options.config;
  const std::string file = work.directory + "/mvm.config";
  MVM_TRY(sys::write_file(file, config));
  work.report("configuring");
  MVM_TRY(work.run({"make", "-s", "allnoconfig", "KCONFIG_ALLCONFIG=" + file}, work.source()));
  const auto missing =
      missing_options(config, MVM_TRY(sys::read_file(work.source() + "/.config", mebibytes(4))));
  if (missing.empty()) return {};
  std::string text;
  for (const std::string& line : missing) text += (text.empty() ? "" : ", ") + line;
  return Error(Errc::kUnsupported, "the kernel's source cannot be configured with " + text)
      .with_hint("an option may need another one, or be of another version");
}

Result<Kernel> finish(const Work& work, spec::Arch arch, const std::string& name,
                      const std::string& tree) {
  const std::string image = MVM_TRY(sys::read_file(work.source() + "/vmlinux", kMaxKernelImage));
  Kernel out;
  out.arch = MVM_TRY(check_elf(image));
  if (out.arch != arch || !has_pvh_entry(image))
    return Error(Errc::kUnsupported, "the kernel that was built has no PVH entry point")
        .with_hint("CONFIG_PVH=y is needed");
  out.release = find_release(image).value_or("");
  out.package = name;
  MVM_TRY(sys::make_dirs(tree, 0755));
  MVM_TRY(place_image(image, tree, out));
  MVM_TRY(sys::write_file(tree + "/config",
                          MVM_TRY(sys::read_file(work.source() + "/.config", mebibytes(4))), 0644));
  return out;
}

// The compiler is an input like any other.
Result<std::string> inputs_digest(const CompileOptions& options, const std::string& deb) {
  sys::Command command;
  command.argv = {"gcc", "--version"};
  const sys::Output compiler = MVM_TRY(sys::run(std::move(command)));
  return sys::sha256_hex("mvm-kernel 1\n" + deb + "\n" + compiler.out + "\n" + options.config);
}

}  // namespace

std::string merge_configs(std::string_view base, std::string_view over) {
  std::map<std::string, std::string, std::less<>> replaced;
  for (const std::string_view given : lines_of(over)) {
    const std::string line = plain(given);
    if (const std::string_view key = key_of(line); !key.empty()) replaced[std::string(key)] = line;
  }
  std::string out;
  for (const std::string_view line : lines_of(base)) {
    if (!replaced.contains(key_of(line))) out.append(line).append("\n");
  }
  for (const auto& [key, line] : replaced) out += line + "\n";
  return out;
}

std::vector<std::string> missing_options(std::string_view wanted, std::string_view dot_config) {
  std::set<std::string_view> lines;
  std::set<std::string_view> keys;
  for (const std::string_view line : lines_of(dot_config)) {
    lines.insert(line);
    keys.insert(key_of(line));
  }
  std::vector<std::string> out;
  for (const std::string_view line : lines_of(wanted)) {
    const std::string_view key = key_of(line);
    if (key.empty()) continue;
    const bool left_out = line.substr(key.size()) == "=n";
    if (left_out ? keys.contains(key) : !lines.contains(line)) out.emplace_back(line);
  }
  return out;
}

Result<Kernel> compile(const std::string& cache_dir, spec::Arch arch,
                       const CompileOptions& options) {
  if (arch != spec::Arch::kX86_64)
    return Error(Errc::kUnsupported, "kernels are built for x86_64 only")
        .with_hint("mvmctl kernel fetch --arch aarch64 gets Debian's");
  MVM_TRY(check_tools());
  MVM_TRY(sys::make_dirs(cache_dir));
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(cache_dir + "/compile.lock"));
  sweep_compiled(cache_dir);
  const std::string package = MVM_TRY(find_source_package());
  const std::string deb = MVM_TRY(candidate_file(package));
  const std::string inputs = MVM_TRY(inputs_digest(options, deb));
  const std::string name = deb.substr(0, deb.rfind("_all")) + "_mvm-" + inputs.substr(0, 12);
  if (!options.force) {
    for (Kernel& known : MVM_TRY(list(cache_dir))) {
      if (known.package == name) return std::move(known);
    }
  }
  const sys::TempDir temp = MVM_TRY(sys::TempDir::create(cache_dir, kCompilePrefix));
  ::unlink(options.log_path.c_str());
  const Work work{temp.path(), options};
  MVM_TRY(unpack_source(work, package));
  MVM_TRY(configure(work));
  work.report("compiling " + package + " (some minutes)");
  MVM_TRY(work.run({"make", "-s", "-j" + std::to_string(options.jobs), "vmlinux"}, work.source()));
  const std::string tree = temp.path() + "/tree";
  Kernel out = MVM_TRY(finish(work, arch, name, tree));
  MVM_TRY(publish_kernel(cache_dir, tree, out));
  ::unlink(options.log_path.c_str());
  return out;
}

}  // namespace mvm::kernel
