// SPDX-License-Identifier: Apache-2.0
#include "spec/words.h"

#include <charconv>
#include <optional>

namespace mvm::spec {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (ec != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

}  // namespace

Result<> check_name(const std::string& name, std::string_view what) {
  const auto alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  bool good = !name.empty() && name.size() <= 63 && alnum(name.front());
  for (const char c : name) good = good && (alnum(c) || c == '.' || c == '_' || c == '-');
  if (good) return {};
  return Error(Errc::kInvalidArgument, "'" + name + "' is not a " + std::string(what) + " name")
      .with_hint(
          "use up to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit");
}

Result<PortForward> parse_forward(std::string_view text) {
  const auto bad = [&] {
    return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is not a port forward")
        .with_hint("write [IP:]HOST:GUEST[/udp], as in 8080:80 or 0.0.0.0:5353:53/udp");
  };
  PortForward out;
  std::string_view rest = text;
  if (rest.ends_with("/udp")) {
    out.protocol = Protocol::kUdp;
    rest.remove_suffix(4);
  } else if (rest.ends_with("/tcp")) {
    rest.remove_suffix(4);
  }
  const std::size_t last = rest.rfind(':');
  if (last == std::string_view::npos) return bad();
  const auto guest = parse_port(rest.substr(last + 1));
  rest = rest.substr(0, last);
  const std::size_t first = rest.rfind(':');
  if (first != std::string_view::npos) out.host_ip = std::string(rest.substr(0, first));
  const auto host = parse_port(first == std::string_view::npos ? rest : rest.substr(first + 1));
  const bool ip_ok =
      out.host_ip.find_first_not_of("0123456789.") == std::string::npos && !out.host_ip.empty();
  if (!guest || !host || !ip_ok) return bad();
  out.guest_port = *guest;
  out.host_port = *host;
  return out;
}

std::string format_forward(const PortForward& f) {
  return f.host_ip + ":" + std::to_string(f.host_port) + ":" + std::to_string(f.guest_port) +
         (f.protocol == Protocol::kUdp ? "/udp" : "");
}

void set_variable(std::vector<std::string>& env, const std::string& name,
                  const std::string& value) {
  std::erase_if(env, [&](const std::string& entry) { return entry.starts_with(name + "="); });
  env.push_back(name + "=" + value);
}

Result<VolumeSpec> parse_volume(std::string_view text) {
  const auto bad = [&](std::string_view hint) {
    return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is not a volume")
        .with_hint(std::string(hint));
  };
  if (text.starts_with('/') || text.starts_with('.'))
    return bad(
        "directories of this host are not mounted, mvmctl cp copies them; write "
        "NAME:PATH[:SIZE]");
  VolumeSpec out;
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return bad("write NAME:PATH[:SIZE], as in data:/srv:10G");
  out.name = std::string(text.substr(0, colon));
  std::string_view path = text.substr(colon + 1);
  if (const std::size_t second = path.find(':'); second != std::string_view::npos) {
    out.size = MVM_TRY(parse_size(path.substr(second + 1)));
    path = path.substr(0, second);
  }
  out.path = std::string(path);
  return out;
}

Result<RestartPolicy> parse_restart(std::string_view text) {
  constexpr std::string_view kOnFailure = "on-failure";
  RestartPolicy out;
  if (text == "no") return out;
  out.on_failure = true;
  if (text == kOnFailure) return out;
  if (text.starts_with("on-failure:")) {
    const std::string_view count = text.substr(kOnFailure.size() + 1);
    const auto [end, ec] =
        std::from_chars(count.data(), count.data() + count.size(), out.max_restarts);
    if (ec == std::errc() && end == count.data() + count.size() && out.max_restarts > 0) return out;
  }
  return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is not a restart policy")
      .with_hint("choose no, on-failure or on-failure:N");
}

}  // namespace mvm::spec
