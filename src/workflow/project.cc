// SPDX-License-Identifier: Apache-2.0
#include "workflow/project.h"

#include <filesystem>

#include "build/inputs.h"
#include "build/plan.h"
#include "spec/words.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::workflow {
namespace {

namespace fs = std::filesystem;

// A directory's name as the name of an image.
std::string name_of(const std::string& dir) {
  std::string out;
  for (const char c : fs::path(dir).filename().string()) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      (!out.empty() && (c == '.' || c == '_' || c == '-'));
    if (good)
      out += c;
    else if (!out.empty())
      out += '-';
  }
  out = out.substr(0, 63);
  return spec::check_name(out) ? out : "project";
}

}  // namespace

std::optional<std::string> find_project_dir(const std::string& start) {
  std::error_code ec;
  fs::path dir = fs::weakly_canonical(fs::absolute(start, ec), ec);
  for (; !ec; dir = dir.parent_path()) {
    if (fs::is_regular_file(dir / spec::kManifestFile, ec)) return dir.string();
    if (fs::exists(dir / ".git", ec) || dir == dir.root_path()) break;
  }
  return std::nullopt;
}

Result<Project> load_project(const std::string& path) {
  const auto dir = find_project_dir(path);
  if (!dir)
    return Error(Errc::kNotFound,
                 "there is no " + std::string(spec::kManifestFile) + " in " + path + " or above it")
        .with_hint("make one with: mvmctl init " + path);
  Project out;
  out.dir = *dir;
  out.file = *dir + "/" + std::string(spec::kManifestFile);
  out.text = MVM_TRY(sys::read_file(out.file, mebibytes(1)));
  out.manifest = MVM_TRY(spec::parse_manifest(out.text, out.file));
  if (out.manifest.name.empty()) out.manifest.name = name_of(*dir);
  return out;
}

Result<std::string> project_fingerprint(const Project& project) {
  const auto inputs = MVM_TRY(build::inputs_of(project.manifest, project.dir));
  return sys::sha256_hex(std::to_string(build::kFormat) + "\n" + project.text + "\n" +
                         project.manifest.name + "\n" + MVM_TRY(build::fingerprint_of(inputs)));
}

std::string short_revision(const std::string& revision) {
  constexpr std::size_t kShort = 12;
  return revision.substr(0, kShort);
}

std::string image_ref(const store::BuildRecord& build) {
  return "build:" + build.name + "@" + short_revision(build.revision);
}

Result<Revision> current_revision(const store::Layout& layout, const store::Catalog& catalog,
                                  const Project& project) {
  const auto build = MVM_TRY(catalog.current_build(project.dir));
  const std::string again = "build it with: mvmctl build " + project.dir;
  if (!build)
    return Error(Errc::kNotFound, "project " + project.dir + " was not built yet").with_hint(again);
  if (!sys::path_exists(layout.blob_path(build->image_digest)))
    return Error(Errc::kNotFound, "the image of project " + project.dir + " was removed")
        .with_hint(again);
  Revision out{*build, Drift::kNone};
  if (MVM_TRY(project_fingerprint(project)) == build->fingerprint) return out;
  // Touched, which need not mean changed.
  const build::Plan plan = MVM_TRY(build::make_plan(project.manifest, project.dir));
  if (plan.revision() != build->revision) out.drift = Drift::kChanged;
  return out;
}

}  // namespace mvm::workflow
