// SPDX-License-Identifier: Apache-2.0
// What mvmctl asks of mvm-build, on this host or in the builder's guest, and what it is told.
//
// `mvm-build JOBFILE` writes one JSON object per line to stdout: events, and at the end the result
// or the error. Format: docs/formats/build.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/units.h"
#include "image/host_trees.h"
#include "seal/manifest.h"
#include "spec/image_config.h"
#include "spec/manifest.h"

namespace mvm::build {

struct Job {
  spec::Manifest manifest;
  std::string project;            // the directory that the manifest's paths start from
  std::string work_dir;           // existing and private; the caller removes it
  std::string cache_dir;          // existing; kept between builds
  std::string output;             // the EROFS file to make
  std::string source_key;         // Step::key of the plan
  image::AptSources apt_sources;  // for Debian sources
  std::string nix_library;        // directory of mvm's flake; empty: flakes that want it bring it
  bool refresh = false;  // make the source anew: suites, registries and flake inputs may be newer
};

struct Built {
  std::string digest;  // SHA-256 of the EROFS file
  Bytes size;
  spec::ImageConfig config;
  std::optional<seal::Verity> verity;  // of a sealed image, whose file ends with its hash tree
};

struct Event {
  enum class State { kBegun, kDone, kCached };
  std::string step;
  State state = State::kBegun;
  Millis took{0};
};

// One line of mvm-build's output.
struct Line {
  std::optional<Event> event;
  std::optional<Built> built;
  std::optional<Error> error;
};

std::string job_to_json(const Job& job);
// Errors: kInvalidArgument.
Result<Job> job_from_json(std::string_view text);

std::string to_line(const Event& event);
std::string to_line(const Built& built);
std::string to_line(const Error& error);
// The peer may be a guest: nothing in it is trusted. Errors: kGuestFault.
Result<Line> parse_line(std::string_view text);

}  // namespace mvm::build
