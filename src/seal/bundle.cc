// SPDX-License-Identifier: Apache-2.0
#include "seal/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "core/codec.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::seal {
namespace {

constexpr std::string_view kMagic = "mvmpkg\r\n";  // a file that was sent as text is told by it
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kDigestSize = 64;
constexpr std::size_t kMostSections = 16;
// Magic, version, length and digest of what follows.
constexpr std::size_t kHeadSize = 8 + 4 + 4 + kDigestSize;
constexpr std::size_t kLargestTable = 4096;
constexpr std::size_t kChunk = std::size_t{1} << 20;

struct Section {
  std::string name;
  std::uint64_t length = 0;
  std::string digest;  // SHA-256, hex
};

std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string key_bytes(const PublicKey& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

std::string table_of(const std::vector<Section>& sections) {
  ByteWriter out;
  out.number(static_cast<std::uint32_t>(sections.size()));
  for (const Section& s : sections) out.text(s.name).number(s.length).text(s.digest);
  return as_text(out.take());
}

std::string head_of(const std::string& table) {
  ByteWriter numbers;
  numbers.number(kVersion).number(static_cast<std::uint32_t>(table.size()));
  return std::string(kMagic) + as_text(numbers.take()) + sys::sha256_hex(table);
}

Error corrupt(const std::string& path, const std::string& what) {
  return Error(Errc::kCorrupt, "bundle " + path + " " + what);
}

Result<std::vector<Section>> parse_table(const std::string& path, const std::string& table) {
  ByteReader in(std::as_bytes(std::span(table)));
  const auto count = in.number<std::uint32_t>();
  std::vector<Section> out;
  for (std::uint32_t i = 0; in.ok() && i < count && i < kMostSections; ++i) {
    Section& s = out.emplace_back();
    s.name = in.text(32);
    s.length = in.number<std::uint64_t>();
    s.digest = in.text(kDigestSize);
  }
  const bool known = out.size() == 4 && out[0].name == "manifest" && out[1].name == "signature" &&
                     out[2].name == "signer" && out[3].name == "image";
  if (!in.done() || !known) return corrupt(path, "has not the sections that version 1 has");
  return out;
}

Result<std::string> read_exactly(int fd, std::size_t size, const std::string& path) {
  std::string out(size, '\0');
  const auto got = MVM_TRY(sys::read_full(fd, std::as_writable_bytes(std::span(out))));
  if (got != size) return corrupt(path, "is cut off");
  return out;
}

Result<std::vector<Section>> read_table(int fd, const std::string& path) {
  std::string head(kHeadSize, '\0');
  const auto got = MVM_TRY(sys::read_full(fd, std::as_writable_bytes(std::span(head))));
  if (!std::string_view(head).starts_with(kMagic)) return corrupt(path, "is no bundle of mvm's");
  if (got != head.size()) return corrupt(path, "is cut off");
  ByteReader numbers(std::as_bytes(std::span(head)).subspan(kMagic.size()));
  const auto version = numbers.number<std::uint32_t>();
  const auto length = numbers.number<std::uint32_t>();
  if (version != kVersion)
    return Error(Errc::kUnsupported, "bundle " + path + " has version " + std::to_string(version) +
                                         ", this mvm knows version " + std::to_string(kVersion));
  if (length > kLargestTable) return corrupt(path, "has a table of sections that is too large");
  const std::string table = MVM_TRY(read_exactly(fd, length, path));
  if (sys::sha256_hex(table) != head.substr(kHeadSize - kDigestSize))
    return corrupt(path, "has a table of sections that is not what was written");
  return parse_table(path, table);
}

Result<std::string> read_section(int fd, const Section& section, std::uint64_t limit,
                                 const std::string& path) {
  if (section.length > limit) return corrupt(path, "has a " + section.name + " that is too large");
  std::string out = MVM_TRY(read_exactly(fd, section.length, path));
  if (sys::sha256_hex(out) != section.digest)
    return corrupt(path, "has a " + section.name + " that is not what was written");
  return out;
}

// Copies `size` bytes from where `from` stands; their digest.
Result<std::string> copy_hashed(int from, int to, std::uint64_t size) {
  sys::Sha256 hash;
  std::vector<std::byte> buffer(kChunk);
  while (size > 0) {
    const auto want = std::span(buffer).first(std::min<std::uint64_t>(size, kChunk));
    const std::size_t got = MVM_TRY(sys::read_full(from, want));
    if (got == 0) return Error(Errc::kCorrupt, "the image is cut off");
    hash.update(want.first(got));
    if (to >= 0) MVM_TRY(sys::write_full(to, want.first(got)));
    size -= got;
  }
  return hash.finish();
}

Result<> write_all(int fd, const Signed& document, const Manifest& manifest,
                   const std::string& image) {
  const std::string signature = to_bytes(document.signature);
  const std::string signer = key_bytes(document.signer);
  const std::string table = table_of({
      {"manifest", document.text.size(), sys::sha256_hex(document.text)},
      {"signature", signature.size(), sys::sha256_hex(signature)},
      {"signer", signer.size(), sys::sha256_hex(signer)},
      {"image", manifest.image_size.count, manifest.image_digest},
  });
  MVM_TRY(sys::write_full(fd, head_of(table) + table + document.text + signature + signer));
  const sys::UniqueFd from = MVM_TRY(sys::open_file(image, O_RDONLY));
  const std::string digest = MVM_TRY(copy_hashed(from.get(), fd, manifest.image_size.count));
  if (digest != manifest.image_digest)
    return Error(Errc::kCorrupt, "image " + image + " is not the one that was signed");
  return {};
}

}  // namespace

Result<Manifest> open_signed(const Signed& document) {
  if (!verify(document.signer, document.text, document.signature))
    return Error(Errc::kCorrupt, "the signature does not fit the manifest");
  return manifest_from_text(document.text);
}

Signed sign_manifest(const SecretKey& secret, const Manifest& manifest) {
  Signed out;
  out.text = to_text(manifest);
  out.signature = sign(secret, out.text);
  out.signer = public_key_of(secret);
  return out;
}

Result<> write_bundle(const std::string& path, const Signed& document, const std::string& image) {
  const Manifest manifest = MVM_TRY(open_signed(document));
  std::string temp = path + ".XXXXXX";
  const sys::UniqueFd fd(::mkostemp(temp.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno("create " + path);
  sys::ScopeGuard cleanup([&] { ::unlink(temp.c_str()); });
  MVM_TRY_CTX(write_all(fd.get(), document, manifest, image), "writing " + path);
  if (::fchmod(fd.get(), 0644) != 0 || ::fsync(fd.get()) != 0)
    return Error::from_errno("write " + path);
  if (::rename(temp.c_str(), path.c_str()) != 0) return Error::from_errno("rename " + temp);
  cleanup.dismiss();
  return {};
}

Result<Bundle> open_bundle(const std::string& path) {
  Bundle out;
  out.file = MVM_TRY(sys::open_file(path, O_RDONLY));
  const int fd = out.file.get();
  const std::vector<Section> sections = MVM_TRY(read_table(fd, path));
  out.document.text = MVM_TRY(read_section(fd, sections[0], kLargestManifest.count, path));
  out.document.signature = MVM_TRY(
      signature_from_bytes(MVM_TRY(read_section(fd, sections[1], sizeof(Signature), path))));
  const std::string signer = MVM_TRY(read_section(fd, sections[2], sizeof(PublicKey), path));
  if (signer.size() != out.document.signer.size()) return corrupt(path, "has no key of its signer");
  std::copy(signer.begin(), signer.end(), out.document.signer.begin());
  out.manifest = MVM_TRY_CTX(open_signed(out.document), "bundle " + path);
  out.image_offset = Bytes{static_cast<std::uint64_t>(::lseek(fd, 0, SEEK_CUR))};
  struct stat st{};
  if (::fstat(fd, &st) != 0) return Error::from_errno("stat " + path);
  const bool exact =
      sections[3].digest == out.manifest.image_digest &&
      sections[3].length == out.manifest.image_size.count &&
      static_cast<std::uint64_t>(st.st_size) - out.image_offset.count == sections[3].length;
  if (!exact) return corrupt(path, "has another image than its manifest says");
  return out;
}

Result<> read_image(const Bundle& bundle, int to) {
  if (::lseek(bundle.file.get(), static_cast<off_t>(bundle.image_offset.count), SEEK_SET) < 0)
    return Error::from_errno("seek in the bundle");
  const std::string digest =
      MVM_TRY(copy_hashed(bundle.file.get(), to, bundle.manifest.image_size.count));
  if (digest == bundle.manifest.image_digest) return {};
  return Error(Errc::kCorrupt,
               "the image of the bundle is not the one that was signed: its digest is " + digest +
                   ", signed is " + bundle.manifest.image_digest);
}

}  // namespace mvm::seal
