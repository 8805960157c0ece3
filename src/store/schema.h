// SPDX-License-Identifier: Apache-2.0
// The tables of the catalogue. A change raises kSchemaVersion; what IF NOT EXISTS does not do gets
// a migration in catalog_open.cc. Versions: 1 images and vms; 2 snapshots; 3 builds;
// 4 signatures of images.
#pragma once

namespace mvm::store {

inline constexpr int kSchemaVersion = 4;

inline constexpr char kSchema[] = R"sql(
CREATE TABLE IF NOT EXISTS images (
  ref           TEXT    NOT NULL,
  arch          TEXT    NOT NULL,
  digest        TEXT    NOT NULL,
  size_bytes    INTEGER NOT NULL,
  created_ms    INTEGER NOT NULL,
  source_digest TEXT    NOT NULL,
  config_json   TEXT    NOT NULL,
  signed_manifest TEXT  NOT NULL DEFAULT '',
  signature     TEXT    NOT NULL DEFAULT '',
  signer        TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (ref, arch)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS images_by_digest ON images (digest);
CREATE TABLE IF NOT EXISTS vms (
  id                TEXT    NOT NULL PRIMARY KEY,
  name              TEXT    NOT NULL UNIQUE,
  image_ref         TEXT    NOT NULL,
  image_digest      TEXT    NOT NULL,
  backend           TEXT    NOT NULL,
  isolation         TEXT    NOT NULL,
  created_ms        INTEGER NOT NULL,
  spec_json         TEXT    NOT NULL,
  removed_when_done INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS vms_by_image ON vms (image_digest);
CREATE TABLE IF NOT EXISTS snapshots (
  id           TEXT    NOT NULL PRIMARY KEY,
  name         TEXT    NOT NULL UNIQUE,
  vm_name      TEXT    NOT NULL,
  image_ref    TEXT    NOT NULL,
  image_digest TEXT    NOT NULL,
  saved_by     TEXT    NOT NULL,
  created_ms   INTEGER NOT NULL,
  spec_json    TEXT    NOT NULL
);
CREATE INDEX IF NOT EXISTS snapshots_by_image ON snapshots (image_digest);
CREATE TABLE IF NOT EXISTS builds (
  revision      TEXT    NOT NULL,
  project       TEXT    NOT NULL,
  name          TEXT    NOT NULL,
  arch          TEXT    NOT NULL,
  image_digest  TEXT    NOT NULL,
  fingerprint   TEXT    NOT NULL,
  manifest_json TEXT    NOT NULL,
  built_ms      INTEGER NOT NULL,
  PRIMARY KEY (project, revision)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS builds_by_revision ON builds (revision);
CREATE TABLE IF NOT EXISTS build_tags (
  tag      TEXT NOT NULL PRIMARY KEY,
  revision TEXT NOT NULL
) WITHOUT ROWID;
)sql";

}  // namespace mvm::store
