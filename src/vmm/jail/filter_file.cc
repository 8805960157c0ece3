// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/filter_file.h"

#include <seccomp.h>

#include <nlohmann/json.hpp>

namespace mvm::vmm {

using Json = nlohmann::json;

struct FilterFile::Reader {
  static Error wrong(std::string message) {
    return Error(Errc::kInvalidArgument, std::move(message))
        .with_hint("see docs/howto/jail.md for the format of filter files");
  }

  static Result<std::uint64_t> number(const Json& value, std::string_view what) {
    if (!value.is_number_unsigned())
      return wrong("'" + std::string(what) + "' is not a whole number from 0 on");
    return value.get<std::uint64_t>();
  }

  static Result<std::string> name(const Json& value) {
    if (!value.is_string()) return wrong("an entry names no system call");
    std::string out = value.get<std::string>();
    if (::seccomp_syscall_resolve_name(out.c_str()) == __NR_SCMP_ERROR)
      return wrong("there is no system call '" + out + "'");
    return out;
  }

  static Result<std::vector<std::uint64_t>> values(const Json& list) {
    if (!list.is_array() || list.empty()) return wrong("'values' is not a list of numbers");
    if (list.size() > kMaxValues) return wrong("'values' is too long");
    std::vector<std::uint64_t> out;
    for (const Json& value : list) out.push_back(MVM_TRY(number(value, "values")));
    return out;
  }

  static Result<Rule> condition(const Json& entry) {
    Rule rule;
    for (const auto& [key, value] : entry.items()) {
      if (key == "syscall") {
        rule.name = MVM_TRY(name(value));
      } else if (key == "argument") {
        const std::uint64_t argument = MVM_TRY(number(value, key));
        if (argument > 5) return wrong("'argument' is over 5");
        rule.argument = static_cast<int>(argument);
      } else if (key == "mask") {
        rule.mask = MVM_TRY(number(value, key));
      } else if (key == "values") {
        rule.values = MVM_TRY(values(value));
      } else {
        return wrong("unknown field '" + key + "'");
      }
    }
    if (rule.name.empty() || rule.argument < 0 || rule.values.empty())
      return wrong("an entry lacks 'syscall', 'argument' or 'values'");
    return rule;
  }

  static Result<std::vector<Rule>> role(const Json& list) {
    if (!list.is_array()) return wrong("not a list");
    if (list.size() > kMaxRules) return wrong("too many entries");
    std::vector<Rule> out;
    for (const Json& entry : list) {
      if (entry.is_object()) {
        out.push_back(MVM_TRY_CTX(condition(entry), "entry " + std::to_string(out.size() + 1)));
      } else {
        Rule rule;
        rule.name = MVM_TRY_CTX(name(entry), "entry " + std::to_string(out.size() + 1));
        out.push_back(std::move(rule));
      }
    }
    return out;
  }
};

Result<FilterFile> FilterFile::parse(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return Reader::wrong("filter file is not a JSON object");
  FilterFile out;
  for (const ThreadRole role : {ThreadRole::kSetup, ThreadRole::kMain, ThreadRole::kVcpu}) {
    const std::string name(role_name(role));
    const auto found = json.find(name);
    if (found == json.end()) return Reader::wrong("filter file has no role '" + name + "'");
    out.roles_[role] = MVM_TRY_CTX(Reader::role(*found), "filter file, role '" + name + "'");
  }
  if (json.size() != out.roles_.size())
    return Reader::wrong("filter file has roles other than setup, main and vcpu");
  return out;
}

Result<SeccompFilter> FilterFile::compile(ThreadRole role, SeccompMode mode) const {
  std::vector<SyscallRule> rules;
  for (const Rule& rule : roles_.at(role))
    rules.push_back(
        {rule.name, SyscallRule::Kind::kAllowed, rule.argument, rule.mask, rule.values});
  const std::span<const SyscallRule> group(rules);
  return SeccompFilter::compile(std::span(&group, 1), mode);
}

}  // namespace mvm::vmm
