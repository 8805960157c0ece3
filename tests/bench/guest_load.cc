// SPDX-License-Identifier: Apache-2.0
// What bench_vmm runs in its guests: static, so that any image can run it.
//
//   guest_load fill KEEP_MIB                  random bytes into all memory but so much; says
//   "filled"
//                                             and holds it
//   guest_load block SERIAL MODE DEPTH SECONDS  MODE: seq-read, seq-write (1 MiB each), rand-read,
//                                             rand-write (4 KiB); past the page cache; prints MB/s
//   guest_load send|receive tcp IP PORT SECONDS
//   guest_load send|receive vsock CID PORT SECONDS  a stream with the host, which does the
//   measuring
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kSequential = 1 << 20;
constexpr std::size_t kRandom = 4096;
constexpr std::size_t kStreamChunk = 256 << 10;

[[noreturn]] void die(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

std::uint64_t next_random(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

std::uint64_t available_kib() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  std::uint64_t value = 0;
  std::string unit;
  while (in >> key >> value >> unit) {
    if (key == "MemAvailable:") return value;
  }
  return 0;
}

int fill(std::uint64_t keep_mib) {
  const std::uint64_t there = available_kib() << 10;
  const std::uint64_t keep = keep_mib << 20;
  if (there <= keep) die("too little memory");
  const std::size_t size = (there - keep) / 4096 * 4096;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  auto* words = static_cast<std::uint64_t*>(memory);
  std::uint64_t state = 0x9e3779b97f4a7c15;
  for (std::size_t i = 0; i < size / sizeof *words; ++i) words[i] = next_random(state);
  std::printf("filled %zu\n", size >> 20);
  std::fflush(stdout);
  for (;;) ::pause();
}

std::string disk_of(const std::string& serial) {
  DIR* dir = ::opendir("/sys/block");
  if (dir == nullptr) die("/sys/block");
  while (const dirent* entry = ::readdir(dir)) {
    std::ifstream in(std::string("/sys/block/") + entry->d_name + "/serial");
    std::string found;
    if (in >> found && found == serial) return std::string("/dev/") + entry->d_name;
  }
  die("no disk " + serial);
}

struct BlockLoad {
  int fd = -1;
  bool write = false;
  bool random = false;
  std::size_t size = 0;      // of one request
  std::uint64_t places = 0;  // of that size, on the disk
  Clock::time_point end;
  std::atomic<std::uint64_t> next{0};  // place, when sequential
  std::atomic<std::uint64_t> done{0};
};

void work(BlockLoad& load, std::uint64_t seed) {
  void* buffer = nullptr;
  if (::posix_memalign(&buffer, 4096, load.size) != 0) die("memory");
  std::uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (std::size_t i = 0; i < load.size / 8; ++i)
    static_cast<std::uint64_t*>(buffer)[i] = next_random(state);
  while (Clock::now() < load.end) {
    const std::uint64_t place = (load.random ? next_random(state) : load.next++) % load.places;
    const auto offset = static_cast<off_t>(place * load.size);
    const ssize_t n = load.write ? ::pwrite(load.fd, buffer, load.size, offset)
                                 : ::pread(load.fd, buffer, load.size, offset);
    if (n != static_cast<ssize_t>(load.size)) die("transfer");
    ++load.done;
  }
  std::free(buffer);
}

int block(const std::string& serial, const std::string& mode, int depth, int seconds) {
  BlockLoad load;
  load.write = mode == "seq-write" || mode == "rand-write";
  load.random = mode == "rand-read" || mode == "rand-write";
  load.size = load.random ? kRandom : kSequential;
  load.fd = ::open(disk_of(serial).c_str(), O_RDWR | O_DIRECT);
  std::uint64_t bytes = 0;
  if (load.fd < 0 || ::ioctl(load.fd, BLKGETSIZE64, &bytes) != 0) die("disk " + serial);
  load.places = bytes / load.size;
  const auto begin = Clock::now();
  load.end = begin + std::chrono::seconds(seconds);
  std::vector<std::thread> threads;
  for (int i = 0; i < depth; ++i)
    threads.emplace_back([&load, i] { work(load, static_cast<std::uint64_t>(i) + 1); });
  for (std::thread& thread : threads) thread.join();
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("%.3f\n", static_cast<double>(load.done * load.size) / took / 1e6);
  return 0;
}

int connect_to(const std::string& family, const std::string& address, int port) {
  const bool tcp = family == "tcp";
  const int fd = ::socket(tcp ? AF_INET : AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  sockaddr_in in{};
  sockaddr_vm vm{};
  if (tcp) {
    in.sin_family = AF_INET;
    in.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, address.c_str(), &in.sin_addr);
  } else {
    const std::uint64_t room = 4 << 20;
    ::setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &room, sizeof room);
    ::setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &room, sizeof room);
    vm.svm_family = AF_VSOCK;
    vm.svm_cid = static_cast<unsigned>(std::atoi(address.c_str()));
    vm.svm_port = static_cast<unsigned>(port);
  }
  const auto* to =
      tcp ? reinterpret_cast<const sockaddr*>(&in) : reinterpret_cast<const sockaddr*>(&vm);
  if (::connect(fd, to, tcp ? sizeof in : sizeof vm) != 0) die("connect");
  return fd;
}

int send_stream(int fd, int seconds) {
  const std::vector<char> chunk(kStreamChunk, 'x');
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  while (Clock::now() < end) {
    if (::send(fd, chunk.data(), chunk.size(), MSG_NOSIGNAL) < 0) die("send");
  }
  ::shutdown(fd, SHUT_WR);
  char last = 0;
  // The host ends the connection when it has all of it.
  while (::recv(fd, &last, 1, 0) > 0) {
  }
  return 0;
}

int receive_stream(int fd) {
  std::vector<char> chunk(kStreamChunk);
  for (;;) {
    const ssize_t n = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (n < 0) die("recv");
    if (n == 0) break;
  }
  // Tells that all has come.
  if (::send(fd, "k", 1, MSG_NOSIGNAL) != 1) die("send");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "fill" && argc == 3) return fill(static_cast<std::uint64_t>(std::atoi(argv[2])));
  if (what == "block" && argc == 6)
    return block(argv[2], argv[3], std::atoi(argv[4]), std::atoi(argv[5]));
  if ((what == "send" || what == "receive") && argc == 6) {
    const int fd = connect_to(argv[2], argv[3], std::atoi(argv[4]));
    return what == "send" ? send_stream(fd, std::atoi(argv[5])) : receive_stream(fd);
  }
  std::fputs("guest_load: see its source\n", stderr);
  return 64;
}
