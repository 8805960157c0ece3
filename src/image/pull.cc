// SPDX-License-Identifier: Apache-2.0
#include "image/pull.h"

#include <filesystem>
#include <future>

#include "image/assemble.h"
#include "image/fingerprint.h"
#include "image/oci_layout.h"
#include "image/prepare.h"
#include "image/source.h"
#include "store/gc.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/sha256.h"

namespace mvm::image {
namespace {

Result<Source> source_of(const PullRequest& request) {
  Source source = MVM_TRY(parse_source(request.source));
  if (source.path.empty()) return source;
  std::error_code ec;
  const std::string here = std::filesystem::current_path(ec).string();
  if (ec) return Error::from_errno("reading the working directory", ec.value());
  return absolute_source(std::move(source), here);
}

// "" when the source has no cheap mark: what is in the catalogue then stands.
Result<std::string> fingerprint_of(const Source& source, spec::Arch arch) {
  switch (source.kind) {
    case SourceKind::kBusybox: {
      const auto busybox = sys::find_program("busybox");
      // The number is that of the tree around it (busybox.cc).
      return busybox ? "tree-2 " + MVM_TRY(file_fingerprint(*busybox)) : std::string();
    }
    case SourceKind::kDirectory:
      return directory_fingerprint(source.path);
    case SourceKind::kTar:
    case SourceKind::kOciArchive:
    case SourceKind::kDockerArchive:
      return file_fingerprint(source.path);
    case SourceKind::kOciLayout:
      return oci_manifest_digest(source.path, source.tag, arch);
    case SourceKind::kDebian:
    case SourceKind::kBuild:
    case SourceKind::kBundle:
    case SourceKind::kRegistry:
      return std::string();
  }
  return std::string();
}

bool has_blob(const store::Layout& layout, const store::ImageRecord& record) {
  return sys::path_exists(layout.blob_path(record.digest));
}

// The record for this source if it still holds.
Result<std::optional<store::ImageRecord>> unchanged(const Source& source,
                                                    const std::string& fingerprint,
                                                    const PullRequest& request,
                                                    const store::Layout& layout,
                                                    const store::Catalog& catalog) {
  auto record = MVM_TRY(catalog.lookup_image(source.ref(), request.arch));
  const bool current = record && (fingerprint.empty() || record->source_digest == fingerprint);
  if (!current || !has_blob(layout, *record)) record.reset();
  return record;
}

// The EROFS file is hashed while it is written to the disk; both read the same pages. The tree, no
// longer needed, goes at the same time: thousands of files take as long to remove as the file to
// hash.
Result<std::string> digest_and_sync(const AssemblePlan& plan, Progress& progress) {
  progress.update("computing the digest", {}, {});
  auto removed =
      std::async(std::launch::async, [&] { return sys::remove_tree(plan.work_dir + "/tree"); });
  auto synced = std::async(std::launch::async, [&] { return sys::sync_path(plan.output); });
  auto digest = sys::sha256_file(plan.output);
  MVM_TRY(synced.get());
  MVM_TRY(removed.get());
  return digest;
}

Result<store::ImageRecord> make_image(const Source& source, const PullRequest& request,
                                      const std::string& fingerprint, const store::Layout& layout,
                                      store::Catalog& catalog, Progress& progress) {
  const sys::TempDir work = MVM_TRY(sys::TempDir::create(layout.images_tmp_dir(), "pull-"));
  Prepared prepared = MVM_TRY(prepare(source, request, work.path(), progress));
  // A local source keeps its own mark; a registry or layout is marked by its manifest.
  if (!fingerprint.empty()) prepared.source_digest = fingerprint;
  // A registry that still gives the same manifest: nothing to make again.
  if (!request.force && source.kind == SourceKind::kRegistry) {
    auto known = MVM_TRY(unchanged(source, prepared.source_digest, request, layout, catalog));
    if (known) return std::move(*known);
  }
  MVM_TRY(assemble(prepared.plan, progress));
  store::ImageRecord record;
  record.digest = MVM_TRY(digest_and_sync(prepared.plan, progress));
  record.ref = source.ref();
  record.size = Bytes{std::filesystem::file_size(prepared.plan.output)};
  record.arch = request.arch;
  record.created_ms = unix_time_ms();
  record.source_digest = prepared.source_digest;
  record.config = prepared.config;
  MVM_TRY(store::publish_blob(layout, prepared.plan.output, record.digest));
  MVM_TRY(catalog.put_image(record));
  return record;
}

}  // namespace

namespace {

// Whoever found the trouble knew what is wrong; what to do depends on its kind only.
Error with_next_step(Error error) {
  if (!error.hint().empty()) return error;
  switch (error.code()) {
    case Errc::kNotFound:
      return std::move(error).with_hint("check the path or name, and the tag");
    case Errc::kCorrupt:
      return std::move(error).with_hint("the source is damaged: build or fetch it again");
    case Errc::kUnsupported:
      return std::move(error).with_hint("choose another image, or its architecture with --arch");
    case Errc::kNoSpace:
      return std::move(error).with_hint("free some space: mvmctl image prune, mvmctl cache prune");
    case Errc::kPermission:
      return std::move(error).with_hint(
          "check who may read the source and write mvm's directories");
    case Errc::kIo:
      return std::move(error).with_hint(
          "check that the source is what its prefix says, and can be read");
    default:
      return error;
  }
}

Result<store::ImageRecord> pull_source(const PullRequest& request, const store::Layout& layout,
                                       store::Catalog& catalog, Progress& progress) {
  const Source source = MVM_TRY(source_of(request));
  const std::string frame = "image " + source.ref();
  // Before the source is read: a change during the pull then shows as a change afterwards.
  const std::string fingerprint = MVM_TRY_CTX(fingerprint_of(source, request.arch), frame);
  if (!request.force && !fingerprint.empty()) {
    auto known = MVM_TRY(unchanged(source, fingerprint, request, layout, catalog));
    if (known) return std::move(*known);
  }
  MVM_TRY_CTX(store::remove_stale_temporaries(layout), frame);
  const sys::FileLock lock = MVM_TRY_CTX(store::lock_images_shared(layout), frame);
  return MVM_TRY_CTX(make_image(source, request, fingerprint, layout, catalog, progress), frame);
}

}  // namespace

Result<store::ImageRecord> pull(const PullRequest& request, const store::Layout& layout,
                                store::Catalog& catalog, Progress& progress) {
  auto record = pull_source(request, layout, catalog, progress);
  if (!record) return with_next_step(std::move(record).error());
  return record;
}

Result<std::optional<store::ImageRecord>> find_cached(const PullRequest& request,
                                                      const store::Layout& layout,
                                                      const store::Catalog& catalog) {
  const auto parsed = source_of(request);
  if (parsed.has_value()) {
    const std::string fingerprint =
        MVM_TRY_CTX(fingerprint_of(*parsed, request.arch), "image " + parsed->ref());
    auto record = MVM_TRY(unchanged(*parsed, fingerprint, request, layout, catalog));
    if (record) return record;
    return std::optional<store::ImageRecord>();
  }
  // Not a source: perhaps the digest of an image that is here.
  auto found = catalog.find_image(request.source);
  if (found.has_value() && found->arch == request.arch && has_blob(layout, *found)) {
    return std::optional<store::ImageRecord>(std::move(*found));
  }
  if (!found.has_value() && found.error().code() == Errc::kInvalidArgument)
    return std::move(found).error();
  return parsed.error();
}

Result<store::ImageRecord> resolve(const PullRequest& request, const store::Layout& layout,
                                   store::Catalog& catalog, Progress& progress) {
  auto cached = find_cached(request, layout, catalog);
  if (!cached) return with_next_step(std::move(cached).error());
  if (*cached && !request.force) return std::move(**cached);
  return pull(request, layout, catalog, progress);
}

}  // namespace mvm::image
