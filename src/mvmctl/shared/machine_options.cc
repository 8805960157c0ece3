// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/shared/machine_options.h"

#include <algorithm>

#include "spec/vm_spec_json.h"
#include "spec/words.h"

namespace mvm::cli {
namespace {

void add_process_options(CommandSpec& spec, workflow::CreateRequest& r) {
  spec.options.push_back({.names = "-e,--env",
                          .value_name = "NAME[=VALUE]",
                          .help = "environment of the command; NAME alone passes ours on",
                          .target = &r.env});
  spec.options.push_back({.names = "-w,--workdir",
                          .value_name = "DIR",
                          .help = "working directory of the command",
                          .target = &r.working_dir});
  spec.options.push_back({.names = "-u,--user",
                          .value_name = "USER[:GROUP]",
                          .help = "user of the command, by name or number",
                          .target = &r.user});
  spec.options.push_back({.names = "--entrypoint",
                          .value_name = "PROGRAM",
                          .help = "instead of the image's entrypoint; empty for none",
                          .target = &r.entrypoint});
}

void add_limit_options(CommandSpec& spec, MachineOptions& o) {
  workflow::CreateRequest& r = o.request;
  spec.options.push_back({.names = "--cpus",
                          .value_name = "N",
                          .help = "virtual processors (standard: 1)",
                          .target = &o.cpus});
  spec.options.push_back({.names = "-m,--memory",
                          .value_name = "SIZE",
                          .help = "memory of the machine (standard: 512M)",
                          .target = &o.memory});
  spec.options.push_back({.names = "--disk",
                          .value_name = "SIZE",
                          .help = "size of the scratch disk that takes the writes (standard: 8G)",
                          .target = &o.disk});
  spec.options.push_back({.names = "--volume",
                          .value_name = "NAME:PATH[:SIZE]",
                          .help = "mount the volume NAME at PATH; it is made when it is not there "
                                  "(standard: 1G)",
                          .target = &o.volumes});
  spec.options.push_back({.names = "--ephemeral",
                          .help = "keep the writes in memory instead of on a scratch disk",
                          .target = &r.ephemeral});
  spec.options.push_back({.names = "--pids-limit",
                          .value_name = "N",
                          .help = "processes and threads that may exist at once",
                          .target = &r.limits.pids});
  spec.options.push_back({.names = "--ttl",
                          .value_name = "TIME",
                          .help = "stop the machine after this time",
                          .target = &r.limits.ttl});
  spec.options.push_back(
      {.names = "--idle-timeout",
       .value_name = "TIME",
       .help = "stop the machine when no command was connected to it for this time",
       .target = &r.limits.idle});
  spec.options.push_back({.names = "--boot-timeout",
                          .value_name = "TIME",
                          .help = "give up when the guest is not ready by then",
                          .target = &r.limits.boot_deadline});
}

void add_engine_options(CommandSpec& spec, MachineOptions& o) {
  workflow::CreateRequest& r = o.request;
  spec.options.push_back({.names = "--backend,--hypervisor",
                          .value_name = "NAME",
                          .help = "engine, or auto",
                          .target = &o.backend});
  spec.options.push_back({.names = "--isolation",
                          .value_name = "TIER",
                          .help = "weakest boundary that is accepted",
                          .target = &o.isolation,
                          .choices = {"microvm", "emulated", "container"}});
  spec.options.push_back({.names = "--experimental",
                          .help = "start on a host whose support is experimental too",
                          .target = &r.experimental});
  spec.options.push_back(
      {.names = "--sealed", .help = "refuse an image that is not sealed", .target = &r.sealed});
  spec.options.push_back({.names = "--arch",
                          .value_name = "ARCH",
                          .help = "architecture of the guest: x86_64 or aarch64",
                          .target = &o.arch});
  spec.options.push_back({.names = "--kernel",
                          .value_name = "FILE|NAME",
                          .help = "boot this kernel, a file or one of `mvmctl kernel ls`",
                          .target = &r.kernel_file,
                          .complete = Complete::kFile});
  spec.options.push_back({.names = "--cmdline-extra",
                          .value_name = "TEXT",
                          .help = "appended to the kernel command line",
                          .target = &r.cmdline_extra});
}

void add_network_options(CommandSpec& spec, MachineOptions& o) {
  spec.options.push_back({.names = "--network",
                          .value_name = "MODE",
                          .help = "user: outgoing connections and DNS; none: no network",
                          .target = &o.network,
                          .choices = {"user", "none"}});
  spec.options.push_back(
      {.names = "-p,--publish",
       .value_name = "[IP:]HOST:GUEST[/udp]",
       .help = "forward a host port into the guest; 127.0.0.1 unless IP is given",
       .target = &o.publish});
  spec.options.push_back({.names = "--hostname",
                          .value_name = "NAME",
                          .help = "host name inside; the machine's name by default",
                          .target = &o.request.hostname});
}

// The given volumes, and those of the project at other paths. A project's are its own: another may
// have a volume of the same name.
Result<std::vector<spec::VolumeSpec>> volumes_of(const MachineOptions& o,
                                                 const std::optional<BootedProject>& project) {
  std::vector<spec::VolumeSpec> out;
  for (const std::string& text : o.volumes) out.push_back(MVM_TRY(spec::parse_volume(text)));
  if (!project) return out;
  for (spec::VolumeSpec volume : project->manifest.volumes) {
    if (std::ranges::any_of(out, [&](const auto& v) { return v.path == volume.path; })) continue;
    volume.name = project->name + "+" + volume.name;
    out.push_back(std::move(volume));
  }
  return out;
}

}  // namespace

void add_pull_options(CommandSpec& spec, image::PullRequest& pull,
                      std::optional<std::string>& tls_verify) {
  spec.options.push_back({.names = "--creds",
                          .value_name = "USER:PASSWORD",
                          .help = "for the registry",
                          .target = &pull.creds});
  spec.options.push_back({.names = "--authfile",
                          .value_name = "FILE",
                          .help = "registry credentials as podman and docker keep them",
                          .target = &pull.authfile,
                          .complete = Complete::kFile});
  spec.options.push_back({.names = "--cert-dir",
                          .value_name = "DIR",
                          .help = "certificates that the registry's must chain to",
                          .target = &pull.cert_dir,
                          .complete = Complete::kDirectory});
  spec.options.push_back(
      {.names = "--tls-verify",
       .value_name = "BOOL",
       .help = "false: plain http or an unverified certificate, on loopback only",
       .target = &tls_verify,
       .choices = {"true", "false"}});
}

void add_machine_options(CommandSpec& spec, MachineOptions& o) {
  spec.positionals.push_back(
      {.name = "IMAGE",
       .help =
           "what to boot: busybox, debian:bookworm, dir:PATH, oci:DIR, registry/name:tag …, or a "
           "project: ./PATH",
       .target = &o.image,
       .required = false,
       .complete = Complete::kImage});
  spec.options.push_back({.names = "--name",
                          .value_name = "NAME",
                          .help = "name of the machine; one is made up without it",
                          .target = &o.request.name});
  spec.options.push_back({.names = "--build",
                          .help = "build the project first when it has changed",
                          .target = &o.build});
  add_process_options(spec, o.request);
  add_limit_options(spec, o);
  add_network_options(spec, o);
  add_engine_options(spec, o);
  add_pull_options(spec, o.request.image, o.tls_verify);
}

Result<workflow::CreateRequest> to_request(const MachineOptions& o, const workflow::Config& config,
                                           const std::optional<BootedProject>& project) {
  const spec::ResourceSpec usual;
  const spec::ResourceSpec wanted = project ? project->manifest.resources : spec::ResourceSpec{};
  // The command line, else the configuration, else the standard.
  const auto choose = [&](const std::string& given, const char* key, const char* standard) {
    return !given.empty() ? given : config.get(key).value_or(standard);
  };
  workflow::CreateRequest out = o.request;
  out.image.source = project ? project->image : choose(o.image, "image", "busybox");
  if (project) out.image.arch = project->manifest.arch;
  if (project && project->manifest.seal == spec::Seal::kSealed) out.sealed = true;
  out.backend = choose(o.backend, "backend", "auto");
  if (const std::string least = choose(o.isolation, "isolation", ""); !least.empty())
    out.least_isolation = MVM_TRY(spec::parse_isolation(least));
  out.allow_container = config.get("allow_container_fallback") == "true";
  out.limits.memory = o.memory ? *o.memory
                      : wanted.memory != usual.memory
                          ? wanted.memory
                          : MVM_TRY(parse_size(choose("", "memory", "512M")));
  out.disk_size = o.disk                      ? *o.disk
                  : wanted.disk != usual.disk ? wanted.disk
                                              : MVM_TRY(parse_size(choose("", "disk", "8G")));
  out.limits.vcpus = o.cpus ? *o.cpus
                     : wanted.vcpus != usual.vcpus
                         ? wanted.vcpus
                         : static_cast<std::uint32_t>(std::stoul(choose("", "cpus", "1")));
  if (choose(o.network, "network", "user") == "none") out.network.mode = spec::NetworkMode::kNone;
  out.volumes = MVM_TRY(volumes_of(o, project));
  out.jail = config.jail();
  if (!o.arch.empty()) out.image.arch = MVM_TRY(spec::parse_arch(o.arch));
  if (o.tls_verify) out.image.tls_verify = *o.tls_verify == "true";
  out.restart = MVM_TRY(spec::parse_restart(o.restart));
  for (const std::string& text : o.publish)
    out.network.forwards.push_back(MVM_TRY(spec::parse_forward(text)));
  // Given ports are instead of the project's.
  if (project && o.publish.empty() && out.network.mode != spec::NetworkMode::kNone)
    out.network.forwards = project->manifest.ports;
  if (!out.network.forwards.empty() && out.network.mode == spec::NetworkMode::kNone)
    return Error(Errc::kInvalidArgument, "-p needs a network, and --network none takes it away")
        .with_hint("leave one of them out; mvmctl forward works without a network");
  return out;
}

}  // namespace mvm::cli
