// SPDX-License-Identifier: Apache-2.0
// A tar file that is the same bytes for the same content: entries are root's and of time 0, trees
// are walked in the order of their names.
//
// Errors: kNoSpace and kIo naming the tar file; those of reading name the file that is read.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

struct archive;
struct archive_entry;

namespace mvm::image {

class TarFile {
 public:
  static Result<TarFile> create(const std::string& path);
  TarFile(TarFile&&) noexcept;
  ~TarFile();

  Result<> directory(const std::string& path, mode_t mode);
  Result<> file(const std::string& path, mode_t mode, std::string_view text);
  Result<> symlink(const std::string& path, const std::string& target);
  // The content of a file of this host.
  Result<> file_from(const std::string& path, mode_t mode, const std::string& source);
  // A file, symbolic link or directory of this host with everything below, under the name `path`;
  // "" is the root. Permissions are kept, without set-id bits; hard links become files.
  // `leave_out` is told each name below as a path relative to `source`.
  // Errors: kUnsupported for devices, FIFOs and sockets.
  Result<> tree(const std::string& path, const std::string& source,
                const std::function<bool(const std::string&)>& leave_out = {});
  // Must be called last.
  Result<> close();

 private:
  struct State;
  explicit TarFile(std::unique_ptr<State> state);
  Result<> walk(const std::string& path, const std::string& source, const std::string& below,
                const std::function<bool(const std::string&)>& leave_out);
  Result<> header(const std::string& path, mode_t type, mode_t mode, const std::string& target,
                  std::uint64_t size);
  Error failure() const;
  std::unique_ptr<State> state_;
};

}  // namespace mvm::image
