// SPDX-License-Identifier: Apache-2.0
#include "seal/manifest.h"

#include <charconv>
#include <set>
#include <string>

namespace mvm::seal {
namespace {

constexpr std::string_view kFirstLine = "mvm-signed-manifest 1";
constexpr std::string_view kMagic = "mvm-signed-manifest ";

// The words of a line, one after the other; the last takes the rest.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) {}

  std::string_view next() {
    const std::size_t end = rest_.find(' ');
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    return word;
  }
  std::string_view rest() { return std::exchange(rest_, {}); }
  // 64 lower-case hex characters. What is not makes the line bad, as with number().
  std::string digest() {
    const std::string_view word = next();
    if (word.size() != 64 || word.find_first_not_of("0123456789abcdef") != std::string_view::npos)
      good_ = false;
    return std::string(word);
  }
  std::uint64_t number(std::uint64_t most) {
    const std::string_view word = next();
    std::uint64_t out = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
    if (error != std::errc() || end != word.data() + word.size() || out > most) good_ = false;
    return out;
  }
  std::string path() {
    const std::string_view word = rest();
    if (!word.starts_with('/')) good_ = false;
    return std::string(word);
  }
  bool good() const { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

// What may be said more than once.
bool is_list(std::string_view key) {
  return key == "start" || key == "output" || key == "tcp" || key == "udp" || key == "volume";
}

constexpr std::uint64_t kMostBlocks = std::uint64_t{1} << 40;

// False for a key that is not known.
bool read_line(std::string_view key, Words& words, Manifest& out) {
  if (key == "name") {
    out.name = words.rest();
  } else if (key == "revision") {
    out.revision = words.digest();
  } else if (key == "arch") {
    out.arch = words.next();
  } else if (key == "image") {
    out.image_digest = words.digest();
    out.image_size = Bytes{words.number(UINT64_MAX)};
  } else if (key == "kernel") {
    out.kernel_digest = words.digest();
    out.kernel_release = words.rest();
  } else if (key == "verity") {
    Verity& verity = out.verity.emplace();
    verity.root_hash = words.digest();
    verity.salt = words.digest();
    verity.data_blocks = words.number(kMostBlocks);
    verity.hash_block = words.number(kMostBlocks);
  } else if (key == "start") {
    out.starts.push_back(words.digest());
  } else if (key == "output") {
    out.outputs.push_back(words.path());
  } else if (key == "tcp") {
    out.tcp_ports.push_back(static_cast<std::uint16_t>(words.number(UINT16_MAX)));
  } else if (key == "udp") {
    out.udp_ports.push_back(static_cast<std::uint16_t>(words.number(UINT16_MAX)));
  } else if (key == "volume") {
    out.volumes.push_back(words.path());
  } else if (key == "config") {
    out.config_json = words.rest();
  } else {
    return false;
  }
  return true;
}

Result<> check_whole(const Manifest& manifest) {
  const bool whole =
      !manifest.name.empty() && !manifest.arch.empty() && !manifest.image_digest.empty();
  if (!whole) return Error(Errc::kCorrupt, "the signed manifest lacks a name, arch or image");
  if (manifest.sealed() && manifest.kernel_digest.empty())
    return Error(Errc::kCorrupt, "the signed manifest of a sealed image names no kernel");
  if (manifest.sealed() && manifest.verity->hash_block < manifest.verity->data_blocks)
    return Error(Errc::kCorrupt, "the signed manifest has its hash tree inside the image");
  return {};
}

// Nothing that comes from elsewhere may begin a line of its own.
std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < ' ') c = '?';
  }
  return out;
}

}  // namespace

std::string to_text(const Manifest& m) {
  std::string out = std::string(kFirstLine) + "\n";
  const auto line = [&out](const char* key, std::string_view value) {
    out += std::string(key) + " " + one_line(value) + "\n";
  };
  line("name", m.name);
  if (!m.revision.empty()) line("revision", m.revision);
  line("arch", m.arch);
  line("image", m.image_digest + " " + std::to_string(m.image_size.count));
  if (!m.kernel_digest.empty()) line("kernel", m.kernel_digest + " " + m.kernel_release);
  if (m.verity)
    line("verity", m.verity->root_hash + " " + m.verity->salt + " " +
                       std::to_string(m.verity->data_blocks) + " " +
                       std::to_string(m.verity->hash_block));
  for (const std::string& start : m.starts) line("start", start);
  for (const std::string& output : m.outputs) line("output", output);
  for (const std::uint16_t port : m.tcp_ports) line("tcp", std::to_string(port));
  for (const std::uint16_t port : m.udp_ports) line("udp", std::to_string(port));
  for (const std::string& volume : m.volumes) line("volume", volume);
  if (!m.config_json.empty()) line("config", m.config_json);
  return out;
}

Result<Manifest> manifest_from_text(std::string_view text) {
  if (text.size() > kLargestManifest.count)
    return Error(Errc::kCorrupt, "the signed manifest is larger than 1 MiB");
  if (!text.starts_with(kMagic) || !text.ends_with('\n'))
    return Error(Errc::kCorrupt, "this is no signed manifest");
  const std::string_view first = text.substr(0, text.find('\n'));
  if (first != kFirstLine)
    return Error(Errc::kUnsupported, "the signed manifest has version " +
                                         std::string(first.substr(kMagic.size())) +
                                         ", this mvm knows version 1");
  text.remove_prefix(first.size() + 1);
  Manifest out;
  std::set<std::string_view> seen;
  for (int number = 2; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() + 1);
    Words words(line);
    const std::string_view key = words.next();
    if (!read_line(key, words, out))
      return Error(Errc::kUnsupported, "line " + std::to_string(number) +
                                           " of the signed manifest says '" + std::string(key) +
                                           "', which this mvm does not know");
    if (!words.good() || (!seen.insert(key).second && !is_list(key)))
      return Error(Errc::kCorrupt, "line " + std::to_string(number) + " of the signed manifest, '" +
                                       std::string(key) + "', is not as it should be");
  }
  MVM_TRY(check_whole(out));
  return out;
}

}  // namespace mvm::seal
