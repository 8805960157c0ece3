// SPDX-License-Identifier: Apache-2.0
#include "workflow/copy.h"

#include <sys/stat.h>

#include <climits>
#include <cstdlib>
#include <optional>

#include "agent_client/session.h"
#include "agent_client/tar_stream.h"
#include "sys/io.h"

namespace mvm::workflow {
namespace {

using agent_client::Client;

struct SplitPath {
  std::string directory;
  std::string name;
};

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

SplitPath split(const std::string& path) {
  const std::string clean = without_slashes(path);
  const std::size_t slash = clean.rfind('/');
  if (slash == std::string::npos) return {".", clean};
  return {slash == 0 ? "/" : clean.substr(0, slash), clean.substr(slash + 1)};
}

bool content_only(const std::string& path) { return path == "." || path.ends_with("/."); }

wire::Open file_request(wire::OpenKind kind, const std::string& path, bool follow) {
  wire::Open open;
  open.kind = kind;
  open.file.path = path;
  open.file.follow = follow;
  return open;
}

Result<std::optional<wire::FileInfo>> guest_stat(Client& client, const std::string& path) {
  auto answer = agent_client::collect(client, file_request(wire::OpenKind::kStat, path, true));
  if (!answer && answer.error().code() == Errc::kNotFound) return std::optional<wire::FileInfo>();
  if (!answer) return answer.error();
  return wire::take_file_info(*answer);
}

// Where a copy lands: below `directory` under `name` ("": the content goes straight into it).
Result<SplitPath> place(const CopyRequest& request, bool target_is_directory, bool target_exists) {
  if (content_only(request.from)) {
    if (target_exists && !target_is_directory)
      return Error(Errc::kInvalidArgument, "cannot copy a directory onto the file " + request.to);
    return SplitPath{request.to, ""};
  }
  if (target_is_directory) return SplitPath{request.to, split(request.from).name};
  if (request.to.ends_with('/'))
    return Error(Errc::kNotFound, "directory " + request.to + " does not exist")
        .with_hint("make it first, or leave out the last /");
  return split(request.to);
}

Result<> finish(const Result<wire::Closed>& closed, const std::string& words,
                agent_client::TarChild& child) {
  // Both sides may complain about the same trouble; the side where it began says it best: a guest
  // that failed breaks our pipe, a child that failed leaves the guest a truncated stream.
  auto ours = child.finish();
  if (!closed) return closed.error();
  const bool guest_ok = closed->outcome == wire::Outcome::kExited && closed->code == 0;
  if (!ours && (guest_ok || words.empty() || closed->outcome == wire::Outcome::kCancelled ||
                words.find("truncated") != std::string::npos))
    return ours.error();
  if (!guest_ok) return agent_client::closed_error(*closed, words);
  return {};
}

}  // namespace

Result<> copy_to_guest(Client& client, const CopyRequest& request) {
  const auto target = MVM_TRY(guest_stat(client, request.to));
  const bool is_directory = target && target->type == wire::FileType::kDirectory;
  const SplitPath spot = MVM_TRY(place(request, is_directory, target.has_value()));
  if (!spot.name.empty() && !is_directory) {
    const auto parent = MVM_TRY(guest_stat(client, spot.directory));
    if (!parent || parent->type != wire::FileType::kDirectory)
      return Error(Errc::kNotFound, "there is no directory " + spot.directory + " in the machine")
          .with_hint("make it first with mvmctl exec");
  }
  std::string source = without_slashes(request.from);
  if (content_only(source)) source = source == "." ? "." : source.substr(0, source.size() - 2);
  if (request.follow_links) {
    char* real = ::realpath(source.c_str(), nullptr);
    if (real == nullptr) return Error::from_errno(source);
    source = real;
    std::free(real);
  }
  auto child = MVM_TRY(
      agent_client::pack({source, spot.name.empty() ? "." : spot.name, request.keep_owner}));
  std::string words;
  agent_client::SessionOptions options;
  options.on_progress = request.on_progress;
  const auto closed =
      agent_client::run_session(client, file_request(wire::OpenKind::kPut, spot.directory, true),
                                {child.pipe(), -1, -1, nullptr, &words}, options);
  child.close_pipe();
  return finish(closed, words, child);
}

Result<> copy_from_guest(Client& client, const CopyRequest& request) {
  struct stat st;
  const bool exists = ::stat(request.to.c_str(), &st) == 0;
  const SplitPath spot = MVM_TRY(place(request, exists && S_ISDIR(st.st_mode), exists));
  const std::string source =
      content_only(request.from) ? request.from.substr(0, request.from.size() - 1) : request.from;
  const auto info = MVM_TRY(guest_stat(client, source));
  if (!info) return Error(Errc::kNotFound, "there is no " + source + " in the machine");
  if (spot.name.empty() && !exists) MVM_TRY(sys::make_dirs(spot.directory, 0755));
  auto child = MVM_TRY(agent_client::unpack({spot.directory, spot.name}));
  std::string words;
  agent_client::SessionOptions options;
  options.on_progress = request.on_progress;
  const auto closed =
      agent_client::run_session(client,
                                file_request(wire::OpenKind::kGet, without_slashes(source),
                                             request.follow_links || content_only(request.from)),
                                {-1, child.pipe(), -1, nullptr, &words}, options);
  child.close_pipe();
  return finish(closed, words, child);
}

}  // namespace mvm::workflow
