// SPDX-License-Identifier: Apache-2.0
// A kernel or initrd file under suspicion: reads by offset that are whole or an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "core/result.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

class LoaderFile {
 public:
  // Errors: kInvalidArgument unless it is a regular file; kLimit above `limit`.
  static Result<LoaderFile> open(int fd, const std::string& name, Bytes limit);

  std::uint64_t size() const { return size_; }
  const std::string& name() const { return name_; }
  // Whether [offset, offset + length) lies inside the file.
  bool has(std::uint64_t offset, std::uint64_t length) const {
    return offset <= size_ && length <= size_ - offset;
  }

  // Errors: kCorrupt when the file ends before.
  Result<> read(std::uint64_t offset, std::span<std::byte> into) const;
  template <class T>
    requires std::is_trivially_copyable_v<T>
  Result<T> read_object(std::uint64_t offset) const {
    T out{};
    MVM_TRY(read(offset, std::as_writable_bytes(std::span(&out, 1))));
    return out;
  }
  // Fills guest memory, which is zero, from the file; holes of the file are left alone.
  // Errors: kLimit when the range is not RAM; kCorrupt.
  Result<> load(const GuestMemory& memory, Gpa gpa, std::uint64_t offset,
                std::uint64_t length) const;

  // kCorrupt: "NAME: WHAT".
  Error corrupt(const std::string& what) const {
    return Error(Errc::kCorrupt, name_ + ": " + what);
  }

 private:
  LoaderFile(int fd, std::string name, std::uint64_t size)
      : fd_(fd), name_(std::move(name)), size_(size) {}
  int fd_;
  std::string name_;
  std::uint64_t size_;
};

}  // namespace mvm::vmm
