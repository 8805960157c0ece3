// SPDX-License-Identifier: Apache-2.0
// Writes the system call filters of a program as the library compiles them, and where the program's
// own process id stands in them: those of mvm-vmm's roles from vmm/jail/policy.cc, that of mvm-netd
// from netd/policy/policy.cc.
//
// The places are found, not assumed: each filter is compiled for two process ids, and the programs
// may differ in operands that are these ids, and in nothing else.
#include <cstdio>

#include "netd/policy/policy.h"
#include "sys/files.h"
#include "vmm/jail/seccomp.h"

namespace mvm::vmm {
namespace {

// Ids that no rule has for a value.
constexpr pid_t kOne = 0x3ada5a11;
constexpr pid_t kOther = 0x2bc5d377;

std::uint64_t operand(std::uint64_t instruction) { return instruction >> 32; }
std::uint64_t operation(std::uint64_t instruction) { return instruction & 0xffff'ffff; }

Result<std::vector<std::size_t>> own_process_places(std::span<const std::uint64_t> one,
                                                    std::span<const std::uint64_t> other) {
  const auto unlike = [] {
    return Error(Errc::kUnsupported, "the filter depends on the process id in another way");
  };
  if (one.size() != other.size()) return unlike();
  std::vector<std::size_t> out;
  for (std::size_t at = 0; at < one.size(); ++at) {
    const bool is_place = operand(one[at]) == kOne && operand(other[at]) == kOther;
    if (operation(one[at]) != operation(other[at])) return unlike();
    if (operand(one[at]) != operand(other[at]) && !is_place) return unlike();
    if (is_place) out.push_back(at);
  }
  return out;
}

template <class T>
std::string array(std::string_view type, const std::string& name, std::span<const T> values) {
  std::string out = "constexpr " + std::string(type) + " " + name + "[] = {\n";
  char text[32];
  for (const T value : values) {
    std::snprintf(text, sizeof text, "    0x%016llx,\n", static_cast<unsigned long long>(value));
    out += text;
  }
  return out + "};\n";
}

using Groups = std::vector<std::span<const SyscallRule>>;

Result<std::string> table_of(const Groups& groups, const std::string& name) {
  const auto one = MVM_TRY(SeccompFilter::compile(groups, SeccompMode::kKill, kOne));
  const auto other = MVM_TRY(SeccompFilter::compile(groups, SeccompMode::kKill, kOther));
  const auto places = MVM_TRY(own_process_places(one.program(), other.program()));
  return array("std::uint64_t", "k" + name + "Program", one.program()) +
         array<std::size_t>("std::size_t", "k" + name + "OwnProcess", places);
}

std::vector<std::pair<std::string, Groups>> filters_of(std::string_view program) {
  if (program == "netd") return {{"Netd", netd::policy()}};
  if (program == "vmm")
    return {{"Setup", policy_of(ThreadRole::kSetup)},
            {"Main", policy_of(ThreadRole::kMain)},
            {"Vcpu", policy_of(ThreadRole::kVcpu)}};
  return {};
}

Result<> write_table(std::string_view program, const char* path) {
  std::string out = "// Made by mvm-filter-compiler.\n#pragma once\n\n";
  out += "#include <cstddef>\n#include <cstdint>\n\n";
  for (const auto& [name, groups] : filters_of(program))
    out += MVM_TRY_CTX(table_of(groups, name), name);
  return sys::write_atomic(path, out);
}

}  // namespace
}  // namespace mvm::vmm

int main(int argc, char** argv) {
  if (argc != 3 || mvm::vmm::filters_of(argv[1]).empty()) {
    std::fputs("usage: mvm-filter-compiler vmm|netd FILE\n", stderr);
    return 64;
  }
  if (auto done = mvm::vmm::write_table(argv[1], argv[2]); !done) {
    std::fprintf(stderr, "mvm-filter-compiler: %s\n", done.error().text().c_str());
    return 1;
  }
  return 0;
}
