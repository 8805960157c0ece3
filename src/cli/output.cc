// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <algorithm>
#include <cctype>

#include "core/units.h"
#include "sys/io.h"

namespace mvm::cli {

std::string printable(std::string_view text, bool keep_newlines) {
  std::string out(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto byte = static_cast<unsigned char>(out[i]);
    if (keep_newlines && (byte == '\n' || byte == '\t')) continue;
    if (byte < 0x20 || byte == 0x7f) out[i] = '?';
    // U+0080 to U+009F: terminals take some of these as escape sequences too.
    const bool c1 = byte == 0xc2 && i + 1 < out.size() &&
                    static_cast<unsigned char>(out[i + 1]) >= 0x80 &&
                    static_cast<unsigned char>(out[i + 1]) < 0xa0;
    if (c1) out.replace(i, 2, "?");
  }
  return out;
}

std::string age(std::int64_t created_ms) {
  const std::int64_t seconds = std::max<std::int64_t>(0, (unix_time_ms() - created_ms) / 1000);
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m";
  if (seconds < 86400) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / 86400) + "d";
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string error_text(const Error& error) {
  std::string out = "mvmctl: " + printable(error.text(), true) + "\n";
  if (!error.hint().empty()) out += "  hint: " + printable(error.hint(), true) + "\n";
  return out;
}

Json error_json(const Error& error) {
  Json context = Json::array();
  for (auto frame = error.context().rbegin(); frame != error.context().rend(); ++frame)
    context.add(*frame);
  Json body = Json::object()
                  .set("code", errc_name(error.code()))
                  .set("message", error.message())
                  .set("hint", error.hint().empty() ? Json() : Json(error.hint()))
                  .set("context", context);
  return Json::object().set("error", body);
}

void print_error(Context& context, const Error& error) {
  if (context.json) return context.print_json(1, error_json(error));
  static_cast<void>(sys::write_full(context.err_fd, error_text(error)).has_value());
}

Table::Table(std::vector<std::string> header) : right_(header.size(), false) {
  for (std::string& cell : header) {
    for (char& c : cell) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  rows_.push_back(std::move(header));
}

Table& Table::align_right(std::size_t column) {
  if (column < right_.size()) right_[column] = true;
  return *this;
}

void Table::add(std::vector<std::string> row) {
  row.resize(right_.size());
  for (std::string& cell : row) cell = cell.empty() ? "-" : printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::line(const std::vector<std::string>& row,
                        const std::vector<std::size_t>& widths) const {
  std::string out;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::string padding(widths[i] - display_width(row[i]), ' ');
    if (i > 0) out += "  ";
    out += right_[i] ? padding + row[i] : row[i] + padding;
  }
  out.erase(out.find_last_not_of(' ') + 1);
  return out + "\n";
}

std::string Table::text() const {
  std::vector<std::size_t> widths(right_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i]));
  }
  std::string out;
  for (const auto& row : rows_) out += line(row, widths);
  return out;
}

}  // namespace mvm::cli
