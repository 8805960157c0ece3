// SPDX-License-Identifier: Apache-2.0
#include "core/result.h"

namespace mvm {
namespace {

Errc code_of(int errnum) {
  switch (errnum) {
    case ENOENT:
    case ESRCH:
      return Errc::kNotFound;
    case EEXIST:
      return Errc::kAlreadyExists;
    case EBUSY:
    case EADDRINUSE:
    case ETXTBSY:
      return Errc::kBusy;
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::kPermission;
    case ENOSPC:
    case EDQUOT:
      return Errc::kNoSpace;
    case ETIMEDOUT:
      return Errc::kTimeout;
    case ENOSYS:
    case EOPNOTSUPP:
      return Errc::kUnsupported;
    default:
      return Errc::kIo;
  }
}

}  // namespace

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid_argument";
    case Errc::kNotFound:
      return "not_found";
    case Errc::kAlreadyExists:
      return "already_exists";
    case Errc::kBusy:
      return "busy";
    case Errc::kPermission:
      return "permission";
    case Errc::kUnavailable:
      return "unavailable";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kCorrupt:
      return "corrupt";
    case Errc::kGuestFault:
      return "guest_fault";
    case Errc::kLimit:
      return "limit";
    case Errc::kNoSpace:
      return "no_space";
    case Errc::kTimeout:
      return "timeout";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kIo:
      return "io";
  }
  return "io";
}

Error Error::from_errno(std::string_view what, int errnum) {
  Error error(code_of(errnum), std::string(what) + ": " + std::strerror(errnum));
  error.errnum_ = errnum;
  return error;
}

std::string Error::text() const {
  std::string out;
  for (auto frame = context_.rbegin(); frame != context_.rend(); ++frame) out += *frame + ": ";
  return out + message_;
}

Error&& Error::with_hint(std::string hint) && {
  hint_ = std::move(hint);
  return std::move(*this);
}

Error&& Error::with_context(std::string frame) && {
  context_.push_back(std::move(frame));
  return std::move(*this);
}

Error&& Error::with_code(Errc code) && {
  code_ = code;
  return std::move(*this);
}

}  // namespace mvm
