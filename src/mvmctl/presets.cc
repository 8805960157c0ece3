// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/presets.h"

#include <array>

namespace mvm::cli {
namespace {

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

}  // namespace

std::span<const Preset> presets() { return kPresets; }

}  // namespace mvm::cli
