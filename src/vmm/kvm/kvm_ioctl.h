// SPDX-License-Identifier: Apache-2.0
// One ioctl with its error named; internal to this module.
#pragma once

#include <sys/ioctl.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "vmm/kvm/kvm_requests.h"

namespace mvm::vmm {

template <class Argument>
Result<int> kvm_ioctl(int fd, unsigned long request, Argument argument, const char* name) {
  int result = 0;
  do result = ::ioctl(fd, request, argument);
  while (result < 0 && errno == EINTR);
  if (result < 0) return Error::from_errno(name);
  return result;
}

// Reads a structure.
template <class T>
Result<T> kvm_get(int fd, unsigned long request, const char* name) {
  T out{};
  MVM_TRY(kvm_ioctl(fd, request, &out, name));
  return out;
}

// For requests whose result does not matter beyond success.
template <class T>
Result<> kvm_set(int fd, unsigned long request, const T& value, const char* name) {
  MVM_TRY(kvm_ioctl(fd, request, &value, name));
  return {};
}

// A header and the list behind it, with room for so many entries, as one block of memory.
template <class Entry>
class WithEntries {
 public:
  explicit WithEntries(std::size_t room)
      : room_(room), words_((sizeof(KvmListHeader) + room * sizeof(Entry) + 7) / 8) {
    header()->count = static_cast<std::uint32_t>(room);
  }
  KvmListHeader* header() { return reinterpret_cast<KvmListHeader*>(words_.data()); }
  std::span<Entry> room() { return {reinterpret_cast<Entry*>(words_.data() + 1), room_}; }
  // Those that the header counts.
  std::span<Entry> entries() { return room().first(std::min<std::size_t>(header()->count, room_)); }

 private:
  std::size_t room_;
  std::vector<std::uint64_t> words_;
};

}  // namespace mvm::vmm
