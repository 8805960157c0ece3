// SPDX-License-Identifier: Apache-2.0
#include "seal/policy.h"

#include <algorithm>

#include "sys/sha256.h"

namespace mvm::seal {
namespace {

// Each part with its name and its length, so that no two requests have one text.
class Canonical {
 public:
  void put(std::string_view name, std::string_view value) {
    text_ +=
        std::string(name) + " " + std::to_string(value.size()) + ":" + std::string(value) + "\n";
  }
  void put(std::string_view name, std::uint64_t value, std::uint64_t standard) {
    if (value != standard) put(name, std::to_string(value));
  }
  void put(std::string_view name, const std::vector<std::string>& values) {
    for (const std::string& value : values) put(name, value);
  }
  std::string digest() const { return sys::sha256_hex(text_); }

 private:
  std::string text_ = "mvm-start 1\n";
};

void put_exec(Canonical& out, const wire::ExecRequest& exec) {
  out.put("argv", exec.argv);
  for (const std::string& variable : exec.env) {
    if (!variable.starts_with("TERM=")) out.put("env", variable);
  }
  if (!exec.working_dir.empty()) out.put("working_dir", exec.working_dir);
  out.put("make_working_dir", exec.make_working_dir ? 1 : 0, 0);
  if (!exec.user.empty()) out.put("user", exec.user);
}

void put_health(Canonical& out, const wire::HealthRequest& health) {
  out.put("health", "");
  out.put("health.argv", health.argv);
  out.put("health.port", health.port, 0);
  if (!health.http_path.empty()) out.put("health.http_path", health.http_path);
  out.put("health.interval_ms", health.interval_ms, 0);
  out.put("health.timeout_ms", health.timeout_ms, 0);
  out.put("health.retries", health.retries, 0);
  out.put("health.start_period_ms", health.start_period_ms, 0);
}

void put_service(Canonical& out, const wire::ServiceRequest& service) {
  const wire::ServiceRequest standard;
  out.put("service", service.name);
  put_exec(out, service.exec);
  out.put("restart", static_cast<std::uint64_t>(service.restart),
          static_cast<std::uint64_t>(standard.restart));
  out.put("after", service.after);
  out.put("stop_signal", static_cast<std::uint64_t>(service.stop_signal),
          static_cast<std::uint64_t>(standard.stop_signal));
  out.put("stop_grace_ms", service.stop_grace_ms, standard.stop_grace_ms);
  if (service.health) put_health(out, *service.health);
}

Error refused(const std::string& what) {
  return Error(Errc::kPermission,
               "the image is sealed, and its signed manifest does not allow " + what);
}

bool lies_in(std::string_view path, std::string_view directory) {
  while (directory.ends_with('/') && directory.size() > 1) directory.remove_suffix(1);
  if (path == directory || directory == "/") return true;
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

}  // namespace

std::string start_digest(const wire::Open& open) {
  Canonical out;
  if (open.kind == wire::OpenKind::kServices) {
    for (const wire::ServiceRequest& service : open.services) put_service(out, service);
  } else {
    put_exec(out, open.exec);
  }
  return out.digest();
}

Result<> Policy::admit_start(const wire::Open& open) {
  const bool services = open.kind == wire::OpenKind::kServices;
  if (std::ranges::find(manifest_.starts, start_digest(open)) == manifest_.starts.end())
    return refused(services ? "these services" : "commands other than its entrypoint");
  if (services) return {};
  if (started_) return refused("a second start of its entrypoint");
  started_ = true;
  return {};
}

Result<> Policy::admit_path(const std::string& path) const {
  const bool climbs = ("/" + path + "/").find("/../") != std::string::npos;
  for (const std::string& output : manifest_.outputs) {
    if (!climbs && lies_in(path, output)) return {};
  }
  return refused("access to " + path);
}

Result<> Policy::admit_port(const std::string& address) const {
  // The guest's own ports only: what it reaches itself is not the host's to reach through it.
  for (const std::uint16_t port : manifest_.tcp_ports) {
    if (address == "127.0.0.1:" + std::to_string(port)) return {};
  }
  return refused("connecting to " + address);
}

Result<> Policy::admit(const wire::Open& open) {
  using Kind = wire::OpenKind;
  switch (open.kind) {
    case Kind::kExec:
    case Kind::kServices:
      return admit_start(open);
    case Kind::kGet:
    case Kind::kStat:
    case Kind::kList:
    case Kind::kRead:
      return admit_path(open.file.path);
    case Kind::kConnect:
      return admit_port(open.file.path);
    case Kind::kPut:
    case Kind::kWrite:
      return refused("writing to " + open.file.path);
    case Kind::kDiff:
      return refused("listing what has changed");
  }
  return refused("this request");
}

Result<> Policy::admit(const wire::Configure& configure) const {
  for (const wire::VolumeMount& volume : configure.volumes) {
    if (std::ranges::find(manifest_.volumes, volume.path) == manifest_.volumes.end())
      return refused("a volume at " + volume.path);
  }
  return {};
}

}  // namespace mvm::seal
