// SPDX-License-Identifier: Apache-2.0
#include "workflow/scratch.h"

#include <fcntl.h>
#include <unistd.h>

#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::workflow {
namespace {

constexpr Bytes kSmallest = mebibytes(64);
// Part of the template's name; to be raised when the options below change.
constexpr int kTemplateVersion = 1;

std::string template_path(const ScratchRequest& request) {
  return request.template_dir + "/ext4-v" + std::to_string(kTemplateVersion) + "-" +
         std::to_string(request.size.count >> 20) + "M" + (request.durable ? "-journal" : "") +
         ".img";
}

// Formats a temporary file and renames it: a template is whole or not there. Two who make it at
// once make the same.
Result<> make_template(const ScratchRequest& request, const std::string& path) {
  if (!sys::find_program("mke2fs"))
    return Error(Errc::kUnavailable, "mke2fs is not installed")
        .with_hint("apt-get install e2fsprogs");
  MVM_TRY(sys::make_dirs(request.template_dir));
  const sys::TempDir temp = MVM_TRY(sys::TempDir::create(request.template_dir, ".new-"));
  const std::string image = temp.path() + "/image";
  const sys::UniqueFd fd = MVM_TRY(sys::open_file(image, O_RDWR | O_CREAT | O_EXCL, 0600));
  if (::ftruncate(fd.get(), static_cast<off_t>(request.size.count)) != 0)
    return Error::from_errno("ftruncate " + image);
  sys::Command command;
  command.die_with_parent = true;
  // 4096-byte blocks also below 512 MiB; lazy tables: the zeros are there already, the file is
  // sparse.
  command.argv = {"mke2fs",
                  "-q",
                  "-F",
                  "-t",
                  "ext4",
                  "-b",
                  "4096",
                  "-m",
                  "0",
                  "-O",
                  request.durable ? "has_journal" : "^has_journal",
                  "-E",
                  "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
                  image};
  MVM_TRY_CTX(
      sys::run_checked(command, Deadline::after(Millis(120'000), "formatting the scratch disk")),
      "making the scratch disk template in " + request.template_dir);
  if (::rename(image.c_str(), path.c_str()) != 0) return Error::from_errno("rename " + path);
  return {};
}

}  // namespace

Result<> make_scratch(const ScratchRequest& request) {
  if (request.size < kSmallest)
    return Error(Errc::kInvalidArgument, "a disk of " + format_size(request.size) + " is too small")
        .with_hint("give at least " + format_size(kSmallest));
  const std::string path = template_path(request);
  auto from = sys::open_file(path, O_RDONLY);
  if (!from && from.error().code() == Errc::kNotFound) {
    MVM_TRY(make_template(request, path));
    from = sys::open_file(path, O_RDONLY);
  }
  if (!from) return from.error();
  const sys::UniqueFd to = MVM_TRY(sys::open_file(request.path, O_RDWR | O_CREAT | O_EXCL, 0600));
  sys::ScopeGuard cleanup([&] { ::unlink(request.path.c_str()); });
  MVM_TRY_CTX(sys::copy_sparse(from->get(), to.get(), request.size),
              "making the scratch disk " + request.path);
  cleanup.dismiss();
  return {};
}

}  // namespace mvm::workflow
