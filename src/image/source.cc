// SPDX-License-Identifier: Apache-2.0
#include "image/source.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "image/entry_path.h"
#include "image/limits.h"

namespace mvm::image {
namespace {

constexpr char kForms[] =
    "use one of: busybox, debian:SUITE, dir:PATH, tar:PATH, oci:DIR[:TAG], oci-archive:FILE[:TAG], "
    "docker-archive:FILE[:TAG], docker://NAME, or a registry name like "
    "docker.io/library/alpine:3.20";

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kLowerDigits = "abcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view kWord =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
constexpr std::size_t kMaxTagLength = 128;

Error refused(std::string_view text, std::string_view why) {
  return Error(Errc::kInvalidArgument, "image " + shown(text) + " " + std::string(why))
      .with_hint(kForms);
}

bool only(std::string_view text, std::string_view allowed, std::string_view also = "") {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return allowed.find(c) != std::string_view::npos || also.find(c) != std::string_view::npos;
  });
}

bool is_tag(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTagLength &&
         kWord.find(text.front()) != std::string_view::npos && only(text, kWord, ".-");
}

bool is_name_part(std::string_view text) {
  return !text.empty() && only(text, kLowerDigits, "._-") &&
         kLowerDigits.find(text.front()) != std::string_view::npos &&
         kLowerDigits.find(text.back()) != std::string_view::npos;
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && only(text, "0123456789") &&
         std::stoi(std::string(text)) <= 65535 && std::stoi(std::string(text)) > 0;
}

bool is_host(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos || end == 1 ||
        !only(text.substr(1, end - 1), "0123456789abcdefABCDEF:.")) {
      return false;
    }
    const std::string_view rest = text.substr(end + 1);
    return rest.empty() || (rest.front() == ':' && is_port(rest.substr(1)));
  }
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && !is_port(text.substr(colon + 1))) return false;
  const std::string_view host = text.substr(0, colon);
  return !host.empty() && only(host, kWord, ".-") && host.front() != '-' && host.front() != '.';
}

// Only a first part with a dot or a port, or "localhost", is a host; the rule every registry client
// follows.
bool looks_like_host(std::string_view part) {
  return part == "localhost" || part.find_first_of(".:[") != std::string_view::npos;
}

Result<Source> parse_registry(std::string_view text, std::string_view whole) {
  Source source;
  source.kind = SourceKind::kRegistry;
  std::string_view rest = text;
  std::string_view digest;
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!digest.starts_with("sha256:") || digest.size() != 71 ||
        !only(digest.substr(7), "0123456789abcdef")) {
      return refused(whole, "has a digest that is not sha256: and 64 lower-case hex digits");
    }
  }
  source.host = "docker.io";
  const std::size_t slash = rest.find('/');
  if (slash != std::string_view::npos && looks_like_host(rest.substr(0, slash))) {
    source.host = rest.substr(0, slash);
    rest = rest.substr(slash + 1);
    if (!is_host(source.host))
      return refused(whole, "has a registry host that is not HOST or HOST:PORT");
  }
  std::string_view tag = digest.empty() ? "latest" : "";
  if (const std::size_t colon = rest.find(':'); colon != std::string_view::npos) {
    tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!is_tag(tag))
      return refused(whole, "has a tag that is not letters, digits, '.', '_' and '-'");
  }
  for (std::size_t at = 0; at <= rest.size();) {
    const std::size_t end = std::min(rest.find('/', at), rest.size());
    if (!is_name_part(rest.substr(at, end - at))) {
      return refused(
          whole,
          "has a name that is not lower-case letters, digits, '.', '_', '-' between slashes");
    }
    at = end + 1;
  }
  const bool official = source.host == "docker.io" && rest.find('/') == std::string_view::npos;
  source.name = (official ? "library/" : "") + std::string(rest);
  // With both, the digest decides; registries and skopeo refuse a name that has two.
  source.name += digest.empty() ? ":" + std::string(tag) : "@" + std::string(digest);
  return source;
}

Result<Source> parse_debian(std::string_view text, std::string_view whole) {
  struct Release {
    std::string_view number, suite;
  };
  constexpr std::array<Release, 4> kReleases = {
      {{"10", "buster"}, {"11", "bullseye"}, {"12", "bookworm"}, {"13", "trixie"}}};
  Source source;
  source.kind = SourceKind::kDebian;
  const std::size_t query = text.find('?');
  source.suite = text.substr(0, query);
  for (const Release& release : kReleases) {
    if (source.suite == release.number) source.suite = release.suite;
  }
  if (source.suite.empty() || source.suite.size() > 64 || !only(source.suite, kLower, "-") ||
      source.suite.front() == '-') {
    return refused(whole, "does not name a Debian suite, like debian:bookworm");
  }
  if (query == std::string_view::npos) return source;
  std::string_view list = text.substr(query + 1);
  if (!list.starts_with("include="))
    return refused(whole, "has an option other than ?include=PACKAGE,PACKAGE");
  list.remove_prefix(8);
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::string_view package = list.substr(at, end - at);
    if (package.size() < 2 || !only(package, kLowerDigits, "+.-") ||
        kLowerDigits.find(package.front()) == std::string_view::npos) {
      return refused(whole, "includes " + shown(package) + ", which is not a package name");
    }
    source.packages.emplace_back(package);
    at = end + 1;
  }
  std::sort(source.packages.begin(), source.packages.end());
  source.packages.erase(std::unique(source.packages.begin(), source.packages.end()),
                        source.packages.end());
  return source;
}

Result<Source> parse_path(SourceKind kind, std::string_view text, std::string_view whole) {
  Source source;
  source.kind = kind;
  source.path = text;
  const bool tagged = kind != SourceKind::kDirectory && kind != SourceKind::kTar;
  const std::size_t colon = text.find(':');
  if (tagged && colon != std::string_view::npos) {
    source.path = text.substr(0, colon);
    source.tag = text.substr(colon + 1);
    // docker-archive names are whole references: file.tar:app:1
    if (source.tag.empty() || !only(source.tag, kWord, ".-/:@+"))
      return refused(whole, "has an unusable tag");
  }
  if (source.path.empty()) return refused(whole, "has no path");
  return source;
}

Result<Source> parse_bundle(std::string_view text, std::string_view whole) {
  Source source;
  source.kind = SourceKind::kBundle;
  source.name = text;
  if (!only(text, kWord, ".-@"))
    return refused(whole, "is not bundle:NAME, as mvmctl image ls shows it");
  return source;
}

Result<Source> parse_build(std::string_view text, std::string_view whole) {
  Source source;
  source.kind = SourceKind::kBuild;
  source.name = text;
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == text.size() || !only(text, kWord, ".-@"))
    return refused(whole, "is not build:NAME@REVISION, as mvmctl image ls shows it");
  return source;
}

Result<Source> parse_plain_name(std::string_view text) {
  const std::size_t colon = text.find(':');
  const bool slash = text.find('/') != std::string_view::npos;
  if (text.starts_with('/') || text.starts_with('.') || text.starts_with('~')) {
    return refused(text, "looks like a path; say what it is: dir:PATH or tar:PATH");
  }
  if (colon == std::string_view::npos && !slash) {
    return refused(text, "is not known; for a registry give a tag or a slash, like " +
                             std::string(text) + ":latest");
  }
  // "abc:/x", "abc:x\y": the part before the colon was meant as a scheme.
  const std::string_view after = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (colon != std::string_view::npos &&
      text.substr(0, colon).find('/') == std::string_view::npos &&
      !looks_like_host(text.substr(0, colon)) && !is_tag(after.substr(0, after.find('@'))) &&
      !(slash && is_port(after.substr(0, after.find('/'))))) {
    return refused(text, "has the unknown scheme " + shown(text.substr(0, colon)));
  }
  return parse_registry(text, text);
}

}  // namespace

std::string Source::ref() const {
  const std::string tagged = tag.empty() ? path : path + ":" + tag;
  switch (kind) {
    case SourceKind::kBusybox:
      return "busybox";
    case SourceKind::kDebian: {
      std::string out = "debian:" + suite;
      for (std::size_t i = 0; i < packages.size(); ++i)
        out += (i == 0 ? "?include=" : ",") + packages[i];
      return out;
    }
    case SourceKind::kDirectory:
      return "dir:" + path;
    case SourceKind::kTar:
      return "tar:" + path;
    case SourceKind::kOciLayout:
      return "oci:" + tagged;
    case SourceKind::kOciArchive:
      return "oci-archive:" + tagged;
    case SourceKind::kDockerArchive:
      return "docker-archive:" + tagged;
    case SourceKind::kBuild:
      return "build:" + name;
    case SourceKind::kBundle:
      return "bundle:" + name;
    case SourceKind::kRegistry:
      return "docker://" + host + "/" + name;
  }
  return "";
}

bool Source::on_loopback() const {
  if (kind != SourceKind::kRegistry) return false;
  if (host == "[::1]" || host.starts_with("[::1]:")) return true;
  const std::string bare = host.substr(0, host.find(':'));
  if (bare == "localhost") return true;
  // A dotted quad, not a name like 127.evil.example.
  return bare.starts_with("127.") && only(bare, "0123456789.") &&
         std::count(bare.begin(), bare.end(), '.') == 3;
}

Result<Source> parse_source(std::string_view text) {
  struct Scheme {
    std::string_view prefix;
    SourceKind kind;
  };
  constexpr std::array<Scheme, 5> kPathSchemes = {
      {{"dir:", SourceKind::kDirectory},
       {"tar:", SourceKind::kTar},
       {"oci:", SourceKind::kOciLayout},
       {"oci-archive:", SourceKind::kOciArchive},
       {"docker-archive:", SourceKind::kDockerArchive}}};
  if (text.empty())
    return Error(Errc::kInvalidArgument, "the image name is empty").with_hint(kForms);
  if (text.size() > kMaxSourceLength) return refused(text, "is longer than 4096 characters");
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), control))
    return refused(text, "holds a control character");
  if (text == "busybox") return Source{};
  if (text.starts_with("build:") && text.find('@') != std::string_view::npos)
    return parse_build(text.substr(6), text);
  if (text.starts_with("bundle:")) return parse_bundle(text.substr(7), text);
  if (text.starts_with("debian:")) return parse_debian(text.substr(7), text);
  for (const Scheme& scheme : kPathSchemes) {
    if (text.starts_with(scheme.prefix))
      return parse_path(scheme.kind, text.substr(scheme.prefix.size()), text);
  }
  if (text.find('\\') != std::string_view::npos ||
      (text.size() > 1 && text[1] == ':' && text.size() > 2 && text[2] == '/')) {
    return refused(text, "looks like a Windows path; use the Linux path, as in dir:/mnt/c/…");
  }
  if (text.starts_with("docker://")) return parse_registry(text.substr(9), text);
  if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    return refused(text, "has the unknown scheme " + shown(text.substr(0, scheme)));
  }
  return parse_plain_name(text);
}

Source absolute_source(Source source, const std::string& working_dir) {
  if (source.path.empty()) return source;
  const std::filesystem::path path = std::filesystem::path(working_dir) / source.path;
  source.path = path.lexically_normal().string();
  while (source.path.size() > 1 && source.path.back() == '/') source.path.pop_back();
  return source;
}

}  // namespace mvm::image
