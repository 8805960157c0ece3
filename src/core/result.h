// SPDX-License-Identifier: Apache-2.0
// Result<T> and Error: how every function of mvm reports failure.
//
// An Error says what went wrong (a code from a short list), names the object concerned, may carry
// the errno of the failed call, a chain of context frames added on the way up, and one hint that
// tells the reader what to do next. Text is lower case and has no full stop.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace mvm {

// The dozen kinds of failure that callers tell apart. The CLI maps them to exit codes (cli/exit.h).
enum class Errc {
  kInvalidArgument,  // the caller's input is wrong: usage, a spec, a name
  kNotFound,         // the named object does not exist
  kAlreadyExists,    // the named object exists and may not
  kBusy,             // somebody else holds it: lock, port, running VM
  kPermission,       // the operating system refused
  kUnavailable,      // a needed tool, engine or capability is missing on this host
  kUnsupported,      // understood, but not possible with this backend or version
  kCorrupt,          // stored or fetched data is not what it says it is
  kGuestFault,       // the guest broke the contract: panic, garbage frames, lost agent
  kLimit,            // a named limit was exceeded
  kNoSpace,          // the disk is full
  kTimeout,          // a deadline that names its cause has passed
  kCancelled,        // interrupted on request
  kIo,               // any other failed system call
};

// Stable lower-case name of a code, used in JSON ("not_found").
std::string_view errc_name(Errc code);

class Error {
 public:
  Error(Errc code, std::string message) : code_(code), message_(std::move(message)) {}

  // Builds an error from errno; the code is derived from it (ENOENT → kNotFound, ENOSPC → kNoSpace
  // …). Call it at once after the failed call: `what` is "open /x", the text of errno is appended.
  static Error from_errno(std::string_view what, int errnum = errno);

  Errc code() const { return code_; }
  int errnum() const { return errnum_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const std::vector<std::string>& context() const { return context_; }

  // "starting vm web: opening scratch disk: open /x: No space left on device"
  std::string text() const;

  Error&& with_hint(std::string hint) &&;
  Error&& with_context(std::string frame) &&;
  Error&& with_code(Errc code) &&;

 private:
  Errc code_;
  int errnum_ = 0;
  std::string message_;
  std::string hint_;
  std::vector<std::string> context_;  // innermost first
};

// A class of its own, not an alias: a dropped alias of expected would compile without a warning.
template <class T = void>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using Base = tl::expected<T, Error>;
  using Base::Base;
  Result(Error error)
      : Base(tl::unexpect, std::move(error)) {}  // NOLINT(google-explicit-constructor)
  Result(Base base) : Base(std::move(base)) {}   // NOLINT(google-explicit-constructor)
};

namespace detail {
template <class R>
Error take_error(R&& result) {
  return std::forward<R>(result).error();
}
template <class T>
T take_value(Result<T>&& result) {
  return std::move(*result);
}
inline void take_value(Result<void>&&) {}
}  // namespace detail

}  // namespace mvm

// Each use names its own variable, so that one may stand inside another.
#define MVM_CONCAT_INNER(a, b) a##b
#define MVM_CONCAT(a, b) MVM_CONCAT_INNER(a, b)
#define MVM_TRY_NAMED(name, expr, context)                                            \
  ({                                                                                  \
    auto name = (expr);                                                               \
    if (!name.has_value()) return ::mvm::detail::take_error(std::move(name)) context; \
    ::mvm::detail::take_value(std::move(name));                                       \
  })

// Unwraps a Result or returns its error from the enclosing function.
#define MVM_TRY(expr) MVM_TRY_NAMED(MVM_CONCAT(mvm_try_, __COUNTER__), expr, )

// The same, adding one frame of context to the error.
#define MVM_TRY_CTX(expr, frame) \
  MVM_TRY_NAMED(MVM_CONCAT(mvm_try_, __COUNTER__), expr, .with_context(frame))
