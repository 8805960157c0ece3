// SPDX-License-Identifier: Apache-2.0
// `mvmctl kernel fetch|build|ls|use|rm`.
#include <algorithm>
#include <thread>

#include "cli/output.h"
#include "cli/progress.h"
#include "kernel/compile.h"
#include "kernel/obtain.h"
#include "mvmctl/verbs.h"
#include "spec/vm_spec_json.h"
#include "store/layout.h"
#include "sys/io.h"
#include "workflow/programs.h"

namespace mvm::cli {
namespace {

Json kernel_json(const kernel::Kernel& k) {
  return Json::object()
      .set("release", k.release)
      .set("package", k.package)
      .set("arch", spec::to_string(k.arch))
      .set("digest", k.digest)
      .set("size_bytes", k.size)
      .set("path", k.vmlinux_path);
}

Result<int> fetch(Context& context, bool force, const std::string& arch_text) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  Progress progress(context);
  kernel::ObtainOptions options;
  options.force = force;
  options.progress = [&](const kernel::Progress& p) {
    progress.step(p.step), progress.percent(p.percent);
  };
  const spec::Arch arch =
      arch_text.empty() ? spec::Arch::kX86_64 : MVM_TRY(spec::parse_arch(arch_text));
  const kernel::Kernel k =
      MVM_TRY_CTX(kernel::obtain(layout.kernel_cache_dir(), arch, options), "kernel");
  progress.finish();
  if (context.json)
    context.print_json(1, kernel_json(k));
  else
    context.print(k.release + "\n");
  return 0;
}

Result<int> list(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const auto kernels = MVM_TRY(kernel::list(layout.kernel_cache_dir()));
  Json array = Json::array();
  Table table({"release", "arch", "size", "in use", "package"});
  table.align_right(2);
  for (const kernel::Kernel& k : kernels) {
    const auto used = kernel::find_cached(layout.kernel_cache_dir(), k.arch);
    const bool in_use = used && used->vmlinux_path == k.vmlinux_path;
    array.add(kernel_json(k).set("in_use", in_use));
    if (context.quiet) context.print(k.release + "\n");
    table.add({k.release, std::string(spec::to_string(k.arch)), format_size(k.size),
               in_use ? "yes" : "no", k.package});
  }
  if (context.json)
    context.print_json(1, Json::object().set("kernels", array));
  else if (!context.quiet)
    context.print(table.text());
  return 0;
}

struct BuildOptions {
  std::vector<std::string> configs;
  std::uint32_t jobs = 0;
  bool force = false;
  bool use = false;
};

Result<int> build(Context& context, const BuildOptions& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Programs programs = MVM_TRY(workflow::find_programs());
  Progress progress(context);
  kernel::CompileOptions options;
  options.config = MVM_TRY(sys::read_file(programs.kernel_configs + "/x86_64.config"));
  for (const std::string& file : o.configs)
    options.config = kernel::merge_configs(options.config, MVM_TRY(sys::read_file(file)));
  options.jobs = o.jobs != 0 ? o.jobs : std::max(1U, std::thread::hardware_concurrency());
  options.force = o.force;
  MVM_TRY(sys::make_dirs(layout.build_logs_dir()));
  options.log_path = layout.build_logs_dir() + "/kernel.log";
  options.progress = [&](const kernel::Progress& p) {
    progress.step(p.step), progress.percent(p.percent);
  };
  const kernel::Kernel k = MVM_TRY_CTX(
      kernel::compile(layout.kernel_cache_dir(), spec::Arch::kX86_64, options), "kernel");
  if (o.use) MVM_TRY(kernel::use(layout.kernel_cache_dir(), k.package));
  progress.finish();
  if (context.json)
    context.print_json(1, kernel_json(k).set("in_use", o.use));
  else
    context.print(k.package + "\n");
  return 0;
}

CommandSpec build_command() {
  auto o = std::make_shared<BuildOptions>();
  CommandSpec spec;
  spec.name = "build";
  spec.summary = "build a lean kernel from Debian's source";
  spec.description =
      "Compiles Debian's kernel source with a configuration that has what a guest needs built in "
      "and nothing else: it needs no modules and boots in less time and memory. The same source, "
      "configuration and compiler give the same bytes, and one that is there is not built again.";
  spec.options = {
      {.names = "--use", .help = "and make it the kernel that machines boot", .target = &o->use},
      {.names = "--config",
       .value_name = "FILE",
       .help = "CONFIG_X=y lines that are set over mvm's own; =n leaves one out",
       .target = &o->configs,
       .complete = Complete::kFile},
      {.names = "-j,--jobs",
       .value_name = "N",
       .help = "compilers at once (standard: the processors of this host)",
       .target = &o->jobs},
      {.names = "--force", .help = "although it is there", .target = &o->force}};
  spec.examples = {{"mvmctl kernel build --use", "the kernel of all machines from now on"},
                   {"mvmctl run --kernel 6.1.192-mvm -- uname -r", "of one machine"}};
  spec.run = [o](Context& context) { return build(context, *o); };
  return spec;
}

CommandSpec use_command() {
  auto name = std::make_shared<std::string>();
  CommandSpec spec;
  spec.name = "use";
  spec.summary = "boot machines from this kernel when none is named";
  spec.positionals = {
      {.name = "KERNEL", .help = "release, package or digest", .target = name.get()}};
  spec.run = [name](Context& context) -> Result<int> {
    const store::Layout layout = MVM_TRY(store::Layout::from_environment());
    const kernel::Kernel k = MVM_TRY(kernel::use(layout.kernel_cache_dir(), *name));
    if (context.json)
      context.print_json(1, kernel_json(k).set("in_use", true));
    else
      context.print(k.package + "\n");
    return 0;
  };
  return spec;
}

}  // namespace

CommandSpec make_kernel_command() {
  CommandSpec spec;
  spec.description =
      "Guest kernels: Debian's cloud kernel, fetched by apt and unpacked without being installed, "
      "and lean ones that are built here of Debian's source.";
  struct FetchOptions {
    bool force = false;
    std::string arch;
  };
  auto o = std::make_shared<FetchOptions>();
  CommandSpec fetch_spec;
  fetch_spec.name = "fetch";
  fetch_spec.summary = "fetch the kernel, so that the first machine starts fast";
  fetch_spec.options = {
      {.names = "--force",
       .help = "ask apt again even when a kernel is there",
       .target = &o->force},
      {.names = "--arch", .value_name = "ARCH", .help = "x86_64 or aarch64", .target = &o->arch}};
  fetch_spec.run = [o](Context& context) { return fetch(context, o->force, o->arch); };
  spec.subcommands.push_back(fetch_spec);
  spec.subcommands.push_back(build_command());
  CommandSpec ls;
  ls.name = "ls";
  ls.summary = "list kernels";
  ls.run = list;
  spec.subcommands.push_back(ls);
  spec.subcommands.push_back(use_command());
  auto name = std::make_shared<std::string>();
  CommandSpec rm;
  rm.name = "rm";
  rm.summary = "remove a kernel";
  rm.positionals = {{.name = "KERNEL", .help = "release, package or digest", .target = name.get()}};
  rm.run = [name](Context& context) -> Result<int> {
    const store::Layout layout = MVM_TRY(store::Layout::from_environment());
    MVM_TRY(kernel::remove(layout.kernel_cache_dir(), *name));
    if (context.json) context.print_json(1, Json::object().set("removed", *name));
    return 0;
  };
  spec.subcommands.push_back(rm);
  return spec;
}

}  // namespace mvm::cli
