// SPDX-License-Identifier: Apache-2.0
#include "docker/engine_api.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <list>
#include <nlohmann/json.hpp>
#include <vector>

#include "sys/io.h"

namespace mvm::docker {
namespace {

// 1.40 (Docker 19.03) is the first that has all that is asked of it; newer ones than these are
// spoken to by the newest that we know.
constexpr int kOldest = 40;
constexpr int kNewest = 47;
constexpr std::size_t kMostBody = std::size_t{16} << 20;

struct CloseEasy {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Easy = std::unique_ptr<CURL, CloseEasy>;
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, FreeList>;

std::size_t append_body(char* data, std::size_t, std::size_t size, void* to) {
  auto& body = *static_cast<std::string*>(to);
  if (body.size() + size > kMostBody) return 0;
  body.append(data, size);
  return size;
}

struct Source {
  int fd;
  const std::atomic<bool>& whole;
};

std::size_t read_source(char* to, std::size_t, std::size_t size, void* from) {
  const auto& source = *static_cast<const Source*>(from);
  const ssize_t n = ::read(source.fd, to, size);
  if (n < 0 || (n == 0 && !source.whole)) return CURL_READFUNC_ABORT;
  return static_cast<std::size_t>(n);
}

// "Api-Version: 1.41"
std::size_t take_version(char* data, std::size_t, std::size_t size, void* to) {
  constexpr std::string_view kName = "api-version:";
  std::string line(data, size);
  std::ranges::transform(line, line.begin(), [](unsigned char c) { return std::tolower(c); });
  if (line.starts_with(kName)) {
    const std::size_t dot = line.find("1.");
    if (dot != std::string::npos) *static_cast<int*>(to) = std::atoi(line.c_str() + dot + 2);
  }
  return size;
}

Error connection_error(CURLcode code, const std::string& socket) {
  if (code == CURLE_COULDNT_CONNECT && ::access(socket.c_str(), W_OK) != 0 && errno == EACCES)
    return Error(Errc::kPermission, "this user may not use the Docker socket " + socket)
        .with_hint("add the user to the group docker, or use a rootless daemon: DOCKER_HOST");
  if (code == CURLE_COULDNT_CONNECT)
    return Error(Errc::kUnavailable, "no Docker daemon answers at " + socket)
        .with_hint("start it, or name another socket: DOCKER_HOST=unix:///PATH");
  return {Errc::kIo, "the Docker daemon at " + socket + ": " + curl_easy_strerror(code)};
}

}  // namespace

std::string message_of(const Reply& reply) {
  const auto object = nlohmann::json::parse(reply.body, nullptr, false);
  if (object.is_object() && object.contains("message") && object["message"].is_string())
    return object["message"].get<std::string>();
  return "status " + std::to_string(reply.status);
}

Error failure(std::string_view what, const Reply& reply) {
  const std::string message = message_of(reply);
  const auto has = [&](const char* sign) { return message.find(sign) != std::string::npos; };
  Errc code = Errc::kIo;
  if (reply.status == 404) code = Errc::kNotFound;
  if (has("port is already allocated") || has("address already in use")) code = Errc::kBusy;
  if (has("no space left on device")) code = Errc::kNoSpace;
  return {code, "Docker: " + std::string(what) + ": " + message};
}

struct EngineApi::State {
  struct Stream {
    Easy handle;
    std::function<void(std::string_view)> on_data;
    std::function<void(Result<int>)> on_end;
  };

  explicit State(std::string path) : socket(std::move(path)), multi(curl_multi_init()) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    for (Stream& s : streams) curl_multi_remove_handle(multi, s.handle.get());
    curl_multi_cleanup(multi);
  }

  // The host is a word that HTTP wants; nobody looks at it.
  void prepare(CURL* handle, const std::string& method, const std::string& target) const {
    const std::string version = api == 0 ? "" : "/v1." + std::to_string(api);
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
    curl_easy_setopt(handle, CURLOPT_URL, ("http://docker" + version + target).c_str());
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method.c_str());
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
  }

  Result<Reply> perform(CURL* handle) const {
    Reply reply;
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, append_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &reply.body);
    const CURLcode code = curl_easy_perform(handle);
    if (code != CURLE_OK) return connection_error(code, socket);
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    reply.status = static_cast<int>(status);
    return reply;
  }

  static std::size_t stream_data(char* data, std::size_t, std::size_t size, void* stream) {
    const auto& s = *static_cast<Stream*>(stream);
    if (s.on_data) s.on_data({data, size});
    return size;
  }

  // A stream that has ended is forgotten before its callback, which may begin another.
  void tell_ends() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      CURL* handle = message->easy_handle;
      long status = 0;
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
      curl_multi_remove_handle(multi, handle);
      const auto it =
          std::ranges::find_if(streams, [&](const Stream& s) { return s.handle.get() == handle; });
      if (it == streams.end()) continue;
      const auto on_end = std::move(it->on_end);
      streams.erase(it);
      if (code == CURLE_OK)
        on_end(static_cast<int>(status));
      else
        on_end(connection_error(code, socket));
    }
  }

  std::string socket;
  int api = 0;                  // the minor version
  Easy easy{curl_easy_init()};  // kept, and with it the connection
  CURLM* multi;
  std::list<Stream> streams;
};

EngineApi::EngineApi(std::unique_ptr<State> state) : state_(std::move(state)) {}
EngineApi::EngineApi(EngineApi&&) noexcept = default;
EngineApi& EngineApi::operator=(EngineApi&&) noexcept = default;
EngineApi::~EngineApi() = default;

Result<EngineApi> EngineApi::connect(const std::string& socket) {
  EngineApi out(std::make_unique<State>(socket));
  CURL* handle = out.state_->easy.get();
  int version = 0;
  out.state_->prepare(handle, "GET", "/_ping");
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_version);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &version);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, 10'000L);
  const Reply reply = MVM_TRY(out.state_->perform(handle));
  if (!reply.ok()) return failure("asking for its version", reply);
  if (version < kOldest)
    return Error(Errc::kUnsupported, "the Docker daemon at " + socket + " speaks version 1." +
                                         std::to_string(version) + " of its API, 1." +
                                         std::to_string(kOldest) + " is needed")
        .with_hint("upgrade it to Docker 19.03 or Podman 4");
  out.state_->api = std::min(version, kNewest);
  return out;
}

Result<Reply> EngineApi::call(const std::string& method, const std::string& target,
                              const std::string& body, Millis limit) {
  CURL* handle = state_->easy.get();
  curl_easy_reset(handle);
  state_->prepare(handle, method, target);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(limit.count()));
  const Headers headers(curl_slist_append(nullptr, "Content-Type: application/json"));
  if (method == "POST") {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  }
  return state_->perform(handle);
}

Result<Reply> EngineApi::upload(const std::string& target, int fd, const std::atomic<bool>& whole) {
  Source source{fd, whole};
  CURL* handle = state_->easy.get();
  curl_easy_reset(handle);
  state_->prepare(handle, "POST", target);
  Headers headers(curl_slist_append(nullptr, "Content-Type: application/x-tar"));
  curl_slist_append(headers.get(), "Transfer-Encoding: chunked");
  curl_slist_append(headers.get(), "Expect:");
  curl_easy_setopt(handle, CURLOPT_POST, 1L);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_READFUNCTION, read_source);
  curl_easy_setopt(handle, CURLOPT_READDATA, &source);
  curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
  return state_->perform(handle);
}

void EngineApi::stream(const std::string& method, const std::string& target,
                       std::function<void(std::string_view)> on_data,
                       std::function<void(Result<int>)> on_end) {
  State::Stream& s = state_->streams.emplace_back();
  s.handle.reset(curl_easy_init());
  s.on_data = std::move(on_data);
  s.on_end = std::move(on_end);
  CURL* handle = s.handle.get();
  state_->prepare(handle, method, target);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, State::stream_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &s);
  if (method == "POST") curl_easy_setopt(handle, CURLOPT_POSTFIELDS, "");
  curl_multi_add_handle(state_->multi, handle);
}

Result<> EngineApi::await_begun() {
  const Clock::time_point until = Clock::now() + Millis(1000);
  const auto begun = [](const State::Stream& s) {
    long status = 0;
    curl_easy_getinfo(s.handle.get(), CURLINFO_RESPONSE_CODE, &status);
    return status != 0;
  };
  for (;;) {
    int running = 0;
    curl_multi_perform(state_->multi, &running);
    const auto left = std::chrono::duration_cast<Millis>(until - Clock::now());
    if (std::ranges::all_of(state_->streams, begun) || left.count() <= 0) return {};
    const CURLMcode code =
        curl_multi_poll(state_->multi, nullptr, 0, static_cast<int>(left.count()), nullptr);
    if (code != CURLM_OK) return Error(Errc::kIo, curl_multi_strerror(code));
  }
}

Result<> EngineApi::poll(std::span<const int> fds, Millis limit) {
  int running = 0;
  curl_multi_perform(state_->multi, &running);
  const std::size_t before = state_->streams.size();
  state_->tell_ends();
  if (state_->streams.size() != before) return {};
  std::vector<curl_waitfd> others;
  for (const int fd : fds) others.push_back({fd, CURL_WAIT_POLLIN, 0});
  const CURLMcode code =
      curl_multi_poll(state_->multi, others.data(), static_cast<unsigned>(others.size()),
                      static_cast<int>(limit.count()), nullptr);
  if (code != CURLM_OK) return Error(Errc::kIo, curl_multi_strerror(code));
  return {};
}

}  // namespace mvm::docker
