// SPDX-License-Identifier: Apache-2.0
#include "store/catalog_state.h"

namespace mvm::store {
namespace {

#define MVM_BUILD_SELECT                                                                       \
  "SELECT revision, project, name, arch, image_digest, fingerprint, manifest_json, built_ms, " \
  "coalesce((SELECT group_concat(tag, ' ') FROM build_tags AS t "                              \
  "WHERE t.revision = builds.revision), '') FROM builds "

BuildRecord build_of(const Statement& row) {
  BuildRecord out;
  out.revision = row.text(0);
  out.project = row.text(1);
  out.name = row.text(2);
  out.arch =
      row.text(3) == arch_name(spec::Arch::kAarch64) ? spec::Arch::kAarch64 : spec::Arch::kX86_64;
  out.image_digest = row.text(4);
  out.fingerprint = row.text(5);
  out.manifest_json = row.text(6);
  out.built_ms = row.number(7);
  out.tags = row.text(8);
  return out;
}

Error unknown_build(std::string_view text) {
  return Error(Errc::kNotFound, "no build is named '" + std::string(text) + "'")
      .with_hint("list what there is with: mvmctl manifest ls");
}

}  // namespace

Result<> Catalog::put_build(const BuildRecord& record) {
  Statement statement = MVM_TRY(Statement::prepare(
      state_->db.get(),
      "INSERT OR REPLACE INTO builds (revision, project, name, arch, image_digest, fingerprint, "
      "manifest_json, built_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  statement.bind(record.revision)
      .bind(record.project)
      .bind(record.name)
      .bind(arch_name(record.arch))
      .bind(record.image_digest)
      .bind(record.fingerprint)
      .bind(record.manifest_json)
      .bind(record.built_ms);
  MVM_TRY(statement.step());
  return {};
}

Result<std::optional<BuildRecord>> Catalog::current_build(std::string_view project) const {
  if (state_->db == nullptr || !state_->has_builds) return std::optional<BuildRecord>();
  Statement row =
      MVM_TRY(Statement::prepare(state_->db.get(), MVM_BUILD_SELECT
                                 "WHERE project = ? ORDER BY built_ms DESC, revision LIMIT 1"));
  row.bind(project);
  if (!MVM_TRY(row.step())) return std::optional<BuildRecord>();
  return std::optional<BuildRecord>(build_of(row));
}

Result<std::optional<BuildRecord>> Catalog::build_of_revision(std::string_view revision) const {
  if (state_->db == nullptr || !state_->has_builds) return std::optional<BuildRecord>();
  Statement row = MVM_TRY(Statement::prepare(
      state_->db.get(), MVM_BUILD_SELECT "WHERE revision = ? ORDER BY built_ms DESC LIMIT 1"));
  row.bind(revision);
  if (!MVM_TRY(row.step())) return std::optional<BuildRecord>();
  return std::optional<BuildRecord>(build_of(row));
}

Result<std::vector<BuildRecord>> Catalog::list_builds() const {
  std::vector<BuildRecord> out;
  if (state_->db == nullptr || !state_->has_builds) return out;
  Statement rows = MVM_TRY(Statement::prepare(
      state_->db.get(), MVM_BUILD_SELECT "ORDER BY built_ms DESC, project, revision"));
  while (MVM_TRY(rows.step())) out.push_back(build_of(rows));
  return out;
}

Result<BuildRecord> Catalog::find_build(std::string_view text) const {
  std::vector<BuildRecord> found;
  std::string names;
  for (BuildRecord& build : MVM_TRY(list_builds())) {
    const std::string tags = " " + build.tags + " ";
    if (tags.find(" " + std::string(text) + " ") != std::string::npos || build.revision == text)
      return build;
    // The newest of a name; a prefix must fit one revision.
    if (build.name == text) return build;
    const bool fits = text.size() >= kLeastRevisionPrefix && build.revision.starts_with(text);
    if (!fits || (!found.empty() && found.back().revision == build.revision)) continue;
    names += (names.empty() ? "" : ", ") + build.revision.substr(0, 12);
    found.push_back(std::move(build));
  }
  if (found.empty()) return unknown_build(text);
  if (found.size() > 1)
    return Error(Errc::kInvalidArgument,
                 "'" + std::string(text) + "' fits several builds: " + names)
        .with_hint("give more characters of the revision");
  return std::move(found.front());
}

Result<> Catalog::remove_build(std::string_view revision) {
  Statement statement =
      MVM_TRY(Statement::prepare(state_->db.get(), "DELETE FROM builds WHERE revision = ?"));
  statement.bind(revision);
  MVM_TRY(statement.step());
  if (sqlite3_changes(state_->db.get()) == 0) return unknown_build(revision);
  Statement tags =
      MVM_TRY(Statement::prepare(state_->db.get(), "DELETE FROM build_tags WHERE revision = ?"));
  tags.bind(revision);
  MVM_TRY(tags.step());
  return {};
}

Result<> Catalog::tag_build(std::string_view revision, std::string_view tag) {
  Statement statement = MVM_TRY(Statement::prepare(
      state_->db.get(), "INSERT OR REPLACE INTO build_tags (tag, revision) VALUES (?, ?)"));
  statement.bind(tag).bind(revision);
  MVM_TRY(statement.step());
  return {};
}

}  // namespace mvm::store
