// SPDX-License-Identifier: Apache-2.0
// What a user may write where an image is expected, taken apart. Pure.
//
//   busybox                               Debian's static busybox, the default
//   debian:SUITE[?include=PKG,PKG…]       minimal Debian from the host's apt sources
//   dir:PATH    tar:PATH                  a directory, an archive in any usual compression
//   oci:DIR[:TAG]                         an OCI layout
//   oci-archive:FILE[:TAG]   docker-archive:FILE[:TAG]
//   build:NAME@REVISION               what `mvmctl build` has made
//   docker://REF, HOST[:PORT]/NAME[:TAG][@sha256:…], NAME/NAME, NAME:TAG    a registry
// Names without a host are docker.io's, names without a slash docker.io/library's, the default tag
// is latest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::image {

enum class SourceKind {
  kBusybox,
  kDebian,
  kDirectory,
  kTar,
  kOciLayout,
  kOciArchive,
  kDockerArchive,
  kBuild,   // made by mvm, found by its name only
  kBundle,  // imported, found by its name only
  kRegistry
};

struct Source {
  SourceKind kind = SourceKind::kBusybox;
  std::string path;                   // directory or file; absolute after absolute_source()
  std::string tag;                    // of a layout or archive; "" means its only image
  std::string suite;                  // debian
  std::vector<std::string> packages;  // debian, sorted, each once
  std::string host;                   // registry, with port: "docker.io", "127.0.0.1:5000"
  std::string name;  // registry: "library/alpine:3.20", "app@sha256:…"; a build's or bundle's

  // The one way to write it; the key of the catalogue.
  std::string ref() const;
  // True when the registry is this machine, where plain http is allowed: 127.0.0.0/8, [::1],
  // localhost.
  bool on_loopback() const;
};

// Errors: kInvalidArgument naming the text, with the valid forms as hint.
Result<Source> parse_source(std::string_view text);

// The source with its path made absolute from `working_dir`.
Source absolute_source(Source source, const std::string& working_dir);

}  // namespace mvm::image
