// SPDX-License-Identifier: Apache-2.0
// The messages of the agent protocol. Each has encode() and a decode_*() that trusts nothing.
//
// Errors: every decode answers kGuestFault naming the message when a field is missing, too long or
// out of range.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "wire/frame.h"

namespace mvm::wire {

using Payload = std::vector<std::byte>;

// First frame in each direction. A version that is not ours ends the connection with both numbers
// named.
struct Hello {
  std::uint16_t version = kProtocolVersion;
  std::string software;  // "mvm-agent 0.1.0"
  std::string system;    // guest: kernel release and machine; host: empty
};

struct NetworkConfig {
  std::string address;  // "10.0.2.15"
  std::uint8_t prefix = 24;
  std::string gateway;
  std::vector<std::string> dns;
};

// A disk that is mounted where it says, before the guest is ready.
struct VolumeMount {
  std::string serial;  // by which the disk is found
  std::string name;    // as people know it
  std::string path;    // absolute; made when missing
};

// What the host wants the guest to be; sent once, right after Hello.
struct Configure {
  std::string hostname;
  std::uint64_t wall_clock_ns = 0;  // nanoseconds since the epoch
  std::vector<std::byte> entropy;   // credited to the guest's random number generator
  std::optional<NetworkConfig> network;
  std::uint32_t pids_limit = 0;  // 0: none
  std::vector<VolumeMount> volumes;
};

// The guest serves requests.
struct Ready {
  std::uint64_t init_us = 0;   // guest uptime when the agent started
  std::uint64_t ready_us = 0;  // guest uptime at this message
};

struct Shutdown {
  std::int32_t signal = 15;       // sent to every process first
  std::uint32_t grace_ms = 1000;  // then SIGKILL
};

// What a stream does. Everything but kExec is done by the agent itself in a child process.
enum class OpenKind : std::uint8_t {
  kExec = 1,   // run a program
  kPut = 2,    // stdin: tar stream, unpacked below `path`
  kGet = 3,    // stdout: tar stream of `path`
  kStat = 4,   // stdout: one encoded FileInfo
  kList = 5,   // stdout: encoded FileInfo records of a directory
  kRead = 6,   // stdout: content of the file `path`
  kWrite = 7,  // stdin: content of the file `path`
  kDiff = 8,   // stdout: encoded DiffEntry records
  kConnect =
      9,  // stdin/stdout: a TCP connection to `path`, written "IP:PORT", from inside the guest
  // stdout: ServiceRecords of the guest's services, which are started unless they run already; the
  // state of each comes first. SIGTERM stops them in their order and then ends the stream.
  kServices = 10,
};

struct ExecRequest {
  std::vector<std::string> argv;
  std::vector<std::string> env;   // "NAME=VALUE"; HOME, USER and PATH are added when missing
  std::string working_dir;        // empty: the user's home when it exists, else /
  bool make_working_dir = false;  // as container engines do for the image's WORKDIR
  std::string user;               // "", name, uid, either with ":group"
  bool tty = false;
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  std::uint64_t timeout_ms = 0;  // 0: none; then SIGTERM, and SIGKILL two seconds later
};

struct FileRequest {
  std::string path;
  std::uint32_t mode = 0644;  // kWrite: permission bits of a new file
  std::string user;           // kPut, kWrite: owner of what is made; empty: as in the tar, or root
  bool follow = false;        // kStat, kGet: resolve a symbolic link at the end of the path
};

// Exactly one of command, port without http_path, and port with it.
struct HealthRequest {
  std::vector<std::string> argv;
  std::uint16_t port = 0;
  std::string http_path;
  std::uint32_t interval_ms = 0;
  std::uint32_t timeout_ms = 0;
  std::uint32_t retries = 0;
  std::uint32_t start_period_ms = 0;
};

enum class ServiceRestart : std::uint8_t { kNo = 0, kOnFailure = 1, kAlways = 2 };

struct ServiceRequest {
  std::string name;
  ExecRequest exec;  // no terminal, no timeout; argv empty: a check of health alone
  ServiceRestart restart = ServiceRestart::kOnFailure;
  std::vector<std::string> after;
  std::int32_t stop_signal = 15;
  std::uint32_t stop_grace_ms = 10'000;
  std::optional<HealthRequest> health;
};

struct Open {
  OpenKind kind = OpenKind::kExec;
  ExecRequest exec;                      // kExec
  std::vector<ServiceRequest> services;  // kServices
  FileRequest file;                      // every other kind
};

enum class Outcome : std::uint8_t {
  kExited = 0,      // code: exit code
  kSignalled = 1,   // code: signal number
  kTimedOut = 2,    // the request's own timeout has passed
  kNotStarted = 3,  // code: errno of exec, chdir, user lookup …
  kRefused = 4,     // a limit or a broken request
  kCancelled = 5,
};

struct Closed {
  Outcome outcome = Outcome::kExited;
  std::int32_t code = 0;
  std::string message;  // for people, may be empty
};

enum class FileType : std::uint8_t {
  kRegular,
  kDirectory,
  kSymlink,
  kBlock,
  kCharacter,
  kFifo,
  kSocket
};

struct FileInfo {
  std::string name;
  FileType type = FileType::kRegular;
  std::uint32_t mode = 0;  // permission bits with setuid, setgid and sticky
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::string link_target;
};

enum class DiffKind : std::uint8_t { kAdded = 'A', kChanged = 'C', kDeleted = 'D' };
struct DiffEntry {
  DiffKind kind = DiffKind::kAdded;
  std::string path;
};

enum class ServicePhase : std::uint8_t {
  kWaiting = 0,  // for another service
  kRunning = 1,
  kBackoff = 2,  // has ended and is started again after a while
  kDone = 3,     // has ended well and is not started again
  kFailed = 4,   // has ended badly, or could not be started, and is not started again
  kStopping = 5,
  kStopped = 6,
};
enum class Health : std::uint8_t { kNone = 0, kStarting = 1, kHealthy = 2, kUnhealthy = 3 };

struct ServiceState {
  std::string name;
  ServicePhase phase = ServicePhase::kWaiting;
  Health health = Health::kNone;
  std::int32_t pid = 0;  // in the guest; 0: none
  std::uint32_t restarts = 0;
  std::string message;  // how it ended last, or why it is unhealthy
};

struct ServiceOutput {
  std::string name;
  std::string text;  // any bytes
};

// What comes from kServices: one of both.
struct ServiceRecord {
  std::optional<ServiceState> state;
  std::optional<ServiceOutput> output;
};

// Supervisor protocol, on the VM's unix socket; streams are passed through to the guest unchanged.
enum class VmPhase : std::uint8_t {
  kStarting = 0,
  kReady = 1,
  kStopping = 2,
  kStopped = 3,
  kFailed = 4,
  kPaused = 5
};
struct VmState {
  VmPhase phase = VmPhase::kStarting;
  std::int32_t exit_code = 0;  // kStopped: of the main process, 0 without one
  std::string message;         // kFailed: the cause
  std::string hint;
  Health health = Health::kNone;  // of everything in it that is checked
};
struct Stop {
  std::uint32_t grace_ms = 10'000;
  bool kill = false;  // do not ask the guest
};

// What a client may ask of a machine that runs or is paused.
enum class RequestKind : std::uint8_t {
  kPause = 1,
  kResume = 2,
  // Holds the guest and has the engine write its state and memory into the machine's saving
  // directory. The guest stays held until the same client says kSaved or is gone: nobody writes to
  // the machine's disk. What the client has not moved away by then is removed.
  kSave = 3,
  kSaved = 4,
};
struct Request {
  RequestKind kind = RequestKind::kPause;
};

// What became of a request: done, or why not.
struct Answer {
  std::optional<Error> failure;
};

Payload encode(const Hello&);
Payload encode(const Configure&);
Payload encode(const Ready&);
Payload encode(const Shutdown&);
Payload encode(const Open&);
Payload encode(const Closed&);
Payload encode(const FileInfo&);
Payload encode(const DiffEntry&);
Payload encode(const ServiceRecord&);
Payload encode(const VmState&);
Payload encode(const Stop&);
Payload encode(const Request&);
Payload encode(const Answer&);

using Bytespan = std::span<const std::byte>;
Result<Hello> decode_hello(Bytespan);  // the version is checked too
Result<Configure> decode_configure(Bytespan);
Result<Ready> decode_ready(Bytespan);
Result<Shutdown> decode_shutdown(Bytespan);
Result<Open> decode_open(Bytespan);
Result<Closed> decode_closed(Bytespan);
Result<VmState> decode_vm_state(Bytespan);
Result<Stop> decode_stop(Bytespan);
Result<Request> decode_request(Bytespan);
Result<Answer> decode_answer(Bytespan);
Result<std::uint32_t> decode_u32(Bytespan);  // kCredit, kStarted, kSignal

// Bytes of a channel that lie on the exchange disk. Units: bytes; whole blocks of the disk.
struct DataAt {
  std::uint32_t offset = 0;
  std::uint32_t length = 0;  // at most kMaxInputChunk
};
Payload encode(const DataAt&);
Result<DataAt> decode_data_at(Bytespan);

struct Resize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
};
Payload encode(const Resize&);
Result<Resize> decode_resize(Bytespan);
Payload encode_u32(std::uint32_t value);
Payload encode_u64(std::uint64_t value);
Result<std::uint64_t> decode_u64(Bytespan);  // kClock

// FileInfo, DiffEntry and ServiceRecord records come as a stream: each is preceded by its length
// (u32). Takes the first whole record out of `buffer`; nothing when it is not complete yet.
Result<std::optional<FileInfo>> take_file_info(std::string& buffer);
Result<std::optional<DiffEntry>> take_diff_entry(std::string& buffer);
Result<std::optional<ServiceRecord>> take_service_record(std::string& buffer);
// The record as it goes into the stream.
std::string record(const Payload& payload);

}  // namespace mvm::wire
