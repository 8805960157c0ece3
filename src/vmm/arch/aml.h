// SPDX-License-Identifier: Apache-2.0
// Encodes the few ACPI machine language terms that our DSDT needs. Every function returns the bytes
// of one term; terms nest by concatenation.
//
// Names are path strings of four-letter segments: "_HID", "\\_SB_.VGEN". They come from this
// program, never from outside, as do all sizes.
// Source: ACPI 6.5, chapters 20 (AML) and 6.4 (resource data types).
// Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace mvm::vmm::aml {

using Term = std::vector<std::byte>;
using Terms = std::initializer_list<Term>;

Term join(Terms terms);

Term integer(std::uint64_t value);
Term string(std::string_view text);
// "PNP0501" as the packed 32-bit number that _HID takes for it.
Term eisa_id(std::string_view id);
Term buffer(const Term& bytes);
// At most 255 elements.
Term package(Terms elements);

Term name(std::string_view path, const Term& value);
Term scope(std::string_view path, Terms terms);
Term device(std::string_view path, Terms terms);
// A serialized method.
Term method(std::string_view path, std::uint8_t arguments, Terms terms);
// If (Arg0 == value) { terms }
Term if_arg0_equals(std::uint64_t value, Terms terms);
Term notify(std::string_view path, std::uint64_t value);

// The buffer for _CRS: descriptors and their end tag.
Term resources(Terms descriptors);
Term memory32_fixed(std::uint32_t base, std::uint32_t length);
Term io_ports(std::uint16_t base, std::uint8_t length);
// Consumer, edge, active high, exclusive.
Term interrupt(std::uint32_t gsi);

}  // namespace mvm::vmm::aml
