// SPDX-License-Identifier: Apache-2.0
// mvm.toml: a project as an image and a machine.
//
//   name = "web"
//   entrypoint = ["/usr/bin/web", "--listen", "8080"]
//   ports = ["8080:8080"]
//   [source]
//   debian = "bookworm"
//   packages = ["python3"]
//
// One definition (manifest.cc) gives the reader, the JSON Schema and the reference.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "spec/service_spec.h"
#include "spec/vm_spec.h"

namespace mvm::spec {

constexpr std::string_view kManifestFile = "mvm.toml";

// What the root file system is made from: `what` is a flake, a Dockerfile, an image reference, a
// Debian suite or a directory; the rest belongs to one kind each.
struct SourceSpec {
  enum class Kind { kFlake, kDockerfile, kImage, kDebian, kDir };
  Kind kind = Kind::kImage;
  std::string what;
  std::string profile = "default";                              // flake: which package
  std::string context = ".";                                    // Dockerfile: directory of COPY
  std::string stage;                                            // Dockerfile: where to stop
  std::vector<std::pair<std::string, std::string>> build_args;  // Dockerfile
  bool network = false;                                         // Dockerfile: of its RUNs
  std::vector<std::string> packages;                            // debian
  std::vector<std::string> hooks;                               // debian: commands of /bin/sh
};

// A file laid over the source. Exactly one of text, from and link is set.
struct FileSpec {
  std::string path;  // absolute, in the image
  std::optional<std::string> text;
  std::string from;                   // relative to the manifest
  std::string link;                   // target of a symbolic link
  std::optional<std::uint32_t> mode;  // of a file; else 0644, or what that of `from` is
};

struct ResourceSpec {
  std::uint32_t vcpus = 1;
  Bytes memory = mebibytes(512);
  Bytes disk = gibibytes(8);
};

enum class Seal { kDev, kSealed };

struct Manifest {
  std::string name;  // empty: the directory's
  Arch arch = Arch::kX86_64;
  Seal seal = Seal::kDev;
  SourceSpec source;
  std::vector<std::string> outputs;  // what may be copied out of a sealed machine
  std::vector<std::string> entrypoint;
  std::vector<ServiceSpec> services;  // by name; none beside an entrypoint
  std::vector<std::pair<std::string, std::string>> env;
  std::string user;
  std::string working_dir;
  std::vector<FileSpec> files;
  ResourceSpec resources;
  std::vector<PortForward> ports;
  std::vector<VolumeSpec> volumes;
  std::optional<HealthSpec> health;  // of the entrypoint
};

// `file` is its name in errors. Pure: nothing that it names is looked at.
// Errors: kInvalidArgument with line, column and the path of keys.
Result<Manifest> parse_manifest(std::string_view text, const std::string& file);

// The same as one line of JSON, which is what other programs are given and digests are made of.
// Errors: as above, without lines.
std::string manifest_to_json(const Manifest& manifest);
Result<Manifest> manifest_from_json(std::string_view text, const std::string& file);

// What a source may say of its guest: a manifest without a source of its own, which is left as it
// is. Errors: as above.
Result<Manifest> guest_from_json(std::string_view text, const std::string& file);
std::string guest_to_json(const Manifest& manifest);

// JSON Schema (draft 2020-12), pretty-printed.
std::string manifest_schema();

}  // namespace mvm::spec
