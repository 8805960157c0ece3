// SPDX-License-Identifier: Apache-2.0
#include "wire/messages.h"

#include "wire/codec.h"

namespace mvm::wire {
namespace {

constexpr std::string_view kMagic = "mvmagent";

Error malformed(std::string_view what) {
  return Error(Errc::kGuestFault, "agent protocol: malformed " + std::string(what) + " message");
}

template <class T>
Result<T> finish(const Reader& in, T message, std::string_view what) {
  if (!in.done()) return malformed(what);
  return message;
}

bool has_nul(const std::string& text) { return text.find('\0') != std::string::npos; }

bool any_nul(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (has_nul(text)) return true;
  }
  return false;
}

}  // namespace

Payload encode(const Hello& m) {
  return Writer().text(kMagic).number(m.version).text(m.software).text(m.system).take();
}

Result<Hello> decode_hello(Bytespan in) {
  Reader r(in);
  if (r.text(kMagic.size()) != kMagic) return malformed("hello");
  Hello m;
  m.version = r.number<std::uint16_t>();
  // A later version may add fields: tell the versions apart before anything else.
  if (r.ok() && m.version != kProtocolVersion)
    return Error(Errc::kUnsupported, "agent protocol version " + std::to_string(m.version) +
                                         " is not ours (" + std::to_string(kProtocolVersion) + ")");
  m.software = r.text(256);
  m.system = r.text(256);
  return finish(r, std::move(m), "hello");
}

Payload encode(const Configure& m) {
  Writer w;
  w.text(m.hostname).number(m.wall_clock_ns).bytes(m.entropy).boolean(m.network.has_value());
  if (m.network)
    w.text(m.network->address)
        .number(m.network->prefix)
        .text(m.network->gateway)
        .texts(m.network->dns);
  return w.number(m.pids_limit).take();
}

Result<Configure> decode_configure(Bytespan in) {
  Reader r(in);
  Configure m;
  m.hostname = r.text(64);
  m.wall_clock_ns = r.number<std::uint64_t>();
  const auto entropy = r.bytes(kMaxSeed);
  m.entropy.assign(entropy.begin(), entropy.end());
  if (r.boolean()) {
    NetworkConfig& n = m.network.emplace();
    n.address = r.text(64);
    n.prefix = r.number<std::uint8_t>();
    n.gateway = r.text(64);
    n.dns = r.texts(8);
  }
  m.pids_limit = r.number<std::uint32_t>();
  return finish(r, std::move(m), "configure");
}

Payload encode(const Ready& m) { return Writer().number(m.init_us).number(m.ready_us).take(); }

Result<Ready> decode_ready(Bytespan in) {
  Reader r(in);
  Ready m;
  m.init_us = r.number<std::uint64_t>();
  m.ready_us = r.number<std::uint64_t>();
  return finish(r, m, "ready");
}

Payload encode(const Shutdown& m) { return Writer().number(m.signal).number(m.grace_ms).take(); }

Result<Shutdown> decode_shutdown(Bytespan in) {
  Reader r(in);
  Shutdown m;
  m.signal = r.number<std::int32_t>();
  m.grace_ms = r.number<std::uint32_t>();
  if (m.signal < 1 || m.signal > 64) return malformed("shutdown");
  return finish(r, m, "shutdown");
}

Payload encode(const Open& m) {
  Writer w;
  w.number(static_cast<std::uint8_t>(m.kind));
  if (m.kind != OpenKind::kExec)
    return w.text(m.file.path).number(m.file.mode).text(m.file.user).boolean(m.file.follow).take();
  const ExecRequest& e = m.exec;
  return w.texts(e.argv)
      .texts(e.env)
      .text(e.working_dir)
      .boolean(e.make_working_dir)
      .text(e.user)
      .boolean(e.tty)
      .number(e.rows)
      .number(e.columns)
      .number(e.timeout_ms)
      .take();
}

Result<Open> decode_open(Bytespan in) {
  Reader r(in);
  Open m;
  const auto kind = r.number<std::uint8_t>();
  if (kind < static_cast<std::uint8_t>(OpenKind::kExec) ||
      kind > static_cast<std::uint8_t>(OpenKind::kConnect))
    return malformed("open");
  m.kind = static_cast<OpenKind>(kind);
  if (m.kind != OpenKind::kExec) {
    m.file.path = r.text(kMaxPath);
    m.file.mode = r.number<std::uint32_t>();
    m.file.user = r.text(256);
    m.file.follow = r.boolean();
    if (m.file.path.empty() || has_nul(m.file.path) || has_nul(m.file.user))
      return malformed("open");
    return finish(r, std::move(m), "open");
  }
  ExecRequest& e = m.exec;
  e.argv = r.texts();
  e.env = r.texts();
  e.working_dir = r.text(kMaxPath);
  e.make_working_dir = r.boolean();
  e.user = r.text(256);
  e.tty = r.boolean();
  e.rows = r.number<std::uint16_t>();
  e.columns = r.number<std::uint16_t>();
  e.timeout_ms = r.number<std::uint64_t>();
  if (e.argv.empty() || any_nul(e.argv) || any_nul(e.env) || has_nul(e.working_dir) ||
      has_nul(e.user))
    return malformed("open");
  return finish(r, std::move(m), "open");
}

Payload encode(const Closed& m) {
  return Writer()
      .number(static_cast<std::uint8_t>(m.outcome))
      .number(m.code)
      .text(m.message)
      .take();
}

Result<Closed> decode_closed(Bytespan in) {
  Reader r(in);
  Closed m;
  const auto outcome = r.number<std::uint8_t>();
  if (outcome > static_cast<std::uint8_t>(Outcome::kCancelled)) return malformed("closed");
  m.outcome = static_cast<Outcome>(outcome);
  m.code = r.number<std::int32_t>();
  m.message = r.text(8192);
  return finish(r, std::move(m), "closed");
}

Payload encode(const FileInfo& m) {
  return Writer()
      .text(m.name)
      .number(static_cast<std::uint8_t>(m.type))
      .number(m.mode)
      .number(m.uid)
      .number(m.gid)
      .number(m.size_bytes)
      .number(m.mtime_ns)
      .text(m.link_target)
      .take();
}

Payload encode(const DiffEntry& m) {
  return Writer().number(static_cast<std::uint8_t>(m.kind)).text(m.path).take();
}

Payload encode(const VmState& m) {
  return Writer()
      .number(static_cast<std::uint8_t>(m.phase))
      .number(m.exit_code)
      .text(m.message)
      .text(m.hint)
      .take();
}

Result<VmState> decode_vm_state(Bytespan in) {
  Reader r(in);
  VmState m;
  const auto phase = r.number<std::uint8_t>();
  if (phase > static_cast<std::uint8_t>(VmPhase::kPaused)) return malformed("state");
  m.phase = static_cast<VmPhase>(phase);
  m.exit_code = r.number<std::int32_t>();
  m.message = r.text();
  m.hint = r.text();
  return finish(r, std::move(m), "state");
}

Payload encode(const Stop& m) { return Writer().number(m.grace_ms).boolean(m.kill).take(); }

Result<Stop> decode_stop(Bytespan in) {
  Reader r(in);
  Stop m;
  m.grace_ms = r.number<std::uint32_t>();
  m.kill = r.boolean();
  return finish(r, m, "stop");
}

Payload encode(const Request& m) {
  return Writer().number(static_cast<std::uint8_t>(m.kind)).take();
}

Result<Request> decode_request(Bytespan in) {
  Reader r(in);
  Request m;
  const auto kind = r.number<std::uint8_t>();
  if (kind < static_cast<std::uint8_t>(RequestKind::kPause) ||
      kind > static_cast<std::uint8_t>(RequestKind::kSaved))
    return malformed("request");
  m.kind = static_cast<RequestKind>(kind);
  return finish(r, m, "request");
}

// The code is 0 for done; a failure's is one more than its place in Errc.
Payload encode(const Answer& m) {
  if (!m.failure) return Writer().number(std::uint8_t{0}).text("").text("").take();
  const auto code = static_cast<std::uint8_t>(static_cast<int>(m.failure->code()) + 1);
  return Writer().number(code).text(m.failure->text()).text(m.failure->hint()).take();
}

Result<Answer> decode_answer(Bytespan in) {
  Reader r(in);
  const auto code = r.number<std::uint8_t>();
  std::string message = r.text();
  std::string hint = r.text();
  if (!r.done() || code > static_cast<std::uint8_t>(Errc::kIo) + 1) return malformed("answer");
  Answer m;
  if (code == 0) return m;
  Error failure(static_cast<Errc>(code - 1), std::move(message));
  m.failure = std::move(failure).with_hint(std::move(hint));
  return m;
}

Payload encode_u64(std::uint64_t value) { return Writer().number(value).take(); }

Result<std::uint64_t> decode_u64(Bytespan in) {
  Reader r(in);
  const auto value = r.number<std::uint64_t>();
  return finish(r, value, "number");
}

Payload encode_u32(std::uint32_t value) { return Writer().number(value).take(); }

Result<std::uint32_t> decode_u32(Bytespan in) {
  Reader r(in);
  const auto value = r.number<std::uint32_t>();
  return finish(r, value, "number");
}

Payload encode(const DataAt& m) { return Writer().number(m.offset).number(m.length).take(); }

Result<DataAt> decode_data_at(Bytespan in) {
  Reader r(in);
  DataAt m;
  m.offset = r.number<std::uint32_t>();
  m.length = r.number<std::uint32_t>();
  const bool whole_blocks = m.offset % kExchangeBlock == 0 && m.length % kExchangeBlock == 0;
  if (!whole_blocks || m.length == 0 || m.length > kMaxInputChunk || m.offset > kExchangeSize ||
      m.length > kExchangeSize - m.offset)
    return malformed("data-at");
  return finish(r, m, "data-at");
}

Payload encode(const Resize& m) { return Writer().number(m.rows).number(m.columns).take(); }

Result<Resize> decode_resize(Bytespan in) {
  Reader r(in);
  Resize m;
  m.rows = r.number<std::uint16_t>();
  m.columns = r.number<std::uint16_t>();
  return finish(r, m, "resize");
}

std::string record(const Payload& payload) {
  Writer w;
  w.bytes(payload);
  const Payload framed = w.take();
  return std::string(reinterpret_cast<const char*>(framed.data()), framed.size());
}

namespace {

// The payload of the first record, when it is whole; it is then removed from the buffer.
Result<std::optional<Payload>> take_record(std::string& buffer, std::string_view what) {
  Reader r(std::as_bytes(std::span(buffer)));
  const auto length = r.number<std::uint32_t>();
  if (!r.ok()) return std::optional<Payload>();
  if (length > kMaxDataChunk) return malformed(what);
  if (buffer.size() < sizeof length + length) return std::optional<Payload>();
  const auto bytes = std::as_bytes(std::span(buffer)).subspan(sizeof length, length);
  Payload out(bytes.begin(), bytes.end());
  buffer.erase(0, sizeof length + length);
  return std::optional<Payload>(std::move(out));
}

}  // namespace

Result<std::optional<FileInfo>> take_file_info(std::string& buffer) {
  const auto payload = MVM_TRY(take_record(buffer, "file info"));
  if (!payload) return std::optional<FileInfo>();
  Reader r(*payload);
  FileInfo m;
  m.name = r.text(kMaxPath);
  const auto type = r.number<std::uint8_t>();
  if (type > static_cast<std::uint8_t>(FileType::kSocket)) return malformed("file info");
  m.type = static_cast<FileType>(type);
  m.mode = r.number<std::uint32_t>();
  m.uid = r.number<std::uint32_t>();
  m.gid = r.number<std::uint32_t>();
  m.size_bytes = r.number<std::uint64_t>();
  m.mtime_ns = r.number<std::int64_t>();
  m.link_target = r.text(kMaxPath);
  if (!r.done()) return malformed("file info");
  return std::optional<FileInfo>(std::move(m));
}

Result<std::optional<DiffEntry>> take_diff_entry(std::string& buffer) {
  const auto payload = MVM_TRY(take_record(buffer, "diff entry"));
  if (!payload) return std::optional<DiffEntry>();
  Reader r(*payload);
  DiffEntry m;
  const auto kind = r.number<std::uint8_t>();
  if (kind != 'A' && kind != 'C' && kind != 'D') return malformed("diff entry");
  m.kind = static_cast<DiffKind>(kind);
  m.path = r.text(kMaxPath);
  if (!r.done()) return malformed("diff entry");
  return std::optional<DiffEntry>(std::move(m));
}

}  // namespace mvm::wire
