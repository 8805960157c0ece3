// SPDX-License-Identifier: Apache-2.0
#include "kernel/obtain.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "kernel/memo.h"
#include "kernel/package.h"
#include "kernel/vmlinux.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::kernel {
namespace {

constexpr Bytes kMaxImage = mebibytes(512);
constexpr Bytes kMaxNote = kibibytes(64);

std::string current_note(const std::string& cache_dir, spec::Arch arch) {
  return cache_dir + "/current-" + std::string(arch_name(arch)) + ".json";
}

// A note is believed if the image beside it still has its size; the digest was checked when it was
// published.
std::optional<Kernel> read_note(const std::string& note, const std::string& base_dir) {
  const auto text = sys::read_file(note, kMaxNote);
  if (!text) return std::nullopt;
  auto kernel = from_json(*text, base_dir);
  struct stat st;
  if (!kernel || ::stat(kernel->vmlinux_path.c_str(), &st) != 0) return std::nullopt;
  if (static_cast<std::uint64_t>(st.st_size) != kernel->size.count) return std::nullopt;
  return std::move(*kernel);
}

// Puts a finished directory in its place at once; an older one there goes with `temp`.
Result<> publish(const std::string& from, const std::string& to) {
  if (::chmod(from.c_str(), 0755) != 0) return Error::from_errno("chmod " + from);
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  if (errno != ENOTEMPTY && errno != EEXIST)
    return Error::from_errno("rename " + from + " to " + to);
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return {};
  // A file system without exchange: a reader may miss the directory for a moment and then waits for
  // our lock.
  MVM_TRY(sys::remove_tree(to));
  if (::rename(from.c_str(), to.c_str()) != 0)
    return Error::from_errno("rename " + from + " to " + to);
  return {};
}

void rebase(Kernel& kernel, const std::string& from, const std::string& to) {
  for (std::string* path : {&kernel.vmlinux_path, &kernel.modules_dir}) {
    if (path->starts_with(from + "/")) *path = to + path->substr(from.size());
  }
}

Result<Kernel> fetch_and_publish(const std::string& cache_dir, spec::Arch arch,
                                 const ObtainOptions& options) {
  const sys::TempDir temp = MVM_TRY(sys::TempDir::create(cache_dir, ".fetch-"));
  const std::string tree = temp.path() + "/tree";
  Kernel kernel = MVM_TRY(fetch_package(temp.path(), arch, options));
  MVM_TRY(sys::write_file(tree + "/kernel.json", to_json(kernel, tree), 0644));
  const std::string place = cache_dir + "/" + kernel.package;
  MVM_TRY(publish(tree, place));
  rebase(kernel, tree, place);
  MVM_TRY(sys::write_atomic(current_note(cache_dir, arch), to_json(kernel, cache_dir), 0644));
  return kernel;
}

struct DirClose {
  void operator()(DIR* d) const { ::closedir(d); }
};

std::vector<std::string> entries(const std::string& dir) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, DirClose> handle(::opendir(dir.c_str()));
  if (!handle) return names;
  while (const dirent* entry = ::readdir(handle.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What was left behind by a crash. Only called with the lock held, so nobody is using it.
void sweep(const std::string& cache_dir, const char* prefix) {
  for (const std::string& name : entries(cache_dir)) {
    if (name.starts_with(prefix)) (void)sys::remove_tree(cache_dir + "/" + name);
  }
}

struct Entry {
  std::string dir;
  Kernel kernel;
};

std::vector<Entry> read_entries(const std::string& cache_dir) {
  std::vector<Entry> found;
  for (const std::string& parent : {cache_dir, cache_dir + "/files"}) {
    for (const std::string& name : entries(parent)) {
      const std::string dir = parent + "/" + name;
      if (name.front() == '.') continue;
      if (auto kernel = read_note(dir + "/kernel.json", dir))
        found.push_back({dir, std::move(*kernel)});
    }
  }
  return found;
}

// Debian's kernel, if it is here although another was in use; it is in use then.
Result<std::optional<Kernel>> fetched_before(const std::string& cache_dir, spec::Arch arch) {
  std::optional<Kernel> out;
  for (Entry& entry : read_entries(cache_dir)) {
    if (entry.kernel.arch == arch && entry.kernel.package.starts_with("linux-image-"))
      out = std::move(entry.kernel);
  }
  if (out)
    MVM_TRY(sys::write_atomic(current_note(cache_dir, arch), to_json(*out, cache_dir), 0644));
  return out;
}

bool is_named(const Kernel& kernel, const std::string& name) {
  return kernel.release == name || kernel.package == name || kernel.digest == name;
}

Error no_kernel(const std::string& name) {
  return Error(Errc::kNotFound, "no cached kernel '" + name + "'")
      .with_hint("see 'mvmctl kernel ls'");
}

Result<> check_arch(const Kernel& kernel, const std::string& path, spec::Arch wanted) {
  if (kernel.arch == wanted) return {};
  return Error(Errc::kUnsupported, "kernel " + path + " is for " +
                                       std::string(arch_name(kernel.arch)) + ", not for " +
                                       std::string(arch_name(wanted)))
      .with_hint("give a kernel for " + std::string(arch_name(wanted)) + " or change --arch");
}

Error not_a_kernel(std::string why) {
  return Error(Errc::kCorrupt, std::move(why))
      .with_hint("give the vmlinux or the bzImage (vmlinuz) of a Linux build");
}

// Looks at a kernel file; the image to boot is returned in `extracted` when it is not the file
// itself.
Result<Kernel> examine(const std::string& path, std::string& extracted) {
  const std::string bytes = MVM_TRY(sys::read_file(path, kMaxImage));
  Kernel kernel;
  kernel.package = "file";
  kernel.vmlinux_path = path;
  const ImageFormat format = detect_format(bytes);
  if (format == ImageFormat::kBzImage) extracted = MVM_TRY(extract_vmlinux(bytes));
  if (format == ImageFormat::kGzip) extracted = MVM_TRY(decompress(bytes, kMaxImage.count));
  const std::string& image = extracted.empty() ? bytes : extracted;
  switch (detect_format(image)) {
    case ImageFormat::kElf:
      kernel.arch = MVM_TRY(check_elf(image));
      break;
    case ImageFormat::kArm64Image:
      kernel.arch = spec::Arch::kAarch64;
      break;
    default:
      return not_a_kernel("it is neither an ELF vmlinux, a bzImage nor an aarch64 Image");
  }
  kernel.release = find_release(image).value_or("");
  if (kernel.release.empty())
    return not_a_kernel("it names no Linux version, so it is some other program");
  if (kernel.arch == spec::Arch::kX86_64 && !has_pvh_entry(image))
    return Error(Errc::kUnsupported, "it has no PVH entry point")
        .with_hint("build the kernel with CONFIG_PVH=y");
  kernel.digest = sys::sha256_hex(image);
  kernel.size = Bytes{image.size()};
  return kernel;
}

Result<Kernel> examine_and_publish(const std::string& cache_dir, const std::string& path,
                                   const std::string& place) {
  std::string extracted;
  Kernel kernel = MVM_TRY_CTX(examine(path, extracted), "kernel " + path);
  MVM_TRY(sys::make_dirs(cache_dir + "/files"));
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(cache_dir + "/lock"));
  const sys::TempDir temp = MVM_TRY(sys::TempDir::create(cache_dir, ".fetch-"));
  const std::string tree = temp.path() + "/tree";
  MVM_TRY(sys::make_dirs(tree, 0755));
  if (!extracted.empty()) {
    kernel.vmlinux_path = tree + "/vmlinux";
    MVM_TRY(sys::write_sparse_file(kernel.vmlinux_path, extracted, 0644));
  }
  MVM_TRY(sys::write_file(tree + "/kernel.json", to_json(kernel, tree), 0644));
  MVM_TRY(publish(tree, place));
  rebase(kernel, tree, place);
  return kernel;
}

Result<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr),
                                                        std::free);
  if (!resolved) return Error::from_errno("kernel " + path);
  return std::string(resolved.get());
}

}  // namespace

std::optional<Kernel> find_cached(const std::string& cache_dir, spec::Arch arch) {
  return read_note(current_note(cache_dir, arch), cache_dir);
}

Result<Kernel> obtain(const std::string& cache_dir, spec::Arch arch, const ObtainOptions& options) {
  if (!options.force) {
    if (auto cached = find_cached(cache_dir, arch)) return std::move(*cached);
  }
  MVM_TRY(sys::make_dirs(cache_dir));
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(cache_dir + "/lock"));
  if (!options.force) {  // somebody else may have fetched it while we waited
    if (auto cached = find_cached(cache_dir, arch)) return std::move(*cached);
  }
  sweep(cache_dir, ".fetch-");
  if (!options.force) {  // what was in use has been removed
    if (auto fetched = MVM_TRY(fetched_before(cache_dir, arch))) return std::move(*fetched);
  }
  return MVM_TRY_CTX(fetch_and_publish(cache_dir, arch, options), "fetching a guest kernel");
}

Result<Kernel> use_file(const std::string& cache_dir, const std::string& path, spec::Arch wanted) {
  const std::string file = MVM_TRY(real_path(path));
  const std::string file_digest = MVM_TRY_CTX(memo_digest(cache_dir, file), "kernel " + path);
  const std::string place = cache_dir + "/files/" + file_digest;
  std::optional<Kernel> kernel = read_note(place + "/kernel.json", place);
  // The same bytes under another name: the note points at the name that was used first.
  if (kernel && !kernel->vmlinux_path.starts_with(place + "/")) kernel->vmlinux_path = file;
  if (!kernel) kernel = MVM_TRY(examine_and_publish(cache_dir, file, place));
  MVM_TRY(check_arch(*kernel, path, wanted));
  const auto standard = find_cached(cache_dir, wanted);
  if (standard && !kernel->release.empty() && standard->release == kernel->release)
    kernel->modules_dir = standard->modules_dir;
  return std::move(*kernel);
}

Result<std::vector<Kernel>> list(const std::string& cache_dir) {
  std::vector<Kernel> kernels;
  for (Entry& entry : read_entries(cache_dir)) kernels.push_back(std::move(entry.kernel));
  return kernels;
}

Result<Kernel> find(const std::string& cache_dir, const std::string& name) {
  std::vector<Kernel> found;
  for (Entry& entry : read_entries(cache_dir)) {
    // A file that was once given is the same kernel without its modules.
    if (is_named(entry.kernel, name) && entry.kernel.package != "file")
      found.push_back(std::move(entry.kernel));
  }
  if (found.empty()) return no_kernel(name);
  if (found.size() == 1) return std::move(found.front());
  std::string packages;
  for (const Kernel& kernel : found) packages += (packages.empty() ? "" : ", ") + kernel.package;
  return Error(Errc::kInvalidArgument, "several kernels are '" + name + "'")
      .with_hint("name one by its package: " + packages);
}

Result<Kernel> use(const std::string& cache_dir, const std::string& name) {
  Kernel kernel = MVM_TRY(find(cache_dir, name));
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(cache_dir + "/lock"));
  MVM_TRY(
      sys::write_atomic(current_note(cache_dir, kernel.arch), to_json(kernel, cache_dir), 0644));
  return kernel;
}

Result<> publish_kernel(const std::string& cache_dir, const std::string& tree, Kernel& kernel) {
  MVM_TRY(sys::write_file(tree + "/kernel.json", to_json(kernel, tree), 0644));
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(cache_dir + "/lock"));
  const std::string place = cache_dir + "/" + kernel.package;
  MVM_TRY(publish(tree, place));
  rebase(kernel, tree, place);
  return {};
}

void sweep_compiled(const std::string& cache_dir) { sweep(cache_dir, kCompilePrefix); }

Result<> remove(const std::string& cache_dir, const std::string& name) {
  const Error missing = no_kernel(name);
  if (name.empty() || !sys::path_exists(cache_dir)) return missing;
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(cache_dir + "/lock"));
  bool found = false;
  for (const Entry& entry : read_entries(cache_dir)) {
    const Kernel& kernel = entry.kernel;
    if (!is_named(kernel, name)) continue;
    const auto current = find_cached(cache_dir, kernel.arch);
    // The note goes first: a reader must not be sent to a directory that is half gone.
    if (current && current->vmlinux_path == kernel.vmlinux_path)
      ::unlink(current_note(cache_dir, kernel.arch).c_str());
    MVM_TRY(sys::remove_tree(entry.dir));
    found = true;
  }
  if (!found) return missing;
  return {};
}

}  // namespace mvm::kernel
