// SPDX-License-Identifier: Apache-2.0
// The catalogue: which images, machines and snapshots exist. One SQLite file (WAL), opened per
// command.
//
// Several processes use it at once; a UNIQUE constraint decides who gets a name. A blob or a
// directory without a record is garbage (see gc.h), so records are written after the files
// they name. Format: docs/formats/store.md.  Threads: one Catalog per thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "spec/image_config.h"
#include "spec/vm_spec.h"
#include "store/layout.h"

namespace mvm::store {

// What was signed of an image, see seal/manifest.h; opaque here. Empty: it is not signed.
struct ImageSignature {
  std::string manifest;  // the bytes that were signed
  std::string bytes;     // 128 hex characters
  std::string signer;    // public key, 64 hex characters
};

// A name for an image. Several refs can name one digest.
struct ImageRecord {
  std::string digest;  // SHA-256 of the EROFS file, 64 hex characters
  std::string ref;     // normalised: "busybox", "debian:bookworm", "docker://reg/x:1"
  Bytes size;          // of the EROFS file
  spec::Arch arch = spec::Arch::kX86_64;
  std::int64_t created_ms = 0;  // Units: ms since 1970, UTC
  std::string source_digest;    // what it was made from: manifest digest or fingerprint, or ""
  spec::ImageConfig config;
  ImageSignature signature;
};

struct VmRecord {
  std::string id;
  std::string name;
  std::string image_ref;
  std::string image_digest;
  std::string backend;
  std::string isolation;
  std::int64_t created_ms = 0;
  std::string spec_json;  // opaque here
  bool removed_when_done = false;
};

// A machine as it was, to be started from as often as one likes.
struct SnapshotRecord {
  std::string id;
  std::string name;
  std::string vm_name;  // the machine that was saved
  std::string image_ref;
  std::string image_digest;
  std::string saved_by;         // the engine, with its version: "mvm-vmm 0.1.0"
  std::int64_t created_ms = 0;  // Units: ms since 1970, UTC
  std::string spec_json;        // of the saved machine; opaque here
};

// A project as it was when an image was made from it.
struct BuildRecord {
  std::string revision;  // 64 hex characters: digest of everything that went in
  std::string project;   // directory of its manifest
  std::string name;
  spec::Arch arch = spec::Arch::kX86_64;
  std::string image_digest;
  std::string fingerprint;    // cheap mark of the files that went in
  std::string manifest_json;  // opaque here
  std::int64_t built_ms = 0;  // Units: ms since 1970, UTC; the newest of a project is its current
  std::string tags;           // with blanks between them; of the revision, read only
};
inline constexpr std::size_t kLeastRevisionPrefix = 4;

// What insert_snapshot() says of a name that is taken.
Error snapshot_exists(const std::string& name);

// "x86_64", "aarch64"
std::string_view arch_name(spec::Arch arch);

class Catalog {
 public:
  // Opens for writing, making the directory and the tables when missing.
  // Errors: kPermission (read-only home), kUnsupported (made by a newer mvm; names both versions),
  // kCorrupt, kNoSpace.
  static Result<Catalog> open(const Layout& layout);
  // Opens for reading and creates nothing: a missing database is an empty catalogue.
  static Result<Catalog> open_read_only(const Layout& layout);

  Catalog(Catalog&&) noexcept;
  Catalog& operator=(Catalog&&) noexcept;
  ~Catalog();

  // Makes `record.ref` (for its arch) name `record.digest`, whatever it named before.
  Result<> put_image(const ImageRecord& record);
  // By exact ref, else by digest or a prefix of it of at least 4 characters.
  // Errors: kNotFound; kInvalidArgument when the prefix fits several digests, naming them.
  Result<ImageRecord> find_image(std::string_view ref_or_digest) const;
  // By exact ref and arch; nothing when there is none.
  Result<std::optional<ImageRecord>> lookup_image(std::string_view ref, spec::Arch arch) const;
  // Newest first.
  Result<std::vector<ImageRecord>> list_images() const;
  // Errors: kNotFound. The file stays until gc.
  Result<> remove_ref(std::string_view ref);
  // Removes every ref of a digest. Errors: kNotFound; kBusy naming the machines and snapshots that
  // use it.
  Result<> remove_image(std::string_view digest);
  // True when a machine or a snapshot needs it; of a catalogue opened for writing.
  Result<bool> image_in_use(std::string_view digest) const;

  // Errors: kAlreadyExists when the name or id is taken.
  Result<> insert_vm(const VmRecord& record);
  // By name, else by id or a prefix of it.
  // Errors: kNotFound; kInvalidArgument when the prefix fits several, naming them.
  Result<VmRecord> find_vm(std::string_view name_or_id) const;
  // Oldest first.
  Result<std::vector<VmRecord>> list_vms() const;
  // Errors: kNotFound.
  Result<> remove_vm(std::string_view id);

  // Errors: kAlreadyExists when the name or id is taken.
  Result<> insert_snapshot(const SnapshotRecord& record);
  // By exact name, else by exact id. Errors: kNotFound.
  Result<SnapshotRecord> find_snapshot(std::string_view name_or_id) const;
  // Oldest first.
  Result<std::vector<SnapshotRecord>> list_snapshots() const;
  // Errors: kNotFound.
  Result<> remove_snapshot(std::string_view id);

  // Makes it the current one of its project.
  Result<> put_build(const BuildRecord& record);
  Result<std::optional<BuildRecord>> current_build(std::string_view project) const;
  // Of any project.
  Result<std::optional<BuildRecord>> build_of_revision(std::string_view revision) const;
  // Newest first.
  Result<std::vector<BuildRecord>> list_builds() const;
  // By tag, revision or a prefix of it, or the newest of a name.
  // Errors: kNotFound; kInvalidArgument when the prefix fits several, naming them.
  Result<BuildRecord> find_build(std::string_view text) const;
  // Of every project, with its tags. Errors: kNotFound.
  Result<> remove_build(std::string_view revision);
  // A tag names one revision at a time.
  Result<> tag_build(std::string_view revision, std::string_view tag);

 private:
  struct State;
  explicit Catalog(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mvm::store
