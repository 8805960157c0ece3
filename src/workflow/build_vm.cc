// SPDX-License-Identifier: Apache-2.0
#include "workflow/build_vm.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "agent_client/session.h"
#include "build/inputs.h"
#include "image/source.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/random.h"
#include "sys/sha256.h"
#include "workflow/build_native.h"
#include "workflow/copy.h"

namespace mvm::workflow {
namespace {

namespace fs = std::filesystem;
using Kind = spec::SourceSpec::Kind;

constexpr char kPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

wire::Open command(std::vector<std::string> argv, const std::string& extra_path = {}) {
  wire::Open out;
  out.exec.argv = std::move(argv);
  out.exec.working_dir = "/";
  out.exec.env = {(extra_path.empty() ? "PATH=" : "PATH=" + extra_path + ":") + std::string(kPath),
                  "HOME=/root", "LC_ALL=C.UTF-8"};
  return out;
}

// What lies below another input comes with it.
std::vector<build::Input> outermost(const std::vector<build::Input>& inputs) {
  std::vector<build::Input> out;
  for (const build::Input& input : inputs) {
    const auto covers = [&](const build::Input& other) {
      return input.path != other.path && input.path.starts_with(other.path + "/");
    };
    const bool again =
        std::ranges::any_of(out, [&](const auto& o) { return o.path == input.path; });
    if (!again && std::ranges::none_of(inputs, covers)) out.push_back(input);
  }
  return out;
}

// One build in the guest, in a directory of its own.
class GuestBuild {
 public:
  GuestBuild(const build::Job& job, const Programs& programs, Builder& builder)
      : job_(job),
        programs_(programs),
        client_(*builder.client),
        place_(std::string(kBuilderCache) + "/work/" + sys::random_hex(8)) {}
  ~GuestBuild() {
    if (client_.connected()) (void)agent_client::collect(client_, command({"rm", "-rf", place_}));
  }
  GuestBuild(const GuestBuild&) = delete;
  GuestBuild& operator=(const GuestBuild&) = delete;

  Result<build::Built> run(const std::function<void(const build::Event&)>& on_event) {
    auto built = steps(on_event);
    if (built) return built;
    take_logs();
    return told(built.error());
  }

 private:
  Result<build::Built> steps(const std::function<void(const build::Event&)>& on_event) {
    const std::string tools = MVM_TRY(install_tools());
    const build::Job guest_job = MVM_TRY(prepare(tools));
    return take_image(guest_job, MVM_TRY(build(tools, on_event)));
  }

  std::string root() const { return place_ + "/root"; }
  std::string work() const { return place_ + "/work"; }

  Result<> copy_in(const std::string& from, const std::string& to) {
    return copy_to_guest(client_, {.from = from, .to = to});
  }

  // Under the name of their content: a builder that an earlier mvm has started gets this one's.
  Result<std::string> install_tools() {
    std::string tools =
        "/usr/local/lib/mvm/" + MVM_TRY(sys::sha256_file(programs_.build)).substr(0, 16);
    // Its directory is there last, by a rename.
    if (agent_client::collect(client_, command({"test", "-d", tools}))) return tools;
    const std::string fresh = tools + "." + sys::random_hex(4);
    MVM_TRY(agent_client::collect(client_, command({"mkdir", "-p", fresh})));
    MVM_TRY(copy_in(programs_.build, fresh + "/mvm-build"));
    std::error_code ec;
    MVM_TRY(copy_in(fs::canonical(programs_.nix_library, ec).string(), fresh + "/nix"));
    MVM_TRY(agent_client::collect(
        client_, command({"sh", "-c", "mv -T \"$1\" \"$2\" 2>/dev/null || rm -rf \"$1\"", "sh",
                          fresh, tools})));
    return tools;
  }

  Result<build::Job> prepare(const std::string& tools) {
    build::Job out = MVM_TRY(job_in_guest(job_, root()));
    out.work_dir = work();
    out.output = work() + "/image.erofs";
    out.cache_dir = std::string(kBuilderCache) + "/cache";
    out.nix_library = tools + "/nix";
    const auto inputs = outermost(MVM_TRY(build::inputs_of(job_.manifest, job_.project)));
    std::vector<std::string> directories = {"mkdir",         "-p",       work(), out.cache_dir,
                                            place_ + "/bin", out.project};
    for (const build::Input& input : inputs) directories.push_back(target(input));
    MVM_TRY(agent_client::collect(client_, command(directories)));
    for (const build::Input& input : inputs) MVM_TRY(copy_in(input.path, target(input)));
    const std::string file = job_.work_dir + "/job.json";
    MVM_TRY(sys::write_file(file, build::job_to_json(out)));
    MVM_TRY(copy_in(file, work() + "/job.json"));
    return out;
  }

  // The directory that an input is put into.
  std::string target(const build::Input& input) const {
    // A program of this host is the guest's before its own.
    if (input.role == build::Role::kSource && input.name == "busybox") return place_ + "/bin";
    return root() + fs::path(input.path).parent_path().string();
  }

  Result<build::Built> build(const std::string& tools,
                             const std::function<void(const build::Event&)>& on_event) {
    BuildLines lines(on_event);
    Result<> heard;
    std::string words;
    std::optional<wire::Closed> closed;
    std::shared_ptr<agent_client::Stream> stream;
    agent_client::StreamHandlers handlers;
    handlers.on_data = [&](std::uint8_t channel, std::span<const std::byte> bytes) {
      const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      if (channel == wire::kStderr) {
        words = std::string(text.substr(0, 1000));
      } else if (heard) {
        heard = lines.feed(text);
        if (!heard) stream->cancel();
      }
      stream->consumed(channel, bytes.size());
    };
    handlers.on_closed = [&](const wire::Closed& c) { closed = c; };
    const std::vector<std::string> argv = {tools + "/mvm-build", work() + "/job.json"};
    stream = MVM_TRY(client_.streams().open(command(argv, place_ + "/bin"), handlers));
    const sys::ScopeGuard forget([&] { stream->abandon(); });
    stream->send_eof();
    while (!closed) MVM_TRY(client_.loop().run_once(Deadline::none()));
    MVM_TRY(std::move(heard));
    auto built = lines.result();
    if (built || built.error().code() != Errc::kGuestFault) return built;
    if (!client_.connected() || closed->outcome == wire::Outcome::kCancelled)
      return Error(Errc::kGuestFault, "the builder has ended in the middle of the build")
          .with_hint("build again: a new one is started; its console: mvmctl logs --console " +
                     std::string(kBuilderName));
    return agent_client::closed_error(*closed, words);
  }

  // What the guest says of the image is checked, not believed.
  Result<build::Built> take_image(const build::Job& guest_job, build::Built built) {
    MVM_TRY_CTX(copy_from_guest(client_, {.from = guest_job.output, .to = job_.output}),
                "taking the image from the builder");
    struct stat st{};
    if (::lstat(job_.output.c_str(), &st) != 0 || !S_ISREG(st.st_mode))
      return Error(Errc::kGuestFault, "the builder's image is not a file");
    const std::string digest = MVM_TRY(sys::sha256_file(job_.output));
    if (digest != built.digest)
      return Error(Errc::kGuestFault, "the builder's image has digest " + digest + ", not " +
                                          built.digest + " as it says");
    built.size = Bytes{static_cast<std::uint64_t>(st.st_size)};
    return built;
  }

  // As text, whatever the guest has made of the files. A log that cannot be had is not worth
  // another error.
  void take_logs() {
    if (!client_.connected()) return;
    for (const char* step : {"source", "overlay", "assemble"}) {
      const std::string name = std::string(step) + ".log";
      wire::Open read;
      read.kind = wire::OpenKind::kRead;
      read.file.path = work() + "/" + name;
      if (const auto text = agent_client::collect(client_, read))
        (void)sys::write_file(job_.work_dir + "/" + name, *text);
    }
  }

  // With the paths that people know, and what frees the disk that is full.
  Error told(const Error& error) const {
    Error out(error.code(), replaced(error.text(), root(), ""));
    if (error.code() == Errc::kNoSpace)
      return std::move(out).with_hint("empty the builder's cache: mvmctl builder prune");
    return std::move(out).with_hint(replaced(error.hint(), root(), ""));
  }

  const build::Job& job_;
  const Programs& programs_;
  agent_client::Client& client_;
  std::string place_;
};

}  // namespace

Result<build::Job> job_in_guest(const build::Job& job, const std::string& root) {
  build::Job out = job;
  const auto localize = [&](std::string& path) {
    if (path.starts_with('/')) path = root + path;
  };
  out.project = root + job.project;
  spec::SourceSpec& source = out.manifest.source;
  localize(source.context);
  if (source.kind == Kind::kImage) {
    image::Source parsed =
        image::absolute_source(MVM_TRY(image::parse_source(source.what)), job.project);
    localize(parsed.path);
    source.what = parsed.ref();
  } else {
    localize(source.what);
  }
  for (spec::FileSpec& file : out.manifest.files) localize(file.from);
  return out;
}

Result<build::Built> build_in_builder(const build::Job& job, const Programs& programs,
                                      Builder& builder,
                                      const std::function<void(const build::Event&)>& on_event) {
  GuestBuild guest(job, programs, builder);
  return guest.run(on_event);
}

}  // namespace mvm::workflow
