// SPDX-License-Identifier: Apache-2.0
// Nix flakes: a package that nix/flake.nix's mkGuest has made, with its closure.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "build/inputs.h"
#include "build/nix_closure.h"
#include "build/source.h"
#include "core/lines.h"
#include "image/host_trees.h"
#include "image/tar_file.h"
#include "spec/vm_spec_json.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

constexpr char kGuest[] = "guest.json";  // written by mkGuest

std::vector<std::string> nix(const std::string& store) {
  return {"nix", "--extra-experimental-features", "nix-command flakes", "--option",
          "build-users-group", "", "--option", "flake-registry", "",
          // A cache that cannot be reached is done without at once.
          "--option", "download-attempts", "1", "--store", store};
}

Result<std::string> flake_reference(const Shop& shop) {
  const spec::Manifest& manifest = shop.job.manifest;
  std::string flake = manifest.source.what;
  // A flake of the project is the first input; what lies elsewhere is none.
  const std::vector<Input> inputs = MVM_TRY(inputs_of(manifest, shop.job.project));
  if (!inputs.empty() && inputs.front().role == Role::kSource)
    flake = "path:" + inputs.front().path;
  return flake + "#packages." + std::string(spec::to_string(manifest.arch)) + "-linux." +
         manifest.source.profile;
}

Error explain(const sys::Output& output) {
  // Nix says the place in the lines after "error:".
  const std::string text = "nix: " + complaint_in(output.err, 12);
  if (output.err.find("No space left") != std::string::npos) return {Errc::kNoSpace, text};
  if (output.err.find("does not provide attribute") != std::string::npos)
    return Error(Errc::kNotFound, text)
        .with_hint("the flake must have packages.SYSTEM.default, or the profile of the manifest");
  return {Errc::kIo, text};
}

// Of `nix build --json`: [{"outputs": {"out": PATH}}].
Result<std::string> only_output(const std::string& text) {
  const nlohmann::json built = nlohmann::json::parse(text, nullptr, false);
  const nlohmann::json::json_pointer out("/0/outputs/out");
  if (!built.is_array() || built.size() != 1 || !built.contains(out) || !built[out].is_string())
    return Error(Errc::kInvalidArgument, "the flake's package has not one output named out");
  return built[out].get<std::string>();
}

Result<std::vector<std::string>> closure_of(const Shop& shop, const std::string& store,
                                            const std::string& package) {
  auto known = nix_closure(store, package);
  if (known) return std::move(*known);
  // Another Nix may keep it elsewhere; it knows itself.
  std::vector<std::string> argv = nix(store);
  argv.insert(argv.end(), {"path-info", "--recursive", package});
  const std::string listed = MVM_TRY(run_tool(shop, {.step = "source", .argv = std::move(argv)}));
  std::vector<std::string> out;
  for (const std::string_view line : lines_of(listed)) out.emplace_back(line);
  std::ranges::sort(out);
  return out;
}

}  // namespace

Result<SourceLayers> from_flake(const Shop& shop, const std::string& dir) {
  MVM_TRY(sys::make_dirs(shop.job.cache_dir + "/nix"));
  // Nix wants no symbolic link on the way to its store.
  std::error_code ec;
  const std::string store = std::filesystem::canonical(shop.job.cache_dir + "/nix", ec).string();
  if (ec) return Error::from_errno("open the Nix store", ec.value());
  std::vector<std::string> argv = nix(store);
  argv.insert(argv.end(), {"build", "--no-link", "--json", "--no-write-lock-file"});
  if (!shop.job.nix_library.empty())
    argv.insert(argv.end(), {"--override-input", "mvm", "path:" + shop.job.nix_library});
  argv.push_back(MVM_TRY(flake_reference(shop)));
  const Tool build{.step = "source", .argv = argv, .network = true, .explain = explain};
  const std::string package = MVM_TRY(only_output(MVM_TRY(run_tool(shop, build))));
  // The store's root stands for /: what lies at /nix/store/X is at STORE/nix/store/X.
  SourceLayers out;
  if (const std::string guest = store + package + "/" + kGuest; sys::path_exists(guest))
    out.guest = MVM_TRY(spec::guest_from_json(MVM_TRY(sys::read_file(guest)), "the flake's guest"));
  const std::vector<std::string> closure = MVM_TRY(closure_of(shop, store, package));
  const std::string path = dir + "/closure.tar";
  image::TarFile tar = MVM_TRY(image::TarFile::create(path));
  for (const char* name : {"dev", "etc", "home", "nix", "nix/store", "proc", "root", "run", "sys",
                           "tmp", "usr", "var", "var/lib", "var/log", "var/tmp"}) {
    const std::string_view view(name);
    MVM_TRY(tar.directory(name, view == "root" ? 0700 : view.ends_with("tmp") ? 01777 : 0755));
  }
  // Any other package is found where programs are looked for.
  if (!out.guest) {
    for (const char* name : {"bin", "usr/bin"}) MVM_TRY(tar.symlink(name, package + "/bin"));
  }
  for (const std::string& item : closure) MVM_TRY(tar.tree(item.substr(1), store + item));
  MVM_TRY(tar.close());
  out.config = image::host_tree_config();
  out.layers = {{.path = path, .digest = {}, .size = {}}};
  return out;
}

}  // namespace mvm::build
