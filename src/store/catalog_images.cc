// SPDX-License-Identifier: Apache-2.0
#include "store/catalog_state.h"
#include "store/config_json.h"

namespace mvm::store {
namespace {

constexpr std::size_t kLeastDigestPrefix = 4;

// Signatures are empty where an older mvm has made the table and nobody has written since.
std::string select(bool has_signatures, const char* rest) {
  return std::string(
             "SELECT digest, ref, size_bytes, arch, created_ms, source_digest, config_json, ") +
         (has_signatures ? "signed_manifest, signature, signer" : "'', '', ''") + " FROM images " +
         rest;
}

// Kind and name of whatever needs the image ?1.
#define MVM_IMAGE_USERS                                                        \
  "SELECT 'machine' AS kind, name FROM vms WHERE image_digest = ?1 UNION ALL " \
  "SELECT 'snapshot', name FROM snapshots WHERE image_digest = ?1"

Result<ImageRecord> image_of(const Statement& row) {
  ImageRecord record;
  record.digest = row.text(0);
  record.ref = row.text(1);
  record.size = Bytes{static_cast<std::uint64_t>(row.number(2))};
  record.arch =
      row.text(3) == arch_name(spec::Arch::kAarch64) ? spec::Arch::kAarch64 : spec::Arch::kX86_64;
  record.created_ms = row.number(4);
  record.source_digest = row.text(5);
  record.config = MVM_TRY_CTX(image_config_from_json(row.text(6)), "catalogue entry " + record.ref);
  record.signature = {row.text(7), row.text(8), row.text(9)};
  return record;
}

Result<std::vector<ImageRecord>> images_of(Statement& rows) {
  std::vector<ImageRecord> out;
  while (MVM_TRY(rows.step())) out.push_back(MVM_TRY(image_of(rows)));
  return out;
}

Error unknown_image(std::string_view text) {
  return Error(Errc::kNotFound, "no image named '" + std::string(text) + "'")
      .with_hint("list what is there with: mvmctl image ls");
}

Error ambiguous(std::string_view text, const std::vector<ImageRecord>& found) {
  std::string names;
  for (const ImageRecord& record : found) {
    names += (names.empty() ? "" : ", ") + record.digest.substr(0, 12) + " (" + record.ref + ")";
  }
  return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' fits several images: " + names)
      .with_hint("give more characters of the digest");
}

}  // namespace

std::string_view arch_name(spec::Arch arch) {
  return arch == spec::Arch::kAarch64 ? "aarch64" : "x86_64";
}

Result<> Catalog::put_image(const ImageRecord& record) {
  Statement statement =
      MVM_TRY(Statement::prepare(state_->db.get(),
                                 "INSERT OR REPLACE INTO images (ref, arch, digest, size_bytes, "
                                 "created_ms, source_digest, config_json, "
                                 "signed_manifest, signature, signer)"
                                 " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  statement.bind(record.ref)
      .bind(arch_name(record.arch))
      .bind(record.digest)
      .bind(static_cast<std::int64_t>(record.size.count))
      .bind(record.created_ms)
      .bind(record.source_digest)
      .bind(image_config_to_json(record.config))
      .bind(record.signature.manifest)
      .bind(record.signature.bytes)
      .bind(record.signature.signer);
  MVM_TRY(statement.step());
  return {};
}

Result<std::optional<ImageRecord>> Catalog::lookup_image(std::string_view ref,
                                                         spec::Arch arch) const {
  if (state_->db == nullptr) return std::optional<ImageRecord>();
  Statement statement = MVM_TRY(Statement::prepare(
      state_->db.get(), select(state_->has_signatures, "WHERE ref = ? AND arch = ?")));
  statement.bind(ref).bind(arch_name(arch));
  if (!MVM_TRY(statement.step())) return std::optional<ImageRecord>();
  return std::optional<ImageRecord>(MVM_TRY(image_of(statement)));
}

Result<ImageRecord> Catalog::find_image(std::string_view text) const {
  if (state_->db == nullptr) return unknown_image(text);
  Statement by_ref = MVM_TRY(Statement::prepare(
      state_->db.get(),
      select(state_->has_signatures, "WHERE ref = ? ORDER BY created_ms DESC LIMIT 1")));
  by_ref.bind(text);
  if (MVM_TRY(by_ref.step())) return image_of(by_ref);
  const std::string_view prefix = text.starts_with("sha256:") ? text.substr(7) : text;
  if (prefix.size() < kLeastDigestPrefix || !is_hex(prefix)) return unknown_image(text);
  Statement by_digest = MVM_TRY(Statement::prepare(
      state_->db.get(), select(state_->has_signatures,
                               "WHERE digest GLOB ? || '*' GROUP BY digest ORDER BY digest "
                               "LIMIT 6")));
  by_digest.bind(prefix);
  std::vector<ImageRecord> found = MVM_TRY(images_of(by_digest));
  if (found.empty()) return unknown_image(text);
  if (found.size() > 1) return ambiguous(text, found);
  return std::move(found.front());
}

Result<std::vector<ImageRecord>> Catalog::list_images() const {
  if (state_->db == nullptr) return std::vector<ImageRecord>();
  Statement rows = MVM_TRY(Statement::prepare(
      state_->db.get(), select(state_->has_signatures, "ORDER BY created_ms DESC, ref")));
  return images_of(rows);
}

Result<> Catalog::remove_ref(std::string_view ref) {
  Statement statement =
      MVM_TRY(Statement::prepare(state_->db.get(), "DELETE FROM images WHERE ref = ?"));
  statement.bind(ref);
  MVM_TRY(statement.step());
  if (sqlite3_changes(state_->db.get()) == 0) return unknown_image(ref);
  return {};
}

Result<> Catalog::remove_image(std::string_view digest) {
  // One statement checks and deletes, so that a machine made meanwhile keeps its image.
  Statement statement = MVM_TRY(Statement::prepare(
      state_->db.get(),
      "DELETE FROM images WHERE digest = ?1 AND NOT EXISTS (" MVM_IMAGE_USERS ")"));
  statement.bind(digest);
  MVM_TRY(statement.step());
  if (sqlite3_changes(state_->db.get()) > 0) return {};
  Statement users =
      MVM_TRY(Statement::prepare(state_->db.get(), MVM_IMAGE_USERS " ORDER BY kind, name LIMIT 5"));
  users.bind(digest);
  std::string names;
  while (MVM_TRY(users.step()))
    names += (names.empty() ? "" : ", ") + users.text(0) + " " + users.text(1);
  if (names.empty()) return unknown_image(digest);
  return Error(Errc::kBusy, "image " + std::string(digest.substr(0, 12)) + " is used by: " + names)
      .with_hint("remove these first with: mvmctl rm NAME, mvmctl snapshot rm NAME");
}

Result<bool> Catalog::image_in_use(std::string_view digest) const {
  if (state_->db == nullptr) return false;
  Statement statement = MVM_TRY(Statement::prepare(state_->db.get(), MVM_IMAGE_USERS " LIMIT 1"));
  statement.bind(digest);
  return statement.step();
}

}  // namespace mvm::store
