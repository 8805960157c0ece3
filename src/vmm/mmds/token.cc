// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/token.h"

#include <nettle/base64.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>

#include <algorithm>
#include <cstring>

#include "sys/random.h"

namespace mvm::vmm {
namespace {

// A number that makes every token another one, and the time at which it expires.
constexpr std::size_t kNonceSize = 8;
constexpr std::size_t kBodySize = kNonceSize + sizeof(std::int64_t);

const std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

std::string encode(std::string_view raw) {
  std::string out(BASE64_ENCODE_RAW_LENGTH(raw.size()), '\0');
  ::base64_encode_raw(out.data(), raw.size(), bytes_of(raw));
  return out;
}

// Empty when it is not base64.
std::string decode(std::string_view text) {
  base64_decode_ctx context;
  ::base64_decode_init(&context);
  std::string out(BASE64_DECODE_LENGTH(text.size()), '\0');
  std::size_t size = out.size();
  if (::base64_decode_update(&context, &size, reinterpret_cast<std::uint8_t*>(out.data()),
                             text.size(), text.data()) != 1 ||
      ::base64_decode_final(&context) != 1)
    return {};
  out.resize(size);
  return out;
}

std::int64_t ticks(Clock::time_point at) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
}

}  // namespace

TokenAuthority::TokenAuthority() {
  const auto random = sys::random_bytes(key_.size());
  std::memcpy(key_.data(), random.data(), key_.size());
}

TokenAuthority::Code TokenAuthority::code_of(std::string_view body) const {
  hmac_sha256_ctx context;
  Code out;
  ::hmac_sha256_set_key(&context, key_.size(), key_.data());
  ::hmac_sha256_update(&context, body.size(), bytes_of(body));
  ::hmac_sha256_digest(&context, out.size(), out.data());
  return out;
}

std::string TokenAuthority::issue(std::uint32_t seconds, Clock::time_point now) const {
  const auto nonce = sys::random_bytes(kNonceSize);
  const std::int64_t expires = ticks(now + std::chrono::seconds(seconds));
  std::string raw(kBodySize, '\0');
  std::memcpy(raw.data(), nonce.data(), kNonceSize);
  std::memcpy(raw.data() + kNonceSize, &expires, sizeof expires);
  const Code code = code_of(raw);
  raw.append(reinterpret_cast<const char*>(code.data()), code.size());
  return encode(raw);
}

bool TokenAuthority::valid(std::string_view token, Clock::time_point now) const {
  constexpr std::size_t kRawSize = kBodySize + kCodeSize;
  if (token.size() != BASE64_ENCODE_RAW_LENGTH(kRawSize)) return false;
  const std::string raw = decode(token);
  if (raw.size() != kRawSize) return false;
  const Code code = code_of(std::string_view(raw).substr(0, kBodySize));
  if (::memeql_sec(code.data(), raw.data() + kBodySize, code.size()) == 0) return false;
  std::int64_t expires = 0;
  std::memcpy(&expires, raw.data() + kNonceSize, sizeof expires);
  return expires > ticks(now);
}

}  // namespace mvm::vmm
