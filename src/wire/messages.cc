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
  w.number(m.pids_limit).number(static_cast<std::uint8_t>(m.volumes.size()));
  for (const VolumeMount& v : m.volumes) w.text(v.serial).text(v.name).text(v.path);
  return w.take();
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
  const auto volumes = r.number<std::uint8_t>();
  if (volumes > kMaxVolumes) return malformed("configure");
  for (std::uint8_t i = 0; i < volumes; ++i) {
    VolumeMount& v = m.volumes.emplace_back();
    v.serial = r.text(20);
    v.name = r.text(128);
    v.path = r.text(kMaxPath);
    if (has_nul(v.path) || !v.path.starts_with('/')) return malformed("configure");
  }
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

namespace {

void put(Writer& w, const ExecRequest& e) {
  w.texts(e.argv)
      .texts(e.env)
      .text(e.working_dir)
      .boolean(e.make_working_dir)
      .text(e.user)
      .boolean(e.tty)
      .number(e.rows)
      .number(e.columns)
      .number(e.timeout_ms);
}

// Whether it can be one; what has no program is for the caller to refuse.
bool get(Reader& r, ExecRequest& e) {
  e.argv = r.texts();
  e.env = r.texts();
  e.working_dir = r.text(kMaxPath);
  e.make_working_dir = r.boolean();
  e.user = r.text(256);
  e.tty = r.boolean();
  e.rows = r.number<std::uint16_t>();
  e.columns = r.number<std::uint16_t>();
  e.timeout_ms = r.number<std::uint64_t>();
  return r.ok() && !any_nul(e.argv) && !any_nul(e.env) && !has_nul(e.working_dir) &&
         !has_nul(e.user);
}

void put(Writer& w, const ServiceRequest& s) {
  w.text(s.name);
  put(w, s.exec);
  w.number(static_cast<std::uint8_t>(s.restart))
      .texts(s.after)
      .number(s.stop_signal)
      .number(s.stop_grace_ms)
      .boolean(s.health.has_value());
  if (!s.health) return;
  w.texts(s.health->argv)
      .number(s.health->port)
      .text(s.health->http_path)
      .number(s.health->interval_ms)
      .number(s.health->timeout_ms)
      .number(s.health->retries)
      .number(s.health->start_period_ms);
}

bool get(Reader& r, ServiceRequest& s) {
  s.name = r.text(64);
  if (!get(r, s.exec)) return false;
  const auto restart = r.number<std::uint8_t>();
  s.restart = static_cast<ServiceRestart>(restart);
  s.after = r.texts(kMaxServices);
  s.stop_signal = r.number<std::int32_t>();
  s.stop_grace_ms = r.number<std::uint32_t>();
  if (r.boolean()) {
    HealthRequest& h = s.health.emplace();
    h.argv = r.texts();
    h.port = r.number<std::uint16_t>();
    h.http_path = r.text(kMaxPath);
    h.interval_ms = r.number<std::uint32_t>();
    h.timeout_ms = r.number<std::uint32_t>();
    h.retries = r.number<std::uint32_t>();
    h.start_period_ms = r.number<std::uint32_t>();
    if (h.argv.empty() == (h.port == 0) || any_nul(h.argv) || has_nul(h.http_path)) return false;
  }
  return r.ok() && !s.name.empty() && restart <= 2 && s.stop_signal >= 1 && s.stop_signal <= 64 &&
         (!s.exec.argv.empty() || s.health);
}

}  // namespace

Payload encode(const Open& m) {
  Writer w;
  w.number(static_cast<std::uint8_t>(m.kind));
  if (m.kind == OpenKind::kExec) {
    put(w, m.exec);
  } else if (m.kind == OpenKind::kServices) {
    w.number(static_cast<std::uint32_t>(m.services.size()));
    for (const ServiceRequest& service : m.services) put(w, service);
  } else {
    w.text(m.file.path).number(m.file.mode).text(m.file.user).boolean(m.file.follow);
  }
  return w.take();
}

Result<Open> decode_open(Bytespan in) {
  Reader r(in);
  Open m;
  const auto kind = r.number<std::uint8_t>();
  if (kind < static_cast<std::uint8_t>(OpenKind::kExec) ||
      kind > static_cast<std::uint8_t>(OpenKind::kServices))
    return malformed("open");
  m.kind = static_cast<OpenKind>(kind);
  if (m.kind == OpenKind::kExec) {
    if (!get(r, m.exec) || m.exec.argv.empty()) return malformed("open");
  } else if (m.kind == OpenKind::kServices) {
    const auto count = r.number<std::uint32_t>();
    if (!r.ok() || count > kMaxServices) return malformed("open");
    m.services.resize(count);
    for (ServiceRequest& service : m.services) {
      if (!get(r, service)) return malformed("open");
    }
  } else {
    m.file.path = r.text(kMaxPath);
    m.file.mode = r.number<std::uint32_t>();
    m.file.user = r.text(256);
    m.file.follow = r.boolean();
    if (m.file.path.empty() || has_nul(m.file.path) || has_nul(m.file.user))
      return malformed("open");
  }
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

// The kind of a record: the phase of a state, or this.
constexpr std::uint8_t kOutputRecord = 255;

Payload encode(const ServiceRecord& m) {
  if (m.output)
    return Writer().number(kOutputRecord).text(m.output->name).text(m.output->text).take();
  const ServiceState state = m.state.value_or(ServiceState{});
  return Writer()
      .number(static_cast<std::uint8_t>(state.phase))
      .text(state.name)
      .number(static_cast<std::uint8_t>(state.health))
      .number(state.pid)
      .number(state.restarts)
      .text(state.message)
      .take();
}

Payload encode(const VmState& m) {
  return Writer()
      .number(static_cast<std::uint8_t>(m.phase))
      .number(m.exit_code)
      .text(m.message)
      .text(m.hint)
      .number(static_cast<std::uint8_t>(m.health))
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
  const auto health = r.number<std::uint8_t>();
  if (health > static_cast<std::uint8_t>(Health::kUnhealthy)) return malformed("state");
  m.health = static_cast<Health>(health);
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

Result<std::optional<ServiceRecord>> take_service_record(std::string& buffer) {
  const auto payload = MVM_TRY(take_record(buffer, "service record"));
  if (!payload) return std::optional<ServiceRecord>();
  Reader r(*payload);
  ServiceRecord m;
  const auto kind = r.number<std::uint8_t>();
  if (kind == kOutputRecord) {
    m.output.emplace();
    m.output->name = r.text(64);
    m.output->text = r.text();
    return finish(r, std::optional(std::move(m)), "service record");
  }
  if (kind > static_cast<std::uint8_t>(ServicePhase::kStopped)) return malformed("service record");
  ServiceState& state = m.state.emplace();
  state.phase = static_cast<ServicePhase>(kind);
  state.name = r.text(64);
  const auto health = r.number<std::uint8_t>();
  if (health > static_cast<std::uint8_t>(Health::kUnhealthy)) return malformed("service record");
  state.health = static_cast<Health>(health);
  state.pid = r.number<std::int32_t>();
  state.restarts = r.number<std::uint32_t>();
  state.message = r.text(4096);
  return finish(r, std::optional(std::move(m)), "service record");
}

}  // namespace mvm::wire
