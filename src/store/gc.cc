// SPDX-License-Identifier: Apache-2.0
#include "store/gc.h"

#include <filesystem>
#include <set>
#include <vector>

#include "sys/io.h"

namespace mvm::store {
namespace {

namespace fs = std::filesystem;

Result<> remove_counted(const std::string& path, const CollectOptions& options, Bytes& freed) {
  const Bytes used = MVM_TRY(sys::disk_usage(path));
  if (!options.dry_run) MVM_TRY(sys::remove_tree(path));
  freed.count += used.count;
  return {};
}

// Digests that must stay: named by a record that is kept, or used by a machine or a snapshot.
Result<std::set<std::string>> kept_digests(Catalog& catalog, const CollectOptions& options,
                                           Collected& done) {
  std::set<std::string> used;
  for (const VmRecord& vm : MVM_TRY(catalog.list_vms())) used.insert(vm.image_digest);
  for (const SnapshotRecord& snapshot : MVM_TRY(catalog.list_snapshots()))
    used.insert(snapshot.image_digest);
  std::set<std::string> kept = used;
  for (const ImageRecord& image : MVM_TRY(catalog.list_images())) {
    if (!options.unused_images || used.contains(image.digest)) {
      kept.insert(image.digest);
      continue;
    }
    done.images++;
    if (options.dry_run) continue;
    const auto removed = catalog.remove_image(image.digest);
    if (removed.has_value() || removed.error().code() == Errc::kNotFound) continue;
    if (removed.error().code() != Errc::kBusy) return removed.error();
    kept.insert(image.digest);  // a machine was made from it meanwhile
    done.images--;
  }
  return kept;
}

// Directories without a record: a command was killed while it made or removed a snapshot. Whoever
// makes one holds the images lock, too.
Result<> collect_snapshots(const Layout& layout, const Catalog& catalog,
                           const CollectOptions& options, Collected& done) {
  std::set<std::string> known;
  for (const SnapshotRecord& snapshot : MVM_TRY(catalog.list_snapshots()))
    known.insert(snapshot.id);
  for (const std::string& directory : sys::children(layout.snapshots_dir())) {
    if (known.contains(fs::path(directory).filename().string())) continue;
    MVM_TRY(remove_counted(directory, options, done.freed));
  }
  return {};
}

Result<> collect_images(const Layout& layout, Catalog& catalog, const CollectOptions& options,
                        Collected& done) {
  if (!sys::path_exists(layout.images_dir())) return {};
  const auto lock = MVM_TRY(sys::FileLock::try_acquire(layout.images_lock_path()));
  if (!lock) {
    done.busy = true;
    return {};
  }
  for (const std::string& temp : sys::children(layout.images_tmp_dir())) {
    MVM_TRY(remove_counted(temp, options, done.freed));
  }
  MVM_TRY(collect_snapshots(layout, catalog, options, done));
  const std::set<std::string> kept = MVM_TRY(kept_digests(catalog, options, done));
  for (const std::string& blob : sys::children(layout.blobs_dir())) {
    if (kept.contains(fs::path(blob).stem().string())) continue;
    MVM_TRY(remove_counted(blob, options, done.freed));
    done.blobs++;
  }
  return {};
}

// All of it, but what a running `kernel build` is at.
Result<> collect_kernels(const Layout& layout, const CollectOptions& options, Collected& done) {
  const std::string dir = layout.kernel_cache_dir();
  const std::string lock_path = dir + "/compile.lock";
  if (!MVM_TRY(sys::FileLock::is_held(lock_path))) return remove_counted(dir, options, done.freed);
  for (const std::string& path : sys::children(dir)) {
    const std::string name = fs::path(path).filename().string();
    if (name.starts_with(".compile-") || path == lock_path) continue;
    MVM_TRY(remove_counted(path, options, done.freed));
  }
  return {};
}

}  // namespace

Result<sys::FileLock> lock_images_shared(const Layout& layout) {
  MVM_TRY(sys::make_dirs(layout.blobs_dir()));
  MVM_TRY(sys::make_dirs(layout.images_tmp_dir()));
  return sys::FileLock::acquire_shared(layout.images_lock_path());
}

Result<> remove_stale_temporaries(const Layout& layout) {
  const std::vector<std::string> stale = sys::children(layout.images_tmp_dir());
  if (stale.empty()) return {};
  const auto lock = MVM_TRY(sys::FileLock::try_acquire(layout.images_lock_path()));
  if (!lock) return {};
  for (const std::string& temp : sys::children(layout.images_tmp_dir()))
    MVM_TRY(sys::remove_tree(temp));
  return {};
}

Result<Collected> collect(const Layout& layout, Catalog& catalog, const CollectOptions& options) {
  Collected done;
  MVM_TRY(collect_images(layout, catalog, options, done));
  if (!options.caches) return done;
  if (sys::path_exists(layout.kernel_cache_dir())) MVM_TRY(collect_kernels(layout, options, done));
  for (const std::string& dir : {layout.initramfs_cache_dir(), layout.scratch_template_dir(),
                                 layout.build_cache_dir(), layout.build_logs_dir()}) {
    if (sys::path_exists(dir)) MVM_TRY(remove_counted(dir, options, done.freed));
  }
  return done;
}

Result<> publish_blob(const Layout& layout, const std::string& temp, std::string_view digest) {
  const std::string frame = "publishing into " + layout.blobs_dir();
  MVM_TRY_CTX(sys::make_dirs(layout.blobs_dir()), frame);
  MVM_TRY_CTX(sys::sync_path(temp), frame);
  const std::string blob = layout.blob_path(digest);
  if (::rename(temp.c_str(), blob.c_str()) != 0)
    return Error::from_errno("rename " + blob).with_context(frame);
  return sys::sync_path(layout.blobs_dir());
}

}  // namespace mvm::store
