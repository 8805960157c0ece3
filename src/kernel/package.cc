// SPDX-License-Identifier: Apache-2.0
#include "kernel/package.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "kernel/vmlinux.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/sha256.h"

namespace mvm::kernel {
namespace {

void report(const ObtainOptions& options, std::string step, int percent = -1) {
  if (options.progress) options.progress({std::move(step), percent});
}

Result<> need_tool(const std::string& tool, const std::string& package) {
  if (sys::find_program(tool)) return {};
  return Error(Errc::kUnavailable, tool + " is not installed, it is needed to fetch a guest kernel")
      .with_hint("install the Debian package " + package + ", or give a kernel by --kernel FILE");
}

// The C locale, so that texts can be read by us and quoted in bug reports.
sys::Command tool_command(std::vector<std::string> argv, const std::string& dir = {}) {
  sys::Command command;
  command.die_with_parent = true;
  command.argv = std::move(argv);
  command.working_dir = dir;
  command.environment = sys::environment_with({"LC_ALL=C"});
  return command;
}

Result<std::string> find_package(spec::Arch arch) {
  const std::string meta = meta_package(arch);
  const sys::Output output = MVM_TRY(sys::run(tool_command({"apt-cache", "depends", meta})));
  std::string name = first_kernel_dependency(output.out);
  if (output.status.ok() && !name.empty()) return name;
  std::string hint = "run 'apt-get update' as root, or give a kernel by --kernel FILE";
  if (arch == spec::Arch::kAarch64)
    hint = "run 'dpkg --add-architecture arm64 && apt-get update' as root";
  return Error(Errc::kNotFound, "apt knows no package " + meta).with_hint(std::move(hint));
}

// "dlstatus:1:19.8:Retrieving…" → 19. Source: apt, doc/progress-reporting.txt.
int status_percent(std::string_view line) {
  if (!line.starts_with("dlstatus:")) return -1;
  const std::size_t second = line.find(':', 9);
  if (second == std::string_view::npos) return -1;
  int percent = -1;
  std::from_chars(line.data() + second + 1, line.data() + line.size(), percent);
  return percent;
}

// Reads apt's status lines until it closes the pipe.
Result<> follow_status(int fd, const ObtainOptions& options, const std::string& step) {
  std::string pending;
  std::array<std::byte, 4096> chunk;
  for (;;) {
    const std::size_t n = MVM_TRY(sys::read_some(fd, chunk));
    if (n == 0) return {};
    pending.append(reinterpret_cast<const char*>(chunk.data()), n);
    for (std::size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
      const int percent = status_percent(std::string_view(pending).substr(0, end));
      if (percent >= 0) report(options, step, percent);
      pending.erase(0, end + 1);
    }
  }
}

Error download_error(const std::string& package, const std::string& log,
                     const std::string& status) {
  std::string reason;
  for (std::size_t at = 0; at < log.size();) {
    const std::size_t end = std::min(log.find('\n', at), log.size());
    const std::string line = log.substr(at, end - at);
    if (line.starts_with("E: ") || line.starts_with("Err:")) reason = line;
    at = end + 1;
  }
  if (log.find("No space left") != std::string::npos)
    return Error(Errc::kNoSpace, "no space left while downloading " + package);
  return Error(Errc::kIo,
               "downloading " + package + " failed: " + (reason.empty() ? status : reason))
      .with_hint(
          "check the network and the package lists ('apt-get update'), or give a kernel by "
          "--kernel FILE");
}

struct DirClose {
  void operator()(DIR* d) const { ::closedir(d); }
};

Error unpack_error(Error error) {
  if (error.message().find("No space left") == std::string::npos) return error;
  return Error(Errc::kNoSpace, "no space left while unpacking the kernel package");
}

Result<> move(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return Error::from_errno("rename " + from);
  return {};
}

Result<std::string> bootable_image(const std::string& vmlinuz) {
  std::string image = MVM_TRY(sys::read_file(vmlinuz, kMaxKernelImage));
  if (detect_format(image) == ImageFormat::kBzImage) image = MVM_TRY(extract_vmlinux(image));
  if (detect_format(image) == ImageFormat::kGzip)
    image = MVM_TRY(decompress(image, kMaxKernelImage.count));
  if (detect_format(image) == ImageFormat::kUnknown)
    return Error(Errc::kCorrupt, vmlinuz + " is no kernel image");
  return image;
}

// From the unpacked package in `raw` picks what is needed into `tree`.
Result<> assemble(const std::string& raw, const std::string& tree, Kernel& kernel,
                  const ObtainOptions& options) {
  const std::string vmlinuz = MVM_TRY(only_entry(raw + "/boot", "vmlinuz-", ""));
  kernel.release = vmlinuz.substr(std::string_view("vmlinuz-").size());
  // Debian 13 unpacks modules below usr/lib.
  const std::string lib = sys::path_exists(raw + "/lib/modules") ? raw + "/lib" : raw + "/usr/lib";
  MVM_TRY(sys::make_dirs(tree + "/lib", 0755));
  MVM_TRY(move(lib + "/modules", tree + "/lib/modules"));
  kernel.modules_dir = tree + "/lib/modules/" + kernel.release;
  report(options, "indexing the modules of " + kernel.release);
  MVM_TRY_CTX(sys::run_checked(tool_command({"depmod", "-b", tree, kernel.release})),
              "indexing kernel modules");
  MVM_TRY(move(raw + "/boot/config-" + kernel.release, tree + "/config"));
  report(options, "unpacking the kernel image");
  return place_image(MVM_TRY(bootable_image(raw + "/boot/" + vmlinuz)), tree, kernel);
}

}  // namespace

Result<> place_image(std::string_view image, const std::string& tree, Kernel& kernel) {
  kernel.vmlinux_path = tree + "/vmlinux";
  kernel.digest = sys::sha256_hex(image);
  kernel.size = Bytes{image.size()};
  // A third of Debian's image is zeros; a monitor that loads it skips holes.
  return sys::write_sparse_file(kernel.vmlinux_path, image, 0644);
}

Result<> download_package(const std::string& dir, const std::string& package,
                          const ObtainOptions& options) {
  const std::string step = "downloading " + package;
  report(options, step, 0);
  const std::string log_path = dir + "/../apt.log";
  sys::Pipe pipe = MVM_TRY(sys::make_pipe());
  const sys::UniqueFd log = MVM_TRY(sys::open_file(log_path, O_RDWR | O_CREAT | O_TRUNC, 0600));
  sys::Command command =
      tool_command({"apt-get", "-q", "-o", "APT::Status-Fd=3", "download", package}, dir);
  command.fds = {{log.get(), 1}, {log.get(), 2}, {pipe.write_end.get(), 3}};
  sys::Child child = MVM_TRY(sys::spawn(command));
  pipe.write_end.reset();
  MVM_TRY(follow_status(pipe.read_end.get(), options, step));
  const sys::ExitStatus status = MVM_TRY(child.wait());
  if (!status.ok())
    return download_error(package, sys::read_file(log_path).value_or(""),
                          "apt-get: " + status.text());
  return {};
}

Result<std::string> only_entry(const std::string& dir, std::string_view prefix,
                               std::string_view suffix) {
  const std::unique_ptr<DIR, DirClose> handle(::opendir(dir.c_str()));
  if (!handle) return Error::from_errno("open " + dir);
  std::string found;
  while (const dirent* entry = ::readdir(handle.get())) {
    const std::string_view name = entry->d_name;
    if (name.front() == '.' || !name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    if (!found.empty())
      return Error(Errc::kCorrupt, dir + " holds more than one " + std::string(prefix) + "*");
    found = name;
  }
  if (found.empty())
    return Error(Errc::kCorrupt,
                 "the package has no " + std::string(prefix) + "*" + std::string(suffix));
  return found;
}

std::string meta_package(spec::Arch arch) {
  const std::string debian = arch == spec::Arch::kAarch64 ? "arm64" : "amd64";
  return "linux-image-cloud-" + debian + ":" + debian;
}

Result<std::string> find_source_package() {
  const sys::Output output =
      MVM_TRY(sys::run(tool_command({"apt-cache", "depends", "linux-source"})));
  std::string name = first_kernel_dependency(output.out, "linux-source-");
  if (output.status.ok() && !name.empty()) return name;
  return Error(Errc::kNotFound, "apt knows no package linux-source")
      .with_hint("run 'apt-get update' as root");
}

Result<std::string> candidate_file(const std::string& package) {
  const sys::Output output =
      MVM_TRY(sys::run(tool_command({"apt-get", "-q", "download", "--print-uris", package})));
  // 'URI' FILE SIZE DIGEST
  const std::size_t at = output.out.find("' ");
  const std::size_t end = at == std::string::npos ? at : output.out.find(' ', at + 2);
  if (output.status.ok() && end != std::string::npos)
    return output.out.substr(at + 2, end - at - 2);
  return Error(Errc::kNotFound, "apt knows no source of " + package)
      .with_hint("run 'apt-get update' as root");
}

std::string first_kernel_dependency(std::string_view output, std::string_view prefix) {
  const std::string key = "Depends: " + std::string(prefix);
  const std::size_t at = output.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = output.substr(at + std::string_view("Depends: ").size());
  const std::size_t end = std::min(rest.find_first_of(" \n"), rest.size());
  return std::string(rest.substr(0, end));
}

Result<Kernel> fetch_package(const std::string& work_dir, spec::Arch arch,
                             const ObtainOptions& options) {
  MVM_TRY(need_tool("apt-get", "apt"));
  MVM_TRY(need_tool("apt-cache", "apt"));
  MVM_TRY(need_tool("dpkg-deb", "dpkg"));
  MVM_TRY(need_tool("depmod", "kmod"));
  const std::string download_dir = work_dir + "/deb", raw = work_dir + "/raw",
                    tree = work_dir + "/tree";
  MVM_TRY(sys::make_dirs(download_dir));
  MVM_TRY(sys::make_dirs(tree, 0755));
  const std::string package = MVM_TRY(find_package(arch));
  MVM_TRY(download_package(download_dir, package, options));
  const std::string deb = MVM_TRY(only_entry(download_dir, "linux-image-", ".deb"));
  report(options, "unpacking " + package);
  const auto unpacked =
      sys::run_checked(tool_command({"dpkg-deb", "-x", download_dir + "/" + deb, raw}));
  if (!unpacked) return unpack_error(unpacked.error()).with_context("unpacking " + deb);
  Kernel kernel;
  kernel.arch = arch;
  kernel.package = deb.substr(0, deb.size() - std::string_view(".deb").size());
  MVM_TRY(assemble(raw, tree, kernel, options));
  return kernel;
}

}  // namespace mvm::kernel
