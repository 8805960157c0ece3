// SPDX-License-Identifier: Apache-2.0
#include "bench_vmm_guest.h"

#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "backend/registry/registry.h"
#include "bench.h"
#include "image/pull.h"
#include "kernel/initramfs.h"
#include "kernel/obtain.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::bench {
namespace {

constexpr Millis kPatience{120'000};
constexpr std::uint32_t kQemuCid = 77;
constexpr const char* kTapMac = "52:54:00:12:34:57";

spec::VmSpec spec_for(const Parts& parts, const Wanted& wanted, const std::string& run_dir) {
  spec::VmSpec vm;
  vm.id = "c0ffee";
  vm.name = vm.hostname = "bench";
  vm.accelerator = "kvm";
  vm.kernel_path = parts.kernel;
  vm.image_path = parts.image;
  vm.limits.vcpus = wanted.vcpus;
  vm.limits.memory = mebibytes(wanted.memory_mib);
  vm.run_dir = vm.data_dir = run_dir;
  vm.jail = false;  // the benchmarks name further files in the plan
  vm.remove_when_done = true;
  vm.network.mode = wanted.user_network ? spec::NetworkMode::kUser : spec::NetworkMode::kNone;
  if (wanted.engine == EngineName::kOurs) {
    vm.backend = "mvm-vmm";
    vm.engine_program = parts.programs + "/mvm-vmm";
    vm.network_program = parts.programs + "/mvm-netd";
    vm.initramfs_path = parts.vsock_initramfs;
    return vm;
  }
  vm.backend = "qemu";
  const auto qemu = sys::find_program("qemu-system-x86_64");
  if (!qemu) die("qemu-system-x86_64 is not installed");
  vm.engine_program = *qemu;
  vm.initramfs_path = wanted.vhost_vsock ? parts.vsock_initramfs : parts.serial_initramfs;
  if (wanted.vhost_vsock)
    vm.cmdline_extra = "mvm.vsock=" + std::to_string(backend::kAgentVsockPort);
  return vm;
}

void extend_ours(const Wanted& wanted, backend::LaunchPlan& plan) {
  auto config = nlohmann::ordered_json::parse(plan.files.front().second);
  if (!wanted.disk.empty())
    config["drives"].push_back({{"drive_id", "load"},
                                {"path_on_host", wanted.disk},
                                {"is_root_device", false},
                                {"is_read_only", false},
                                {"cache_type", "Unsafe"}});
  if (!wanted.tap.empty())
    config["network-interfaces"] = {
        {{"iface_id", "net0"}, {"host_dev_name", wanted.tap}, {"guest_mac", kTapMac}}};
  plan.files.front().second = config.dump();
}

// mvm's own command line is the fastest found with QEMU 7.2 and KVM: without the PIT and the PIC it
// boots no faster, and without the RTC a stock kernel waits for one. Only the exchange disk is no
// part of the comparison.
void tune_qemu(std::vector<std::string>& argv) {
  const auto exchange = std::ranges::find(argv, "-add-fd");
  if (exchange != argv.end()) argv.erase(exchange, exchange + 6);
}

void extend_qemu(const Wanted& wanted, backend::LaunchPlan& plan) {
  auto& argv = plan.argv;
  tune_qemu(argv);
  plan.has_exchange = false;
  const auto add = [&argv](std::vector<std::string> more) {
    argv.insert(argv.end(), more.begin(), more.end());
  };
  if (!wanted.disk.empty())
    add({"-blockdev",
         nlohmann::json({{"driver", "raw"},
                         {"node-name", "load"},
                         {"cache", {{"direct", false}, {"no-flush", true}}},
                         {"file", {{"driver", "file"}, {"filename", wanted.disk}}}})
             .dump(),
         "-device", "virtio-blk-device,drive=load,serial=load"});
  if (!wanted.tap.empty())
    add({"-netdev",
         "tap,id=net0,ifname=" + wanted.tap +
             ",script=no,downscript=no,vhost=" + (wanted.vhost_net ? "on" : "off"),
         "-device", std::string("virtio-net-device,netdev=net0,mac=") + kTapMac});
  if (wanted.vhost_vsock)
    add({"-device", "vhost-vsock-device,guest-cid=" + std::to_string(kQemuCid)});
}

backend::LaunchPlan plan_for(const backend::Backend& backend, const spec::VmSpec& vm,
                             const Wanted& wanted) {
  backend::LaunchPlan plan = must(backend.plan(vm));
  if (wanted.engine == EngineName::kOurs)
    extend_ours(wanted, plan);
  else
    extend_qemu(wanted, plan);
  if (!wanted.tap.empty())
    plan.network = backend::GuestNetwork{"10.77.0.2", 24, "10.77.0.1", "10.77.0.1"};
  return plan;
}

sys::UniqueFd listen_vsock(std::uint32_t port) {
  sys::UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = port;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 1) != 0)
    die("listen on vsock: " + Error::from_errno("bind").text());
  return fd;
}

std::string new_run_dir(const Parts& parts) {
  return must(sys::TempDir::create(parts.work_dir, "vm-")).keep();
}

}  // namespace

Parts make_parts(const std::string& programs, const std::string& load,
                 const std::string& work_dir) {
  const store::Layout layout = must(store::Layout::from_environment());
  const kernel::Kernel kernel =
      must(kernel::obtain(layout.kernel_cache_dir(), spec::Arch::kX86_64));
  const auto initramfs = [&](kernel::AgentChannel channel) {
    return must(kernel::initramfs_for(kernel, programs + "/mvm-agent", layout.initramfs_cache_dir(),
                                      {.channel = channel}));
  };
  store::Catalog catalog = must(store::Catalog::open(layout));
  image::NoProgress quiet;
  image::PullRequest request;
  request.source = "busybox";
  Parts out;
  out.programs = programs;
  out.load = load;
  out.work_dir = work_dir;
  out.kernel = kernel.vmlinux_path;
  out.image = layout.blob_path(must(image::resolve(request, layout, catalog, quiet)).digest);
  out.serial_initramfs = initramfs(kernel::AgentChannel::kVirtioSerial);
  out.vsock_initramfs = initramfs(kernel::AgentChannel::kVsock);
  return out;
}

sys::Child start_monitor(const Parts& parts, const std::string& run_dir) {
  sys::Command command;
  command.argv = {parts.programs + "/mvm-vmm", "--id", "bench", "--api-sock", kApiSocket};
  command.working_dir = run_dir;
  command.die_with_parent = true;
  command.fds = {{2, 2}};
  return must(sys::spawn(command));
}

// Wakes when something is made in the directory, so that a processor is the measured program's.
class MadeIn {
 public:
  explicit MadeIn(const std::string& directory) : fd_(::inotify_init1(IN_CLOEXEC)) {
    if (!fd_ || ::inotify_add_watch(fd_.get(), directory.c_str(), IN_CREATE) < 0)
      die("inotify: " + directory);
  }
  void wait(const Deadline& deadline) {
    pollfd ready{fd_.get(), POLLIN, 0};
    const int n = ::poll(&ready, 1, static_cast<int>(kPatience.count()));
    if (n <= 0) die(deadline.error().text());
    std::array<char, 4096> events;
    (void)!::read(fd_.get(), events.data(), events.size());
  }

 private:
  sys::UniqueFd fd_;
};

// The file comes before the listening, by two system calls.
sys::UniqueFd connect_when_listening(const std::string& path) {
  const Deadline deadline = Deadline::after(kPatience, "the monitor's listening");
  MadeIn directory(path.substr(0, path.find_last_of('/')));
  for (;;) {
    auto fd = sys::connect_unix(path);
    if (fd) return std::move(*fd);
    if (deadline.passed()) die(deadline.error().text());
    if (fd.error().code() == Errc::kNotFound && !sys::path_exists(path)) directory.wait(deadline);
  }
}

Guest::Guest(const Parts&, std::string run_dir)
    : loop_(must(sys::EventLoop::create())),
      run_dir_(std::move(run_dir)),
      place_(run_dir_),
      streams_([this](std::uint32_t stream, wire::FrameType type, std::uint8_t channel,
                      std::span<const std::byte> payload) {
        link_->send({stream, type, channel, payload});
      }) {}

Guest::Guest(const Parts& parts, const Wanted& wanted) : Guest(parts, new_run_dir(parts)) {
  name_ = wanted.engine == EngineName::kOurs ? "mvm-vmm" : "QEMU";
  const spec::VmSpec vm = spec_for(parts, wanted, run_dir_);
  const backend::Backend& backend = *must(backend::find_backend(vm.backend));
  const backend::LaunchPlan plan = plan_for(backend, vm, wanted);
  configure_ = supervisor::configure_for(vm, plan);
  if (!plan.working_dir.empty()) place_ = plan.working_dir;
  if (wanted.vhost_vsock) watch_listener(listen_vsock(backend::kAgentVsockPort));
  machine_ = must(backend.launch(plan));
  console_ = machine_->take_console();
  backend::Machine::Events events;
  events.on_agent = [this, elsewhere = wanted.vhost_vsock](sys::UniqueFd fd) {
    if (elsewhere)
      unused_ = std::move(fd);
    else
      attach(std::move(fd));
  };
  events.on_end = [this](const backend::MachineEnd& end) {
    trouble_ += "the engine has ended, " + end.status.text() + ": " + end.engine_output;
  };
  if (auto watched = machine_->watch(loop_, std::move(events)); !watched)
    die(watched.error().text());
}

std::unique_ptr<Guest> Guest::restored(const Parts& parts, const std::string& state,
                                       const std::string& memory) {
  std::unique_ptr<Guest> out(new Guest(parts, new_run_dir(parts)));
  spec::VmSpec vm;
  vm.hostname = "restored";
  out->configure_ = supervisor::configure_for(vm, {});
  out->watch_listener(must(
      sys::listen_unix(out->run_dir_ + "/vsock.sock_" + std::to_string(backend::kAgentVsockPort))));
  out->monitor_ = start_monitor(parts, out->run_dir_);
  const nlohmann::json load = {
      {"snapshot_path", state},
      {"mem_backend", {{"backend_type", "File"}, {"backend_path", memory}}},
      {"resume_vm", true}};
  out->api("PUT", "/snapshot/load", load.dump());
  return out;
}

Guest::~Guest() {
  link_.reset();
  if (listener_) loop_.remove(listener_.get());
  machine_.reset();
  monitor_.kill_and_reap();
  (void)sys::remove_tree(run_dir_);
}

void Guest::watch_listener(sys::UniqueFd listener) {
  listener_ = std::move(listener);
  const auto accept = [this](std::uint32_t) {
    auto agent = sys::accept_connection(listener_.get());
    if (!agent) return;
    loop_.remove(listener_.get());
    listener_.reset();
    attach(std::move(*agent));
  };
  if (auto added = loop_.add(listener_.get(), EPOLLIN, accept); !added) die(added.error().text());
}

void Guest::attach(sys::UniqueFd fd) {
  link_ = std::make_unique<supervisor::GuestLink>(
      loop_, std::move(fd),
      supervisor::GuestLink::Handlers{
          [this](const wire::Ready&) { ready_ = true; },
          [this](const Error& error) { trouble_ += error.text() + "; "; }, [] {},
          [this](const wire::Frame& frame) { return streams_.handle(frame); }});
  if (auto started = link_->start(configure_); !started) die(started.error().text());
}

template <class Condition>
void Guest::until(Condition condition) {
  const Deadline deadline = Deadline::after(kPatience, "what the benchmark waits for");
  while (!condition()) {
    if (!trouble_.empty()) die_of_trouble();
    if (auto turn = loop_.run_once(deadline); !turn) die(turn.error().text());
  }
}

// The end of the engine may be behind the end of its channel.
void Guest::die_of_trouble() {
  const Deadline deadline = Deadline::after(Millis(500), "more of it");
  while (loop_.run_once(deadline)) {
  }
  die(name_ + ": " + trouble_);
}

void Guest::wait_ready() {
  until([this] { return ready_; });
}

void Guest::open_stream(const wire::Open& open) {
  output_.clear();
  closed_.reset();
  agent_client::StreamHandlers handlers;
  handlers.on_data = [this](std::uint8_t channel, std::span<const std::byte> bytes) {
    output_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    stream_->consumed(channel, bytes.size());
  };
  handlers.on_closed = [this](const wire::Closed& end) { closed_ = end; };
  stream_ = must(streams_.open(open, std::move(handlers)));
}

std::string Guest::run(const std::vector<std::string>& argv) {
  wire::Open open;
  open.exec.argv = argv;
  open_stream(open);
  stream_->send_eof();
  until([this] { return closed_.has_value(); });
  if (closed_->outcome != wire::Outcome::kExited || closed_->code != 0)
    die(argv[0] + " in the guest: " + closed_->message + output_);
  return output_;
}

std::string Guest::run_to_line(const std::vector<std::string>& argv) {
  wire::Open open;
  open.exec.argv = argv;
  open_stream(open);
  stream_->send_eof();
  until([this] { return closed_ || output_.find('\n') != std::string::npos; });
  if (closed_) die(argv[0] + " in the guest has ended: " + output_);
  return output_;
}

void Guest::put_load(const Parts& parts) {
  const std::string program = must(sys::read_file(parts.load));
  wire::Open open;
  open.kind = wire::OpenKind::kWrite;
  open.file.path = "/tmp/load";
  open.file.mode = 0755;
  open_stream(open);
  std::span<const std::byte> rest = std::as_bytes(std::span(program));
  while (!rest.empty()) {
    until([this] { return closed_ || stream_->credit() > 0; });
    if (closed_) break;
    const std::size_t step =
        std::min<std::size_t>({rest.size(), stream_->credit(), wire::kMaxDataChunk});
    stream_->send(rest.first(step));
    rest = rest.subspan(step);
  }
  stream_->send_eof();
  until([this] { return closed_.has_value(); });
  if (closed_->code != 0 || closed_->outcome != wire::Outcome::kExited)
    die("putting the load program: " + closed_->message);
}

void Guest::api(const std::string& method, const std::string& target, const std::string& body) {
  if (!client_)
    client_ =
        std::make_unique<http::Client>(loop_, connect_when_listening(place_ + "/" + kApiSocket));
  std::optional<Result<http::Response>> answer;
  client_->send(method, target, body, kPatience,
                [&answer](Result<http::Response> got) { answer = std::move(got); });
  until([&answer] { return answer.has_value(); });
  const http::Response response = must(std::move(*answer));
  if (response.status / 100 != 2) die(method + " " + target + ": " + response.body);
}

pid_t Guest::pid() const { return machine_ ? machine_->pid() : monitor_.pid(); }

}  // namespace mvm::bench
