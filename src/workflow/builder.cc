// SPDX-License-Identifier: Apache-2.0
#include "workflow/builder.h"

#include <algorithm>
#include <thread>

#include "agent_client/session.h"
#include "build/plan.h"
#include "spec/vm_spec_json.h"
#include "sys/files.h"
#include "sys/io.h"
#include "workflow/build.h"
#include "workflow/config.h"
#include "workflow/create.h"
#include "workflow/programs.h"
#include "workflow/project.h"
#include "workflow/volumes.h"

namespace mvm::workflow {
namespace {

constexpr char kSuite[] = "bookworm";
constexpr std::uint32_t kMostVcpus = 4;
constexpr Millis kStopGrace{10'000};
constexpr Millis kStopPatience{20'000};

// Everything that a step of a build runs, whatever the source.
Result<Project> builder_project() {
  Project out;
  // What it is made for is this installation of mvm.
  out.dir = MVM_TRY(find_programs()).directory;
  out.file = "the builder";
  out.manifest.name = kBuilderName;
  out.manifest.source.kind = spec::SourceSpec::Kind::kDebian;
  out.manifest.source.what = kSuite;
  out.manifest.source.packages = {
      "buildah",     "busybox-static", "ca-certificates", "cryptsetup-bin", "e2fsprogs",
      "erofs-utils", "mmdebstrap",     "nix-bin",         "runc",           "skopeo"};
  out.text = spec::manifest_to_json(out.manifest);
  return out;
}

Result<std::string> builder_image_ref(const Project& project) {
  store::BuildRecord build;
  build.name = project.manifest.name;
  build.revision = MVM_TRY(build::make_plan(project.manifest, project.dir)).revision();
  return image_ref(build);
}

class Steps final : public image::Progress {
 public:
  explicit Steps(const BuilderEvents& events) : events_(events) {}
  void update(std::string_view step, Bytes, Bytes) override { events_.on_step(std::string(step)); }

 private:
  const BuilderEvents& events_;
};

Result<> make_image(const store::Layout& layout, const Project& project,
                    const BuilderEvents& events) {
  const BuildEvents quiet{
      [](const build::Plan&) {},
      [&](const build::Event&) { events.on_step("making the builder's image, once"); },
      events.on_step, events.on_note};
  const BuildRequest natively{.where = Where::kNative};
  MVM_TRY_CTX(build_loaded(layout, project, natively, quiet), "the builder's image");
  return {};
}

Result<Builder> join(Machine machine, sys::UniqueFd connection) {
  Builder out;
  out.machine = std::move(machine);
  out.loop = std::make_unique<sys::EventLoop>(MVM_TRY(sys::EventLoop::create()));
  out.client = MVM_TRY(agent_client::Client::attach(*out.loop, std::move(connection)));
  MVM_TRY_CTX(out.client->wait_ready(Deadline::none()), "the builder");
  return out;
}

Result<Builder> start(const store::Layout& layout, const Project& project, const std::string& ref,
                      const BuilderShape& shape, const BuilderEvents& events) {
  MVM_TRY(make_image(layout, project, events));
  CreateRequest request;
  request.image.source = ref;
  request.name = kBuilderName;
  request.backend = shape.backend;
  request.least_isolation = shape.least_isolation;
  request.idle = true;
  request.limits.vcpus = shape.vcpus != 0
                             ? shape.vcpus
                             : std::clamp(std::thread::hardware_concurrency(), 1U, kMostVcpus);
  request.limits.memory = shape.memory;
  request.limits.idle = shape.idle;
  request.volumes = {{kBuilderName, kBuilderCache, shape.cache}};
  Steps steps(events);
  events.on_step("starting the builder");
  Created created = MVM_TRY_CTX(create(layout, request, {steps, events.on_step, events.on_note}),
                                "starting the builder");
  Machine machine = MVM_TRY(find_machine(layout, created.vm.id));
  Builder out = MVM_TRY(join(std::move(machine), std::move(created.connection)));
  // What builds that were killed have left; none is under way.
  wire::Open sweep;
  sweep.exec.argv = {"rm", "-rf", std::string(kBuilderCache) + "/work"};
  MVM_TRY(agent_client::collect(*out.client, sweep));
  return out;
}

// The builder that runs, if it is one of ours and does not come to its end just now.
std::optional<Builder> running(const store::Layout& layout, const std::string& ref) {
  auto machine = find_builder(layout);
  if (!machine || !*machine || !(*machine)->alive || (*machine)->record.image_ref != ref)
    return std::nullopt;
  auto connection = connect(layout, **machine);
  if (!connection) return std::nullopt;
  auto joined = join(std::move(**machine), std::move(*connection));
  return joined ? std::optional(std::move(*joined)) : std::nullopt;
}

// Of two that come at once, one starts or stops it.
Result<sys::FileLock> lock_builder(const store::Layout& layout) {
  MVM_TRY(sys::make_dirs(layout.run_dir));
  return sys::FileLock::acquire(layout.run_dir + "/builder.lock");
}

Result<bool> stop_locked(const store::Layout& layout) {
  const auto machine = MVM_TRY(find_builder(layout));
  if (!machine) return false;
  if (auto connection = connect(layout, *machine)) {
    sys::EventLoop loop = MVM_TRY(sys::EventLoop::create());
    const auto client = MVM_TRY(agent_client::Client::attach(loop, std::move(*connection)));
    client->request_stop({static_cast<std::uint32_t>(kStopGrace.count()), false});
    MVM_TRY(client->wait_stopped(Deadline::after(kStopPatience, "the end of the builder")));
  }
  MVM_TRY(remove_machine(layout, *machine));
  return true;
}

}  // namespace

Result<BuilderShape> builder_shape(const store::Layout& layout) {
  const Config config = MVM_TRY(Config::load(layout));
  BuilderShape out;
  out.backend = config.get("backend").value_or("auto");
  if (const auto least = config.get("isolation"))
    out.least_isolation = MVM_TRY(spec::parse_isolation(*least));
  return out;
}

Result<std::optional<Machine>> find_builder(const store::Layout& layout) {
  auto machine = find_machine(layout, kBuilderName);
  if (machine && !machine->record.image_ref.starts_with(std::string("build:") + kBuilderName + "@"))
    return Error(Errc::kAlreadyExists,
                 "machine '" + std::string(kBuilderName) + "' is not mvm's builder")
        .with_hint("remove it: mvmctl rm -f " + std::string(kBuilderName));
  if (machine) return std::optional(std::move(*machine));
  if (machine.error().code() == Errc::kNotFound) return std::optional<Machine>();
  return std::move(machine).error();
}

Result<bool> stop_builder(const store::Layout& layout) {
  const sys::FileLock lock = MVM_TRY(lock_builder(layout));
  return stop_locked(layout);
}

Result<Bytes> prune_builder(const store::Layout& layout) {
  const sys::FileLock lock = MVM_TRY(lock_builder(layout));
  MVM_TRY(stop_locked(layout));
  const auto cache = MVM_TRY(find_volume(layout, kBuilderName));
  if (!cache) return Bytes{};
  MVM_TRY(remove_volume(layout, kBuilderName));
  return cache->used;
}

Result<Builder> enter_builder(const store::Layout& layout, const BuilderShape& shape,
                              const BuilderEvents& events) {
  const sys::FileLock lock = MVM_TRY(lock_builder(layout));
  const Project project = MVM_TRY(builder_project());
  const std::string ref = MVM_TRY(builder_image_ref(project));
  if (auto builder = running(layout, ref)) return std::move(*builder);
  MVM_TRY(stop_locked(layout));
  return start(layout, project, ref, shape, events);
}

}  // namespace mvm::workflow
