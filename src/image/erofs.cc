// SPDX-License-Identifier: Apache-2.0
#include "image/erofs.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <vector>

#include "image/entry_path.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::image {
namespace {

// Any fixed value does: the image is named by its digest, nothing looks for its UUID.
constexpr char kUuid[] = "6d766d00-0000-4000-8000-000000000000";

// Where the superblock has the time of its making: 8 bytes of seconds, 4 of nanoseconds.
// Source: Linux, fs/erofs/erofs_fs.h, struct erofs_super_block (at byte 1024), build_time.
constexpr off_t kBuildTimeOffset = 1024 + 24;

// With -T, mkfs.erofs 1.5 gives every file that one time, whatever --preserve-mtime says. Without
// it only the superblock shows when the image was made, so that is cleared; -Enosbcrc because of
// this edit, and the image's digest covers more. Extended inodes, because a compact one borrows its
// time from the superblock.
Result<> clear_build_time(const std::string& path) {
  const sys::UniqueFd file = MVM_TRY(sys::open_file(path, O_WRONLY));
  constexpr std::array<char, 12> kZero = {};
  const auto written = ::pwrite(file.get(), kZero.data(), kZero.size(), kBuildTimeOffset);
  if (written != static_cast<ssize_t>(kZero.size())) return Error::from_errno("write " + path);
  return {};
}

std::string last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return std::string(text.substr(text.rfind('\n') + 1));
}

Error failure(const sys::Output& output, const std::string& path) {
  const std::string all = output.err + output.out;
  const std::string reason = output.err.empty() ? last_line(output.out) : last_line(output.err);
  if (all.find("No space left") != std::string::npos ||
      all.find("[Error 28]") != std::string::npos || all.find("-28") != std::string::npos) {
    return Error(Errc::kNoSpace,
                 "no room in " + std::string(split_path(path).parent) + " for the image")
        .with_hint("free some space, or set MVM_HOME to a directory on a larger disk");
  }
  return Error(Errc::kIo, "mkfs.erofs ended with " + output.status.text() + ": " + reason);
}

}  // namespace

Result<> make_erofs(const std::string& tree, const std::string& output) {
  const auto program = sys::find_program("mkfs.erofs");
  if (!program) {
    return Error(Errc::kUnavailable, "mkfs.erofs is not installed")
        .with_hint("install it with: apt-get install erofs-utils");
  }
  sys::Command command;
  command.die_with_parent = true;
  // From inside the tree: its own path then takes nothing of the length that paths in it may have.
  command.working_dir = tree;
  command.environment = sys::environment_with({"SOURCE_DATE_EPOCH="});  // overrides times of files
  command.argv = {
      *program, "--quiet", "-d2", "--preserve-mtime", "-Eforce-inode-extended,nosbcrc", "-U",
      kUuid,    output,    "."};
  const sys::Output result = MVM_TRY_CTX(sys::run(std::move(command)), "running mkfs.erofs");
  if (!result.status.ok()) return failure(result, output);
  return clear_build_time(output);
}

}  // namespace mvm::image
