// SPDX-License-Identifier: Apache-2.0
#include "store/catalog_state.h"

namespace mvm::store {
namespace {

#define MVM_SNAPSHOT_SELECT                                                             \
  "SELECT id, name, vm_name, image_ref, image_digest, saved_by, created_ms, spec_json " \
  "FROM snapshots "

SnapshotRecord snapshot_of(const Statement& row) {
  return SnapshotRecord{.id = row.text(0),
                        .name = row.text(1),
                        .vm_name = row.text(2),
                        .image_ref = row.text(3),
                        .image_digest = row.text(4),
                        .saved_by = row.text(5),
                        .created_ms = row.number(6),
                        .spec_json = row.text(7)};
}

Error unknown_snapshot(std::string_view text) {
  return Error(Errc::kNotFound, "no snapshot named '" + std::string(text) + "'")
      .with_hint("list what is there with: mvmctl snapshot ls");
}

}  // namespace

Error snapshot_exists(const std::string& name) {
  return Error(Errc::kAlreadyExists, "a snapshot named '" + name + "' already exists")
      .with_hint("choose another --name, or remove it with: mvmctl snapshot rm " + name);
}

Result<> Catalog::insert_snapshot(const SnapshotRecord& record) {
  Statement statement = MVM_TRY(
      Statement::prepare(state_->db.get(),
                         "INSERT INTO snapshots (id, name, vm_name, image_ref, image_digest, "
                         "saved_by, created_ms, spec_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  statement.bind(record.id)
      .bind(record.name)
      .bind(record.vm_name)
      .bind(record.image_ref)
      .bind(record.image_digest)
      .bind(record.saved_by)
      .bind(record.created_ms)
      .bind(record.spec_json);
  auto done = statement.step();
  if (done.has_value()) return {};
  if (done.error().code() != Errc::kAlreadyExists) return std::move(done).error();
  return snapshot_exists(record.name);
}

Result<SnapshotRecord> Catalog::find_snapshot(std::string_view text) const {
  if (state_->db == nullptr || !state_->has_snapshots) return unknown_snapshot(text);
  Statement row =
      MVM_TRY(Statement::prepare(state_->db.get(), MVM_SNAPSHOT_SELECT
                                 "WHERE name = ?1 OR id = ?1 ORDER BY name = ?1 DESC LIMIT 1"));
  row.bind(text);
  if (!MVM_TRY(row.step())) return unknown_snapshot(text);
  return snapshot_of(row);
}

Result<std::vector<SnapshotRecord>> Catalog::list_snapshots() const {
  std::vector<SnapshotRecord> out;
  if (state_->db == nullptr || !state_->has_snapshots) return out;
  Statement rows =
      MVM_TRY(Statement::prepare(state_->db.get(), MVM_SNAPSHOT_SELECT "ORDER BY created_ms, id"));
  while (MVM_TRY(rows.step())) out.push_back(snapshot_of(rows));
  return out;
}

Result<> Catalog::remove_snapshot(std::string_view id) {
  Statement statement =
      MVM_TRY(Statement::prepare(state_->db.get(), "DELETE FROM snapshots WHERE id = ?"));
  statement.bind(id);
  MVM_TRY(statement.step());
  if (sqlite3_changes(state_->db.get()) == 0) return unknown_snapshot(id);
  return {};
}

}  // namespace mvm::store
