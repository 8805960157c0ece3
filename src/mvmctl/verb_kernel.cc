// SPDX-License-Identifier: Apache-2.0
// `mvmctl kernel fetch|ls|rm`.
#include "cli/output.h"
#include "cli/progress.h"
#include "kernel/obtain.h"
#include "mvmctl/verbs.h"
#include "spec/vm_spec_json.h"
#include "store/layout.h"

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
  Table table({"release", "arch", "size", "package"});
  table.align_right(2);
  for (const kernel::Kernel& k : kernels) {
    array.add(kernel_json(k));
    if (context.quiet) context.print(k.release + "\n");
    table.add({k.release, std::string(spec::to_string(k.arch)), format_size(k.size), k.package});
  }
  if (context.json)
    context.print_json(1, Json::object().set("kernels", array));
  else if (!context.quiet)
    context.print(table.text());
  return 0;
}

}  // namespace

CommandSpec make_kernel_command() {
  CommandSpec spec;
  spec.description =
      "Guest kernels: Debian's cloud kernel, fetched by apt and unpacked without being installed.";
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
  CommandSpec ls;
  ls.name = "ls";
  ls.summary = "list kernels";
  ls.run = list;
  spec.subcommands.push_back(ls);
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
