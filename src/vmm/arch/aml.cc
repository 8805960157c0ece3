// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/aml.h"

namespace mvm::vmm::aml {
namespace {

constexpr std::uint8_t kZeroOp = 0x00;
constexpr std::uint8_t kOneOp = 0x01;
constexpr std::uint8_t kNameOp = 0x08;
constexpr std::uint8_t kBytePrefix = 0x0a;
constexpr std::uint8_t kWordPrefix = 0x0b;
constexpr std::uint8_t kDwordPrefix = 0x0c;
constexpr std::uint8_t kStringPrefix = 0x0d;
constexpr std::uint8_t kQwordPrefix = 0x0e;
constexpr std::uint8_t kScopeOp = 0x10;
constexpr std::uint8_t kBufferOp = 0x11;
constexpr std::uint8_t kPackageOp = 0x12;
constexpr std::uint8_t kMethodOp = 0x14;
constexpr std::uint8_t kDualNamePrefix = 0x2e;
constexpr std::uint8_t kMultiNamePrefix = 0x2f;
constexpr std::uint8_t kExtendedOp = 0x5b;
constexpr std::uint8_t kDeviceOp = 0x82;  // after kExtendedOp
constexpr std::uint8_t kRootChar = 0x5c;
constexpr std::uint8_t kArg0Op = 0x68;
constexpr std::uint8_t kNotifyOp = 0x86;
constexpr std::uint8_t kEqualOp = 0x93;
constexpr std::uint8_t kIfOp = 0xa0;
constexpr std::uint8_t kSerialized = 0x08;

void put(Term& out, std::uint64_t value, std::size_t bytes = 1) {
  for (std::size_t i = 0; i < bytes; ++i)
    out.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
}

void append(Term& out, const Term& more) { out.insert(out.end(), more.begin(), more.end()); }

void append_text(Term& out, std::string_view text) {
  for (const char letter : text) out.push_back(static_cast<std::byte>(letter));
}

Term name_path(std::string_view path) {
  Term out;
  if (path.starts_with('\\')) {
    put(out, kRootChar);
    path.remove_prefix(1);
  }
  const std::size_t segments = (path.size() + 1) / 5;
  if (segments == 0) put(out, kZeroOp);
  if (segments == 2) put(out, kDualNamePrefix);
  if (segments > 2) {
    put(out, kMultiNamePrefix);
    put(out, segments);
  }
  for (std::size_t i = 0; i < segments; ++i) append_text(out, path.substr(5 * i, 4));
  return out;
}

// PkgLength and content. The length counts itself: one byte up to 63, else two to four bytes with
// four bits in the first.
Term with_length(const Term& content) {
  Term out;
  if (content.size() + 1 <= 0x3f) {
    put(out, content.size() + 1);
  } else {
    std::size_t extra = 1;
    while (content.size() + 1 + extra > (std::size_t{1} << (4 + 8 * extra)) - 1) ++extra;
    const std::size_t length = content.size() + 1 + extra;
    put(out, extra << 6 | (length & 0xf));
    put(out, length >> 4, extra);
  }
  append(out, content);
  return out;
}

Term block(std::uint8_t op, const Term& head, Terms terms) {
  Term content = head;
  append(content, join(terms));
  Term out;
  put(out, op);
  append(out, with_length(content));
  return out;
}

}  // namespace

Term join(Terms terms) {
  Term out;
  for (const Term& term : terms) append(out, term);
  return out;
}

Term integer(std::uint64_t value) {
  Term out;
  if (value == 0) {
    put(out, kZeroOp);
  } else if (value == 1) {
    put(out, kOneOp);
  } else if (value <= UINT8_MAX) {
    put(out, kBytePrefix);
    put(out, value);
  } else if (value <= UINT16_MAX) {
    put(out, kWordPrefix);
    put(out, value, 2);
  } else if (value <= UINT32_MAX) {
    put(out, kDwordPrefix);
    put(out, value, 4);
  } else {
    put(out, kQwordPrefix);
    put(out, value, 8);
  }
  return out;
}

Term string(std::string_view text) {
  Term out;
  put(out, kStringPrefix);
  append_text(out, text);
  put(out, 0);
  return out;
}

Term eisa_id(std::string_view id) {
  const auto letter = [id](std::size_t at) {
    return static_cast<std::uint32_t>(id[at] - 'A' + 1) & 0x1f;
  };
  const auto digit = [id](std::size_t at) {
    const char c = id[at];
    return static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'A' + 10) & 0xf;
  };
  const std::uint32_t big_endian = letter(0) << 26 | letter(1) << 21 | letter(2) << 16 |
                                   digit(3) << 12 | digit(4) << 8 | digit(5) << 4 | digit(6);
  Term out;
  put(out, kDwordPrefix);
  put(out, __builtin_bswap32(big_endian), 4);
  return out;
}

Term buffer(const Term& bytes) { return block(kBufferOp, integer(bytes.size()), {bytes}); }

Term package(Terms elements) {
  Term count;
  put(count, elements.size());
  return block(kPackageOp, count, elements);
}

Term name(std::string_view path, const Term& value) {
  Term out;
  put(out, kNameOp);
  append(out, name_path(path));
  append(out, value);
  return out;
}

Term scope(std::string_view path, Terms terms) { return block(kScopeOp, name_path(path), terms); }

Term device(std::string_view path, Terms terms) {
  Term out;
  put(out, kExtendedOp);
  append(out, block(kDeviceOp, name_path(path), terms));
  return out;
}

Term method(std::string_view path, std::uint8_t arguments, Terms terms) {
  Term head = name_path(path);
  put(head, kSerialized | arguments);
  return block(kMethodOp, head, terms);
}

Term if_arg0_equals(std::uint64_t value, Terms terms) {
  Term predicate;
  put(predicate, kEqualOp);
  put(predicate, kArg0Op);
  append(predicate, integer(value));
  return block(kIfOp, predicate, terms);
}

Term notify(std::string_view path, std::uint64_t value) {
  Term out;
  put(out, kNotifyOp);
  append(out, name_path(path));
  append(out, integer(value));
  return out;
}

Term resources(Terms descriptors) {
  Term bytes = join(descriptors);
  put(bytes, 0x79);  // end tag; a checksum of zero is not checked
  put(bytes, 0);
  return buffer(bytes);
}

Term memory32_fixed(std::uint32_t base, std::uint32_t length) {
  Term out;
  put(out, 0x86);
  put(out, 9, 2);
  put(out, 1);  // read and write
  put(out, base, 4);
  put(out, length, 4);
  return out;
}

Term io_ports(std::uint16_t base, std::uint8_t length) {
  Term out;
  put(out, 0x47);
  put(out, 1);  // decodes 16 bits
  put(out, base, 2);
  put(out, base, 2);
  put(out, 1);  // alignment
  put(out, length);
  return out;
}

Term interrupt(std::uint32_t gsi) {
  Term out;
  put(out, 0x89);
  put(out, 6, 2);
  put(out, 0x03);  // consumer, edge
  put(out, 1);     // one line
  put(out, gsi, 4);
  return out;
}

}  // namespace mvm::vmm::aml
