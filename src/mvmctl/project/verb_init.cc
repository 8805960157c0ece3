// SPDX-License-Identifier: Apache-2.0
// `mvmctl init`: a project to begin with.
#include <fcntl.h>

#include <array>
#include <filesystem>
#include <span>

#include "cli/output.h"
#include "mvmctl/project/verbs.h"
#include "sys/io.h"

namespace mvm::cli {
namespace {

struct PresetFile {
  std::string_view path;  // below the project
  std::string_view text;
};

struct Preset {
  std::string_view name;
  std::string_view meaning;
  std::span<const PresetFile> files;  // the first is the manifest
};

// Each builds and runs as it is.
constexpr std::array<PresetFile, 1> kMinimal = {
    {{"mvm.toml", R"~(# What `mvmctl run .` runs. All keys: mvmctl validate --schema
entrypoint = ["echo", "hello from a machine"]

[source]
image = "busybox"
)~"}}};

constexpr std::array<PresetFile, 2> kHttp = {
    {{"mvm.toml", R"~(# A web server: mvmctl build && mvmctl up . && curl localhost:8080
ports = ["8080:8080"]

[source]
image = "busybox"

[[files]]
path = "/srv/www"
from = "www"

[services.web]
command = ["httpd", "-f", "-p", "8080", "-h", "/srv/www"]
restart = "always"

[services.web.health]
http = ":8080/"
interval = "5s"
)~"},
     {"www/index.html", "<h1>It works</h1>\n"}}};

constexpr std::array<PresetFile, 2> kWorker = {
    {{"mvm.toml",
      R"~(# Works without end: mvmctl build && mvmctl up --name worker . && mvmctl logs worker
[source]
image = "busybox"

[[files]]
path = "/opt/worker"
from = "worker.sh"
mode = "0755"

[services.worker]
command = ["/opt/worker"]
restart = "always"
)~"},
     {"worker.sh", R"~(#!/bin/sh
while true; do
  echo "did some work at $(date)"
  sleep 5
done
)~"}}};

constexpr std::array<PresetFile, 2> kPython = {
    {{"mvm.toml", R"~(# A program in Python: mvmctl build && mvmctl run .
entrypoint = ["python3", "/app/main.py"]

[source]
debian = "bookworm"
packages = ["python3"]

[[files]]
path = "/app"
from = "app"
)~"},
     {"app/main.py", R"~(import platform

print("hello from Python", platform.python_version(), "on", platform.system())
)~"}}};

constexpr std::array<PresetFile, 2> kNode = {
    {{"mvm.toml", R"~(# A program in JavaScript: mvmctl build && mvmctl run .
entrypoint = ["node", "/app/main.js"]

[source]
debian = "bookworm"
packages = ["nodejs"]

[[files]]
path = "/app"
from = "app"
)~"},
     {"app/main.js", R"~(console.log("hello from Node", process.version, "on", process.platform);
)~"}}};

constexpr std::array<PresetFile, 2> kNix = {
    {{"mvm.toml", R"~(# A guest made by Nix: mvmctl build && mvmctl run .
[source]
flake = "."
)~"},
     {"flake.nix", R"~({
  # mvmctl gives its own for the input mvm, whatever stands here.
  inputs.mvm.url = "flake:mvm";
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.05";

  outputs = { self, mvm, nixpkgs }:
    let
      guest = system:
        let pkgs = nixpkgs.legacyPackages.${system};
        in mvm.lib.mkGuest {
          inherit system;
          name = "hello";
          busybox = "${pkgs.busybox}/bin/busybox";
          packages = [ pkgs.hello ];
          entrypoint.command = [ "hello" ];
        };
    in {
      packages.x86_64-linux.default = guest "x86_64-linux";
      packages.aarch64-linux.default = guest "aarch64-linux";
    };
}
)~"}}};

constexpr std::array<Preset, 6> kPresets = {{
    {"minimal", "one command in busybox", kMinimal},
    {"http", "a web server with a check of its health", kHttp},
    {"worker", "a service that works without end", kWorker},
    {"python", "Python on Debian", kPython},
    {"node", "Node.js on Debian", kNode},
    {"nix", "a guest made by a Nix flake", kNix},
}};

struct Options {
  std::string dir;
  std::string preset = "minimal";
};

// Nothing of the user's is written over. Errors: kAlreadyExists naming the file.
Result<> write_new(const std::string& path, std::string_view text) {
  MVM_TRY(sys::make_dirs(std::filesystem::path(path).parent_path().string(), 0755));
  const bool program = text.starts_with("#!");
  auto file = sys::open_file(path, O_WRONLY | O_CREAT | O_EXCL, program ? 0755 : 0644);
  if (!file && file.error().code() == Errc::kAlreadyExists)
    return Error(Errc::kAlreadyExists, path + " exists already")
        .with_hint("choose another directory, or move the file away");
  if (!file) return std::move(file).error();
  return sys::write_full(file->get(), text);
}

Result<int> init(Context& context, const Options& o) {
  for (const Preset& preset : kPresets) {
    if (preset.name != o.preset) continue;
    Json files = Json::array();
    for (const PresetFile& file : preset.files) {
      const std::string path = o.dir + "/" + std::string(file.path);
      MVM_TRY(write_new(path, file.text));
      files.add(path);
      if (!context.json) context.print(path + "\n");
    }
    if (context.json)
      context.print_json(1, Json::object().set("preset", o.preset).set("files", files));
    else
      context.note("next: mvmctl build " + o.dir);
    return 0;
  }
  return Error(Errc::kInvalidArgument, "there is no preset '" + o.preset + "'");
}

}  // namespace

CommandSpec make_init_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Writes a manifest, mvm.toml, and what belongs to it into a directory.\n\nPresets:";
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    names.emplace_back(preset.name);
    spec.description += std::string(names.size() == 1 ? " " : "; ") + names.back() + ": " +
                        std::string(preset.meaning);
  }
  spec.description += ".";
  spec.positionals = {{.name = "DIR",
                       .help = "the project's directory, made when it is not there",
                       .target = &o->dir,
                       .complete = Complete::kDirectory}};
  spec.options = {{.names = "--preset",
                   .value_name = "NAME",
                   .help = "what to begin with",
                   .target = &o->preset,
                   .choices = names}};
  spec.examples = {{"mvmctl init web --preset http", "a web server in ./web"}};
  spec.run = [o](Context& context) { return init(context, *o); };
  return spec;
}

}  // namespace mvm::cli
