// SPDX-License-Identifier: Apache-2.0
#include "kernel/memo.h"

#include <sys/stat.h>

#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::kernel {
namespace {

constexpr std::size_t kDigestLength = 64;

Result<std::string> identity(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return Error::from_errno("stat " + path);
  if (!S_ISREG(st.st_mode)) return Error(Errc::kInvalidArgument, path + " is no regular file");
  const auto time = [](const timespec& t) {
    return std::to_string(t.tv_sec) + "." + std::to_string(t.tv_nsec);
  };
  return "1 " + std::to_string(st.st_dev) + " " + std::to_string(st.st_ino) + " " +
         std::to_string(st.st_size) + " " + time(st.st_mtim) + " " + time(st.st_ctim) + " " + path +
         "\n";
}

}  // namespace

Result<std::string> memo_digest(const std::string& cache_dir, const std::string& path) {
  const std::string before = MVM_TRY(identity(path));
  const std::string note_path = cache_dir + "/memo/" + sys::sha256_hex(path).substr(0, 32);
  if (const auto note = sys::read_file(note_path, kibibytes(16))) {
    if (note->size() == kDigestLength + 1 + before.size() && note->ends_with(before))
      return note->substr(0, kDigestLength);
  }
  std::string digest = MVM_TRY(sys::sha256_file(path));
  // A file that changes while it is read gets no note.
  if (MVM_TRY(identity(path)) == before && sys::make_dirs(cache_dir + "/memo"))
    (void)sys::write_atomic(note_path, digest + " " + before);
  return digest;
}

}  // namespace mvm::kernel
