// SPDX-License-Identifier: Apache-2.0
#include "build/inputs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "image/fingerprint.h"
#include "image/source.h"
#include "image/tree_remove.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/sha256.h"

namespace mvm::build {
namespace {

using Kind = spec::SourceSpec::Kind;

Result<> hash_entry(const std::string& path, const std::string& below, bool whole,
                    sys::Sha256& hash) {
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) return Error::from_errno("open " + path);
  hash.update(below);
  hash.update(std::string_view("\0", 1));
  const std::string mode = std::to_string(st.st_mode & 01777) + "\n";
  switch (st.st_mode & S_IFMT) {
    case S_IFREG:
      hash.update("file " + mode + MVM_TRY(sys::sha256_file(path)) + "\n");
      return {};
    case S_IFLNK: {
      std::error_code ec;
      const std::string target = std::filesystem::read_symlink(path, ec).string();
      if (ec) return Error::from_errno("readlink " + path, ec.value());
      hash.update("link " + std::to_string(target.size()) + " " + target + "\n");
      return {};
    }
    case S_IFDIR:
      break;
    default:
      return Error(Errc::kUnsupported, path + " is neither file, directory nor symbolic link");
  }
  hash.update("directory " + mode);
  const sys::UniqueFd dir = MVM_TRY(sys::open_file(path, O_RDONLY | O_DIRECTORY));
  for (const std::string& name : MVM_TRY_CTX(image::names_in(dir.get()), path)) {
    const std::string inner = (below.empty() ? "" : below + "/") + name;
    if (whole || !is_left_out(inner)) MVM_TRY(hash_entry(path + "/" + name, inner, whole, hash));
  }
  return {};
}

// "/project/." and "/project/x/" without what says nothing.
std::string in_project(const std::string& project, const std::string& relative) {
  std::string path = (std::filesystem::path(project) / relative).lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace

bool is_left_out(const std::string& below) {
  return below == ".git" || below.ends_with("/.git") || below == "result";
}

Result<std::vector<Input>> inputs_of(const spec::Manifest& manifest, const std::string& project) {
  std::vector<Input> out;
  const auto add = [&](Role role, const std::string& what, bool whole = false) {
    out.push_back({role, what, in_project(project, what), whole});
  };
  const spec::SourceSpec& source = manifest.source;
  switch (source.kind) {
    case Kind::kDir:
      add(Role::kSource, source.what);
      break;
    case Kind::kDockerfile:
      add(Role::kSource, source.what);
      add(Role::kSource, source.context, true);
      break;
    case Kind::kFlake:
      if (source.what.find(':') == std::string::npos) add(Role::kSource, source.what, true);
      break;
    case Kind::kImage: {
      const image::Source parsed =
          image::absolute_source(MVM_TRY(image::parse_source(source.what)), project);
      if (!parsed.path.empty()) out.push_back({Role::kSource, source.what, parsed.path});
      const auto busybox = sys::find_program("busybox");
      if (parsed.kind == image::SourceKind::kBusybox && busybox)
        out.push_back({Role::kSource, source.what, *busybox});
      break;
    }
    case Kind::kDebian:
      break;
  }
  for (const spec::FileSpec& file : manifest.files) {
    if (!file.from.empty()) add(Role::kOverlay, file.from);
  }
  return out;
}

Result<std::string> content_digest(const Input& input) {
  sys::Sha256 hash;
  MVM_TRY(hash_entry(input.path, "", input.whole, hash));
  return hash.finish();
}

Result<std::string> fingerprint_of(const std::vector<Input>& inputs) {
  std::string all;
  for (const Input& input : inputs) {
    std::error_code ec;
    const bool directory = std::filesystem::is_directory(input.path, ec);
    all += input.name + "\n" +
           MVM_TRY(directory ? image::directory_fingerprint(input.path)
                             : image::file_fingerprint(input.path)) +
           "\n";
  }
  return sys::sha256_hex(all);
}

}  // namespace mvm::build
