// SPDX-License-Identifier: Apache-2.0
// A policy of the user's own in place of ours (`--seccomp-filter FILE`): JSON, one list a role.
//
//   {"setup": [...], "main": [...], "vcpu": ["read", {"syscall": "ioctl", "argument": 1,
//                                                     "mask": 4294967295, "values": [44672]}]}
//
// All three roles must be there and nothing else. An entry is the name of a call, or an object that
// allows the call when (argument & mask) is one of the values; "mask" may be left out and is then
// 4294967295. A call may stand in several entries. The file replaces our policy wholly.
#pragma once

#include <map>
#include <memory>
#include <string_view>

#include "core/result.h"
#include "vmm/jail/policy.h"
#include "vmm/jail/seccomp.h"

namespace mvm::vmm {

class FilterFile {
 public:
  static constexpr std::size_t kMaxRules = 1000;   // a role
  static constexpr std::size_t kMaxValues = 1000;  // an entry

  // Errors: kInvalidArgument that says where: not JSON, another shape, an unknown role or call.
  static Result<FilterFile> parse(std::string_view json);

  Result<SeccompFilter> compile(ThreadRole role, SeccompMode mode) const;

 private:
  struct Rule {
    std::string name;
    int argument = -1;
    std::uint64_t mask = SyscallRule::kInt;
    std::vector<std::uint64_t> values;
  };
  struct Reader;
  std::map<ThreadRole, std::vector<Rule>> roles_;
};

}  // namespace mvm::vmm
