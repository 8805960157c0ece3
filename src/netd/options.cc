// SPDX-License-Identifier: Apache-2.0
#include "netd/options.h"

#include <arpa/inet.h>

#include <charconv>
#include <optional>

#include "core/arguments.h"

namespace mvm::netd {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> out;
  for (std::size_t at = text.find(by); at != std::string_view::npos; at = text.find(by)) {
    out.push_back(text.substr(0, at));
    text.remove_prefix(at + 1);
  }
  out.push_back(text);
  return out;
}

Result<> check(const Options& options) {
  if (options.fd < 0) return Error(Errc::kInvalidArgument, "--fd is not a descriptor");
  if (options.mtu < kMinMtu || options.mtu > kMaxMtu)
    return Error(Errc::kInvalidArgument, "--mtu " + std::to_string(options.mtu) + " is not from " +
                                             std::to_string(kMinMtu) + " to " +
                                             std::to_string(kMaxMtu));
  if (options.tap_owner && options.tap.empty())
    return Error(Errc::kInvalidArgument, "--tap-owner is of no use without --tap");
  return {};
}

}  // namespace

std::string Forward::text() const {
  return std::string(udp ? "udp:" : "tcp:") + host_ip + ":" + std::to_string(host_port) + ":" +
         std::to_string(guest_port);
}

Result<Forward> parse_forward(std::string_view text) {
  const auto wrong = [&](const char* why) {
    return Error(Errc::kInvalidArgument, "forward '" + std::string(text) + "': " + why)
        .with_hint("write tcp:127.0.0.1:8080:80");
  };
  const std::vector<std::string_view> parts = split(text, ':');
  if (parts.size() != 4) return wrong("not PROTOCOL:HOSTIP:HOSTPORT:GUESTPORT");
  if (parts[0] != "tcp" && parts[0] != "udp") return wrong("the protocol is neither tcp nor udp");
  Forward out{parts[0] == "udp", std::string(parts[1]), 0, 0};
  in_addr address{};
  if (::inet_pton(AF_INET, out.host_ip.c_str(), &address) != 1)
    return wrong("the host's address is not a numeric IPv4 address");
  const auto host_port = parse_port(parts[2]);
  const auto guest_port = parse_port(parts[3]);
  if (!host_port || !guest_port) return wrong("a port is not from 1 to 65535");
  out.host_port = *host_port;
  out.guest_port = *guest_port;
  return out;
}

Result<Options> parse_options(std::span<const char* const> arguments) {
  Options out;
  std::vector<std::string> forwards;
  bool no_dns = false;
  bool help = false;
  Arguments table("mvm-netd: user-mode network of one guest, spoken over a unix socket");
  table.add("--fd", &out.fd, "Connected unix stream socket to the VMM");
  table.add("--ready-fd", &out.ready_fd, "Descriptor that is told when the network is up");
  table.add("--forward", &forwards, "tcp|udp:HOSTIP:HOSTPORT:GUESTPORT, any number of times");
  table.add("--mtu", &out.mtu, "Largest IP packet");
  table.add("--no-dns", &no_dns, "No name server at 10.0.2.3");
  table.add("--restrict", &out.restricted, "Nothing but the forwards");
  table.add("--tap", &out.tap, "Make this tap device, in a network namespace of its own");
  table.add("--tap-owner", &out.tap_owner, "Uid that may open it");
  table.add("--help", &help, "Print this text");
  MVM_TRY(table.parse(arguments.subspan(1)));
  if (help) return Error(Errc::kInvalidArgument, table.help());
  MVM_TRY(table.require({"--fd"}));
  for (const std::string& text : forwards) out.forwards.push_back(MVM_TRY(parse_forward(text)));
  out.dns = !no_dns;
  MVM_TRY(check(out));
  return out;
}

}  // namespace mvm::netd
