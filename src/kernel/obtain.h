// SPDX-License-Identifier: Apache-2.0
// Where kernels come from: Debian's cloud kernel package, or a file of the user.
//
// A package is downloaded and verified by apt, unpacked without being installed, indexed by depmod,
// and published in the cache by one rename. Layout of the cache directory:
//
//   current-ARCH.json     the kernel that obtain() answers with, read on the fast path
//   PACKAGE/              kernel.json, vmlinux, config, and lib/modules/REL of a fetched one
//   files/DIGEST/         kernel.json of a --kernel file, and the vmlinux out of a bzImage
//   memo/, initramfs/     what follows from them (docs/formats/initramfs.md)
//   lock, compile.lock, .fetch-*, .compile-*
//
// Threads and processes: obtain, use_file and remove take the cache's lock when they change
// something.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "kernel/kernel.h"

namespace mvm::kernel {

struct Progress {
  std::string step;  // "downloading linux-image-6.1.0-56-cloud-amd64"
  int percent = -1;  // of this step; -1: unknown
};

struct ObtainOptions {
  std::function<void(const Progress&)> progress;
  bool force = false;  // ask apt again even if a kernel is cached
};

// The default kernel for an architecture; from the cache in well under a millisecond when it was
// fetched before. Errors: kUnavailable without apt, dpkg-deb or depmod; kNotFound when apt knows no
// such package (run apt-get update); kIo for a failed download; kNoSpace; kCorrupt.
Result<Kernel> obtain(const std::string& cache_dir, spec::Arch arch,
                      const ObtainOptions& options = {});

// The cached default kernel, or nothing; never downloads, never waits.
std::optional<Kernel> find_cached(const std::string& cache_dir, spec::Arch arch);

// A kernel file given by the user: an ELF vmlinux, a bzImage (unpacked into the cache once) or an
// aarch64 Image. Its modules are those of the cached default kernel if the release is the same,
// otherwise none. Errors: kNotFound; kCorrupt when it is no kernel; kUnsupported for the wrong
// architecture or a missing PVH entry.
Result<Kernel> use_file(const std::string& cache_dir, const std::string& path, spec::Arch wanted);

// Every kernel in the cache, by package name. Damaged entries are left out.
Result<std::vector<Kernel>> list(const std::string& cache_dir);

// One of them that is no file, by its release, package or digest.
// Errors: kNotFound; kInvalidArgument naming those that are meant by one name.
Result<Kernel> find(const std::string& cache_dir, const std::string& name);

// Makes one of them what obtain() answers with, until another is fetched or chosen.
// Errors: kNotFound.
Result<Kernel> use(const std::string& cache_dir, const std::string& name);

// Removes one cached kernel by its release, package or (for files) digest. Errors: kNotFound.
Result<> remove(const std::string& cache_dir, const std::string& name);

// For compile.h: puts a finished tree (vmlinux, config) of `kernel`, whose paths lie in it, among
// the cached kernels under its package's name, and lets them lie there.
Result<> publish_kernel(const std::string& cache_dir, const std::string& tree, Kernel& kernel);
inline constexpr char kCompilePrefix[] = ".compile-";  // of directories in which kernels are built
// Removes those of compilers that were killed. To be called with compile.lock held.
void sweep_compiled(const std::string& cache_dir);

}  // namespace mvm::kernel
