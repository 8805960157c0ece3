// SPDX-License-Identifier: Apache-2.0
#include "workflow/build_native.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "sys/io.h"
#include "sys/process.h"

namespace mvm::workflow {
namespace {

constexpr Bytes kLongestLine = mebibytes(4);

}  // namespace

Result<> BuildLines::feed(std::string_view text) {
  partial_ += text;
  std::size_t at = 0;
  for (std::size_t end = 0; (end = partial_.find('\n', at)) != std::string::npos; at = end + 1) {
    build::Line line = MVM_TRY(build::parse_line(std::string_view(partial_).substr(at, end - at)));
    if (line.event) on_event_(*line.event);
    if (line.built) built_ = std::move(line.built);
    if (line.error) error_ = std::move(line.error);
  }
  partial_.erase(0, at);
  if (partial_.size() > kLongestLine.count)
    return Error(Errc::kGuestFault, "mvm-build said a line without an end");
  return {};
}

Result<build::Built> BuildLines::result() const {
  if (error_) return *error_;
  if (built_) return *built_;
  return Error(Errc::kGuestFault, "mvm-build has ended without a result");
}

Result<build::Built> build_natively(const build::Job& job, const Programs& programs,
                                    const std::function<void(const build::Event&)>& on_event) {
  const std::string file = job.work_dir + "/job.json";
  build::Job complete = job;
  // Nix wants no symbolic link on the way to a flake.
  std::error_code ec;
  complete.nix_library = std::filesystem::canonical(programs.nix_library, ec).string();
  MVM_TRY(sys::write_file(file, build::job_to_json(complete)));
  sys::Pipe pipe = MVM_TRY(sys::make_pipe());
  sys::Command command;
  command.contain = true;
  command.argv = {programs.build, file};
  command.fds = {{pipe.write_end.get(), STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
  sys::Child child = MVM_TRY(sys::spawn(command));
  pipe.write_end.reset();
  BuildLines lines(on_event);
  std::array<std::byte, 4096> buffer;
  for (;;) {
    const std::size_t count = MVM_TRY(sys::read_some(pipe.read_end.get(), buffer));
    if (count == 0) break;
    MVM_TRY(lines.feed({reinterpret_cast<const char*>(buffer.data()), count}));
  }
  const sys::ExitStatus status = MVM_TRY(child.wait());
  auto result = lines.result();
  if (!result && result.error().code() == Errc::kGuestFault)
    return Error(Errc::kIo, "mvm-build ended with " + status.text());
  return result;
}

}  // namespace mvm::workflow
