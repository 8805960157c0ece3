// SPDX-License-Identifier: Apache-2.0
#include "store/catalog_state.h"

namespace mvm::store {
namespace {

#define MVM_VM_SELECT                                                                     \
  "SELECT id, name, image_ref, image_digest, backend, isolation, created_ms, spec_json, " \
  "removed_when_done FROM vms "

VmRecord vm_of(const Statement& row) {
  return VmRecord{.id = row.text(0),
                  .name = row.text(1),
                  .image_ref = row.text(2),
                  .image_digest = row.text(3),
                  .backend = row.text(4),
                  .isolation = row.text(5),
                  .created_ms = row.number(6),
                  .spec_json = row.text(7),
                  .removed_when_done = row.number(8) != 0};
}

Result<std::vector<VmRecord>> vms_of(Statement& rows) {
  std::vector<VmRecord> out;
  while (MVM_TRY(rows.step())) out.push_back(vm_of(rows));
  return out;
}

Error unknown_vm(std::string_view text) {
  return Error(Errc::kNotFound, "no machine named '" + std::string(text) + "'")
      .with_hint("list what is there with: mvmctl ls");
}

Error ambiguous(std::string_view text, const std::vector<VmRecord>& found) {
  std::string names;
  for (const VmRecord& record : found) {
    names += (names.empty() ? "" : ", ") + record.id + " (" + record.name + ")";
  }
  return Error(Errc::kInvalidArgument,
               "'" + std::string(text) + "' fits several machines: " + names)
      .with_hint("give the name or more characters of the id");
}

}  // namespace

Result<> Catalog::insert_vm(const VmRecord& record) {
  Statement statement =
      MVM_TRY(Statement::prepare(state_->db.get(),
                                 "INSERT INTO vms (id, name, image_ref, image_digest, backend, "
                                 "isolation, created_ms, spec_json,"
                                 " removed_when_done) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  statement.bind(record.id)
      .bind(record.name)
      .bind(record.image_ref)
      .bind(record.image_digest)
      .bind(record.backend)
      .bind(record.isolation)
      .bind(record.created_ms)
      .bind(record.spec_json)
      .bind(record.removed_when_done ? 1 : 0);
  auto done = statement.step();
  if (done.has_value()) return {};
  if (done.error().code() != Errc::kAlreadyExists) return std::move(done).error();
  return Error(Errc::kAlreadyExists, "a machine named '" + record.name + "' already exists")
      .with_hint("choose another --name, or remove it with: mvmctl rm " + record.name);
}

Result<VmRecord> Catalog::find_vm(std::string_view text) const {
  if (state_->db == nullptr) return unknown_vm(text);
  Statement by_name = MVM_TRY(Statement::prepare(state_->db.get(), MVM_VM_SELECT "WHERE name = ?"));
  by_name.bind(text);
  if (MVM_TRY(by_name.step())) return vm_of(by_name);
  if (!is_hex(text)) return unknown_vm(text);
  Statement by_id = MVM_TRY(Statement::prepare(
      state_->db.get(), MVM_VM_SELECT "WHERE id GLOB ? || '*' ORDER BY id LIMIT 6"));
  by_id.bind(text);
  std::vector<VmRecord> found = MVM_TRY(vms_of(by_id));
  if (found.empty()) return unknown_vm(text);
  if (found.size() > 1) return ambiguous(text, found);
  return std::move(found.front());
}

Result<std::vector<VmRecord>> Catalog::list_vms() const {
  if (state_->db == nullptr) return std::vector<VmRecord>();
  Statement rows =
      MVM_TRY(Statement::prepare(state_->db.get(), MVM_VM_SELECT "ORDER BY created_ms, id"));
  return vms_of(rows);
}

Result<> Catalog::remove_vm(std::string_view id) {
  Statement statement =
      MVM_TRY(Statement::prepare(state_->db.get(), "DELETE FROM vms WHERE id = ?"));
  statement.bind(id);
  MVM_TRY(statement.step());
  if (sqlite3_changes(state_->db.get()) == 0) return unknown_vm(id);
  return {};
}

}  // namespace mvm::store
