// SPDX-License-Identifier: Apache-2.0
#include "spec/manifest.h"

#include <array>
#include <map>
#include <set>

#include "spec/toml_types.h"
#include "spec/words.h"

namespace mvm::spec {
namespace {

using Pairs = Named<std::string>;

Error refused(std::string message, std::string hint = "") {
  return Error(Errc::kInvalidArgument, std::move(message)).with_hint(std::move(hint));
}

// ---- texts of a certain form

Type<std::string> not_empty() {
  return text("^.+$", [](const std::string& value) -> Result<> {
    if (value.empty()) return refused("is empty");
    return {};
  });
}

Type<std::string> name(const char* what) {
  return text("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
              [what](const std::string& value) { return check_name(value, what); });
}

Type<std::string> variable() {
  return text("^[^=]+$", [](const std::string& value) -> Result<> {
    if (value.empty() || value.find('=') != std::string::npos)
      return refused("'" + value + "' is no name of a variable");
    return {};
  });
}

Type<std::string> signal_name() {
  return text("^[A-Z0-9]+$", [](const std::string& value) -> Result<> {
    constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    if (!value.empty() && value.find_first_not_of(kLetters) == std::string::npos) return {};
    return refused("'" + value + "' is not a signal", "write its name, as in TERM");
  });
}

bool climbs(std::string_view path) {
  return ("/" + std::string(path) + "/").find("/../") != std::string::npos;
}

Type<std::string> absolute_path() {
  return text("^/", [](const std::string& value) -> Result<> {
    if (!value.starts_with("/")) return refused("'" + value + "' does not begin with /");
    if (climbs(value)) return refused("'" + value + "' has .. in it");
    return {};
  });
}

// Of a file of the project.
Type<std::string> project_path() {
  return text("^[^/]", [](const std::string& value) -> Result<> {
    if (value.empty()) return refused("is empty");
    if (value.starts_with("/"))
      return refused("'" + value + "' is not relative to the manifest",
                     "what a build reads lies in the project, so that it is the same elsewhere");
    if (climbs(value)) return refused("'" + value + "' leads out of the project");
    return {};
  });
}

// A command of words, or a text for the shell.
Type<std::vector<std::string>> command() {
  const auto words = list(text());
  Json schema = {
      {"oneOf",
       Json::array({{{"type", "string"}, {"minLength", 1}},
                    {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}}})}};
  auto read = [read_words = words.read](const TomlNode& node) -> Result<std::vector<std::string>> {
    if (node.toml().is_string())
      return std::vector<std::string>{"/bin/sh", "-c", MVM_TRY(not_empty().read(node))};
    if (!node.toml().is_array())
      return node.error("must be a list of words, or a text for the shell");
    std::vector<std::string> out = MVM_TRY(read_words(node));
    if (out.empty() || out.front().empty()) return node.error("names no program");
    return out;
  };
  return {std::move(schema), std::move(read), words.write};
}

Type<std::uint32_t> file_mode() {
  auto read = [](const TomlNode& node) -> Result<std::uint32_t> {
    const std::string given = MVM_TRY(text().read(node));
    const bool octal = (given.size() == 3 || given.size() == 4) &&
                       given.find_first_not_of("01234567") == std::string::npos;
    if (!octal)
      return node.error("'" + given + "' is not a mode").with_hint("write it as \"0644\"");
    return static_cast<std::uint32_t>(std::stoul(given, nullptr, 8));
  };
  auto write = [](const std::uint32_t& mode) -> Json {
    std::string digits;
    for (std::uint32_t shift = 12; shift > 0; shift -= 3)
      digits += static_cast<char>('0' + ((mode >> (shift - 3)) & 7));
    return digits;
  };
  return {{{"type", "string"}, {"pattern", "^[0-7]{3,4}$"}}, std::move(read), std::move(write)};
}

Type<PortForward> port_forward() {
  auto read = [](const TomlNode& node) -> Result<PortForward> {
    auto out = parse_forward(MVM_TRY(text().read(node)));
    if (!out) return node.error(out.error());
    return out;
  };
  auto write = [](const PortForward& f) -> Json { return format_forward(f); };
  return {{{"type", "string"}}, std::move(read), std::move(write)};
}

// ---- tables

struct GivenSource {
  std::array<std::optional<std::string>, 5> of_kind;  // by SourceSpec::Kind
  std::optional<std::string> profile, context, stage;
  std::optional<Pairs> build_args;
  std::optional<bool> network;
  std::optional<std::vector<std::string>> packages, hooks;
};

// As many as the agent takes: wire::kMaxServices.
constexpr std::size_t kMostServices = 64;

constexpr std::array<std::string_view, 5> kKinds = {"flake", "dockerfile", "image", "debian",
                                                    "dir"};

Result<SourceSpec> to_source(const GivenSource& given, const TomlNode& node) {
  SourceSpec out;
  std::string found;
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (!given.of_kind[i]) continue;
    if (!found.empty())
      return node.error("'" + found + "' and '" + std::string(kKinds[i]) + "' exclude each other");
    found = kKinds[i];
    out.kind = static_cast<SourceSpec::Kind>(i);
    out.what = *given.of_kind[i];
  }
  if (found.empty())
    return node.error("names nothing to make the image from")
        .with_hint("give one of flake, dockerfile, image, debian and dir");
  const auto belongs = [&](bool is_given, const char* key, SourceSpec::Kind kind) -> Result<> {
    if (!is_given || kind == out.kind) return {};
    return node.error("'" + std::string(key) + "' belongs to '" +
                      std::string(kKinds[static_cast<std::size_t>(kind)]) + "', not to '" + found +
                      "'");
  };
  using Kind = SourceSpec::Kind;
  MVM_TRY(belongs(given.profile.has_value(), "profile", Kind::kFlake));
  MVM_TRY(belongs(given.context.has_value(), "context", Kind::kDockerfile));
  MVM_TRY(belongs(given.stage.has_value(), "stage", Kind::kDockerfile));
  MVM_TRY(belongs(given.build_args.has_value(), "build_args", Kind::kDockerfile));
  MVM_TRY(belongs(given.network.has_value(), "network", Kind::kDockerfile));
  MVM_TRY(belongs(given.packages.has_value(), "packages", Kind::kDebian));
  MVM_TRY(belongs(given.hooks.has_value(), "hooks", Kind::kDebian));
  if (given.profile) out.profile = *given.profile;
  if (given.context) out.context = *given.context;
  if (given.stage) out.stage = *given.stage;
  out.build_args = given.build_args.value_or(Pairs{});
  out.network = given.network.value_or(false);
  out.packages = given.packages.value_or(std::vector<std::string>{});
  out.hooks = given.hooks.value_or(std::vector<std::string>{});
  return out;
}

GivenSource to_given(const SourceSpec& s) {
  GivenSource out;
  out.of_kind[static_cast<std::size_t>(s.kind)] = s.what;
  const SourceSpec plain;
  if (s.profile != plain.profile) out.profile = s.profile;
  if (s.context != plain.context) out.context = s.context;
  if (s.stage != plain.stage) out.stage = s.stage;
  if (!s.build_args.empty()) out.build_args = s.build_args;
  if (s.network) out.network = true;
  if (!s.packages.empty()) out.packages = s.packages;
  if (!s.hooks.empty()) out.hooks = s.hooks;
  return out;
}

Field<GivenSource> kind_field(SourceSpec::Kind kind, const Type<std::string>& type,
                              const char* meaning) {
  const auto index = static_cast<std::size_t>(kind);
  Json schema = type.schema;
  schema["description"] = meaning;
  auto read = [read_text = type.read, index](GivenSource& to, const TomlNode& node) -> Result<> {
    to.of_kind[index] = MVM_TRY(read_text(node));
    return {};
  };
  auto write = [index](const GivenSource& from) -> Json {
    return from.of_kind[index] ? Json(*from.of_kind[index]) : Json();
  };
  return {std::string(kKinds[index]), std::move(schema), std::move(read), std::move(write), false};
}

Type<SourceSpec> source() {
  using Kind = SourceSpec::Kind;
  const auto given = table<GivenSource>({
      kind_field(Kind::kFlake, not_empty(), "a Nix flake: a directory of the project, or its URL"),
      kind_field(Kind::kDockerfile, project_path(), "a Dockerfile of the project"),
      kind_field(Kind::kImage, not_empty(), "an image, as `mvmctl run` takes it"),
      kind_field(Kind::kDebian, name("suite"), "a suite of Debian, such as bookworm"),
      kind_field(Kind::kDir, project_path(), "a directory that is the root file system"),
      field("profile", &GivenSource::profile, not_empty(), "flake: which of its packages"),
      field("context", &GivenSource::context, project_path(),
            "dockerfile: the directory that COPY reads"),
      field("stage", &GivenSource::stage, not_empty(), "dockerfile: the stage to stop at"),
      field("build_args", &GivenSource::build_args, named(text(), variable()),
            "dockerfile: values of its ARGs"),
      field("network", &GivenSource::network, flag(),
            "dockerfile: its RUNs have a network; what they fetch may differ from build to build"),
      field("packages", &GivenSource::packages, list(not_empty()),
            "debian: what is installed beside the smallest system"),
      field("hooks", &GivenSource::hooks, list(not_empty()),
            "debian: commands that are run in the new system, in this order"),
  });
  auto read = [read_given = given.read](const TomlNode& node) -> Result<SourceSpec> {
    return to_source(MVM_TRY(read_given(node)), node);
  };
  auto write = [write_given = given.write](const SourceSpec& s) {
    return write_given(to_given(s));
  };
  return {given.schema, std::move(read), std::move(write)};
}

Type<HealthSpec> health() {
  const auto port = number(1, 65535);
  const auto http = text("^:[0-9]+/", [](const std::string& value) -> Result<> {
    const std::size_t slash = value.find('/');
    if (value.starts_with(":") && slash != std::string::npos &&
        parse_forward("1" + value.substr(0, slash)))
      return {};
    return refused("'" + value + "' is no address", "write :PORT/PATH, as in :8080/health");
  });
  return table<HealthSpec>(
      {
          field("command", &HealthSpec::command, command(), "healthy when it exits with 0"),
          field("tcp", &HealthSpec::tcp, port, "healthy when the port takes a connection"),
          field("http", &HealthSpec::http, http,
                ":PORT/PATH, healthy when it answers with 2xx or 3xx"),
          field("interval", &HealthSpec::interval, duration(), "between two checks"),
          field("timeout", &HealthSpec::timeout, duration(), "of one check"),
          field("retries", &HealthSpec::retries, number(1, 1000),
                "failures in a row that make it unhealthy"),
          field("start_period", &HealthSpec::start_period, duration(),
                "failures that early do not count"),
      },
      [](const HealthSpec& h, const TomlNode& node) -> Result<> {
        const int given =
            (h.command.empty() ? 0 : 1) + (h.tcp != 0 ? 1 : 0) + (h.http.empty() ? 0 : 1);
        if (given != 1) return node.error("needs one of command, tcp and http");
        return {};
      });
}

Type<ServiceSpec> service() {
  using Restart = ServiceSpec::Restart;
  return table<ServiceSpec>({
      field("command", &ServiceSpec::command, command(), "the program and its arguments",
            Need::kRequired),
      field("env", &ServiceSpec::env, named(text(), variable()), "beside the machine's"),
      field("user", &ServiceSpec::user, not_empty(), "USER[:GROUP]; else the machine's"),
      field("workdir", &ServiceSpec::working_dir, absolute_path(), "else the machine's"),
      field("restart", &ServiceSpec::restart,
            choice<Restart>({{"no", Restart::kNo},
                             {"on-failure", Restart::kOnFailure},
                             {"always", Restart::kAlways}}),
            "when it has ended"),
      field("after", &ServiceSpec::after, list(name("service")),
            "services that are started before it and stopped after it"),
      field("stop_signal", &ServiceSpec::stop_signal, signal_name(), "what asks it to end"),
      field("stop_grace", &ServiceSpec::stop_grace, duration(), "until it is killed"),
      field("health", &ServiceSpec::health, health(), "whether it does its work"),
  });
}

// With the names in the structs, and an order that can be kept.
Type<std::vector<ServiceSpec>> services() {
  const auto all = named(service(), name("service"));
  auto read = [read_all = all.read](const TomlNode& node) -> Result<std::vector<ServiceSpec>> {
    std::vector<ServiceSpec> out;
    std::map<std::string, std::vector<std::string>> waits;
    for (auto& [key, value] : MVM_TRY(read_all(node))) {
      waits[key] = value.after;
      out.push_back(value);
      out.back().name = key;
    }
    if (out.size() > kMostServices)
      return node.error(std::to_string(out.size()) + " are more than " +
                        std::to_string(kMostServices));
    for (const ServiceSpec& s : out) {
      for (const std::string& other : s.after) {
        if (!waits.contains(other))
          return node.error("'" + s.name + "' comes after '" + other + "', which there is not");
      }
    }
    // Takes away who waits for nobody, until nobody is left.
    while (!waits.empty()) {
      const auto free = std::ranges::find_if(waits, [](const auto& w) { return w.second.empty(); });
      if (free == waits.end()) {
        std::string left;
        for (const auto& [key, others] : waits) left += (left.empty() ? "" : ", ") + key;
        return node.error("no order starts these: " + left)
            .with_hint("'after' leads in a circle among them");
      }
      const std::string started = free->first;
      waits.erase(free);
      for (auto& [key, others] : waits) std::erase(others, started);
    }
    return out;
  };
  auto write = [write_all = all.write](const std::vector<ServiceSpec>& list_of) {
    Named<ServiceSpec> by_name;
    for (const ServiceSpec& s : list_of) by_name.emplace_back(s.name, s);
    return write_all(by_name);
  };
  return {all.schema, std::move(read), std::move(write)};
}

Type<FileSpec> file() {
  return table<FileSpec>(
      {
          field("path", &FileSpec::path, absolute_path(), "where it lies in the image",
                Need::kRequired),
          field("text", &FileSpec::text, text(), "what is in it"),
          field("from", &FileSpec::from, project_path(), "a file or directory of the project"),
          field("link", &FileSpec::link, not_empty(), "where a symbolic link leads"),
          field("mode", &FileSpec::mode, file_mode(), "its permissions, as \"0644\""),
      },
      [](const FileSpec& f, const TomlNode& node) -> Result<> {
        const int given = (f.text ? 1 : 0) + (f.from.empty() ? 0 : 1) + (f.link.empty() ? 0 : 1);
        if (given != 1) return node.error("needs one of text, from and link");
        if (f.mode && !f.link.empty()) return node.error("a symbolic link has no mode");
        return {};
      });
}

Type<VolumeSpec> volume() {
  return table<VolumeSpec>({
      field("name", &VolumeSpec::name, name("volume"), "by which it is found again",
            Need::kRequired),
      field("path", &VolumeSpec::path, absolute_path(), "where the guest sees it", Need::kRequired),
      field("size", &VolumeSpec::size, size(), "when it is made"),
  });
}

Type<ResourceSpec> resources() {
  return table<ResourceSpec>({
      field("vcpus", &ResourceSpec::vcpus, number(1, 64), "virtual processors"),
      field("memory", &ResourceSpec::memory, size(), "memory of the machine"),
      field("disk", &ResourceSpec::disk, size(), "what it may write"),
  });
}

Result<> check_whole(const Manifest& m, const TomlNode& node) {
  if (!m.entrypoint.empty() && !m.services.empty())
    return node.error("'entrypoint' and 'services' exclude each other");
  if (m.health && m.entrypoint.empty())
    return node.error("'health' is the entrypoint's, and there is none")
        .with_hint("give it to a service: [services.NAME.health]");
  if (m.volumes.size() > kMaxVolumes)
    return node.error("a machine has at most " + std::to_string(kMaxVolumes) + " volumes");
  std::set<std::string> names;
  std::set<std::string> paths;
  for (const VolumeSpec& v : m.volumes) {
    if (!names.insert(v.name).second) return node.error("two volumes are named '" + v.name + "'");
    if (!paths.insert(v.path).second) return node.error("two volumes lie at " + v.path);
  }
  return {};
}

std::vector<Field<Manifest>> guest_fields() {
  return {
      field("name", &Manifest::name, name("project"), "of the image; else the directory's"),
      field("target", &Manifest::arch,
            choice<Arch>({{"x86_64-linux", Arch::kX86_64}, {"aarch64-linux", Arch::kAarch64}}),
            "the guest's system"),
      field("seal", &Manifest::seal, choice<Seal>({{"dev", Seal::kDev}, {"sealed", Seal::kSealed}}),
            "sealed: verified, and without a way in"),
      field("outputs", &Manifest::outputs, list(absolute_path()),
            "what may be copied out of a sealed machine"),
      field("entrypoint", &Manifest::entrypoint, command(), "what runs; it ends the machine"),
      field("services", &Manifest::services, services(), "what runs, each under its name"),
      field("env", &Manifest::env, named(text(), variable()), "of all that runs"),
      field("user", &Manifest::user, not_empty(), "USER[:GROUP] of all that runs"),
      field("workdir", &Manifest::working_dir, absolute_path(), "of all that runs"),
      field("files", &Manifest::files, list(file()), "laid over the source"),
      field("resources", &Manifest::resources, resources(), "of the machine"),
      field("ports", &Manifest::ports, list(port_forward()),
            "[IP:]HOST:GUEST[/udp]: ports of the host that lead into the guest"),
      field("volumes", &Manifest::volumes, list(volume()), "disks that outlive the machine"),
      field("health", &Manifest::health, health(), "whether the entrypoint does its work"),
  };
}

// Both are made once: the parts are copied into one another.
const Type<Manifest>& guest() {
  static const Type<Manifest> type = table<Manifest>(guest_fields(), check_whole);
  return type;
}

const Type<Manifest>& manifest() {
  static const Type<Manifest> type = [] {
    std::vector<Field<Manifest>> fields = guest_fields();
    fields.insert(fields.begin() + 1, field("source", &Manifest::source, source(),
                                            "what the image is made from", Need::kRequired));
    return table<Manifest>(fields, check_whole);
  }();
  return type;
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text, const std::string& file) {
  return read_document(manifest(), text, file);
}

Result<Manifest> manifest_from_json(std::string_view text, const std::string& file) {
  return read_json(manifest(), text, file);
}

std::string manifest_to_json(const Manifest& m) {
  return manifest().write(m).dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Manifest> guest_from_json(std::string_view text, const std::string& file) {
  return read_json(guest(), text, file);
}

std::string guest_to_json(const Manifest& m) {
  return guest().write(m).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string manifest_schema() {
  Json out = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "mvm.toml"}};
  out.update(manifest().schema);
  return out.dump(2) + "\n";
}

}  // namespace mvm::spec
