// SPDX-License-Identifier: Apache-2.0
#include "image/skopeo.h"

#include <nettle/base64.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "image/oci_manifest.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::image {
namespace {

std::string base64(std::string_view text) {
  std::string out(BASE64_ENCODE_RAW_LENGTH(text.size()), '\0');
  ::base64_encode_raw(out.data(), text.size(), reinterpret_cast<const std::uint8_t*>(text.data()));
  return out;
}

// containers-auth.json(5)
std::string auth_file_text(const std::string& host, const std::string& creds) {
  const nlohmann::json object = {{"auths", {{host, {{"auth", base64(creds)}}}}}};
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string skopeo_name(const Source& source) {
  const std::string tagged = source.tag.empty() ? source.path : source.path + ":" + source.tag;
  switch (source.kind) {
    case SourceKind::kOciArchive:
      return "oci-archive:" + tagged;
    case SourceKind::kDockerArchive:
      return "docker-archive:" + tagged;
    default:
      return source.ref();
  }
}

// The text of the last msg="…" of a logrus line, or the last line.
std::string last_message(std::string_view text) {
  const std::size_t fatal = text.rfind("level=fatal msg=");
  if (fatal == std::string_view::npos) {
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    return std::string(text.substr(text.rfind('\n') + 1));
  }
  std::string out;
  std::string_view rest = text.substr(fatal + 16);
  const bool in_quotes = rest.starts_with('"');
  if (in_quotes) rest.remove_prefix(1);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '\n' || (in_quotes && rest[i] == '"')) break;
    if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
    out += rest[i];
  }
  return out;
}

struct Cause {
  std::string_view sign;  // in lower case
  Errc code;
  std::string_view text;
  std::string_view hint;
};

// Tried in this order: the first sign found decides.
constexpr std::array<Cause, 20> kCauses = {{
    {"no space left", Errc::kNoSpace, "the disk is full",
     "free some space, or set MVM_HOME to a larger disk"},
    {"manifest unknown", Errc::kNotFound, "not found in the registry",
     "check the name and the tag"},
    {"name unknown", Errc::kNotFound, "not found in the registry", "check the name and the tag"},
    {"repository name not known", Errc::kNotFound, "not found in the registry",
     "check the name and the tag"},
    {"no such file", Errc::kNotFound, "no such file", "check the path"},
    {"no descriptor found", Errc::kNotFound, "no image with this tag in the archive",
     "check the tag"},
    {"unauthorized", Errc::kPermission, "the registry refused the credentials, or wants some",
     "give --creds USER:PASSWORD or --authfile FILE"},
    {"authentication required", Errc::kPermission, "the registry wants credentials",
     "give --creds USER:PASSWORD or --authfile FILE"},
    {"invalid username/password", Errc::kPermission, "the registry refused the credentials",
     "give --creds USER:PASSWORD or --authfile FILE"},
    {"denied", Errc::kPermission, "the registry denied access",
     "check the name and the credentials"},
    {"connection refused", Errc::kUnavailable, "connection refused",
     "check that the registry runs at this address"},
    {"no such host", Errc::kUnavailable, "the registry's host name is unknown",
     "check the name and the network"},
    {"server misbehaving", Errc::kUnavailable, "the registry's host name cannot be looked up",
     "check the network"},
    {"i/o timeout", Errc::kTimeout, "the registry does not answer", "check the network"},
    {"network is unreachable", Errc::kUnavailable, "no network", "check the network"},
    {"gave http response to https", Errc::kUnavailable,
     "the registry speaks plain http, allowed on loopback only", "give the registry a certificate"},
    {"x509", Errc::kPermission, "the registry's certificate is not trusted",
     "give its authority with --cert-dir DIR (ca.crt)"},
    {"digest did not match", Errc::kCorrupt, "digest mismatch",
     "the image is damaged; build or fetch it again"},
    {"does not match", Errc::kCorrupt, "digest mismatch",
     "the image is damaged; build or fetch it again"},
    {"no image found in", Errc::kUnsupported, "no image for this architecture",
     "choose another with --arch"},
}};

Result<bool> verify_tls(const Source& source, const FetchOptions& options) {
  const bool loopback = source.on_loopback();
  if (!options.tls_verify) return !loopback || !options.cert_dir.empty();
  if (!*options.tls_verify && !loopback) {
    return Error(Errc::kInvalidArgument,
                 "registry " + source.host +
                     " is not on this machine: unverified connections are refused")
        .with_hint("give its certificate authority with --cert-dir DIR (ca.crt)");
  }
  return *options.tls_verify;
}

}  // namespace

Error skopeo_error(const Source& source, std::string_view stderr_text) {
  const std::string message = last_message(stderr_text);
  std::string lower = message;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const std::string name = "fetching " + source.ref() + ": ";
  for (const Cause& cause : kCauses) {
    if (lower.find(cause.sign) == std::string::npos) continue;
    return Error(cause.code, name + std::string(cause.text)).with_hint(std::string(cause.hint));
  }
  return Error(Errc::kIo, name + (message.empty() ? "skopeo failed without a message" : message));
}

Result<> fetch_with_skopeo(const Source& source, const FetchOptions& options,
                           const std::string& layout_dir, const std::string& private_dir) {
  const auto program = sys::find_program("skopeo");
  if (!program) {
    return Error(Errc::kUnavailable,
                 "fetching " + source.ref() + " needs skopeo, which is not installed")
        .with_hint("install it with: apt-get install skopeo");
  }
  sys::Command command;
  command.argv = {*program, "copy", "--quiet", "--override-os", "linux"};
  command.argv.insert(command.argv.end(), {"--override-arch", std::string(oci_arch(options.arch))});
  if (source.kind == SourceKind::kRegistry) {
    const bool verify = MVM_TRY(verify_tls(source, options));
    command.argv.push_back(std::string("--src-tls-verify=") + (verify ? "true" : "false"));
    if (!options.cert_dir.empty())
      command.argv.insert(command.argv.end(), {"--src-cert-dir", options.cert_dir});
    std::string authfile = options.authfile;
    if (!options.creds.empty()) {
      authfile = private_dir + "/auth.json";
      MVM_TRY(sys::write_file(authfile, auth_file_text(source.host, options.creds)));
    }
    if (!authfile.empty()) command.argv.insert(command.argv.end(), {"--src-authfile", authfile});
  }
  command.argv.push_back(skopeo_name(source));
  command.argv.push_back("oci:" + layout_dir + ":" + kFetchedTag);
  command.die_with_parent = true;
  const sys::Output output = MVM_TRY_CTX(sys::run(std::move(command)), "running skopeo");
  if (!output.status.ok()) return skopeo_error(source, output.err);
  return {};
}

}  // namespace mvm::image
