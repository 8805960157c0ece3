// SPDX-License-Identifier: Apache-2.0
// Stands in for libFuzzer where there is none: gives every file of the named directories to the
// target once. An input that aborts or crashes ends the program; its name has been printed last.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<fs::path> inputs;
  for (int i = 1; i < argc; ++i) {
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator(argv[i], failure)) {
      if (entry.is_regular_file()) inputs.push_back(entry.path());
    }
    if (failure) return std::fprintf(stderr, "%s: %s\n", argv[i], failure.message().c_str()), 1;
  }
  if (inputs.empty()) return std::fputs("usage: replay CORPUS-DIRECTORY...\n", stderr), 1;
  std::sort(inputs.begin(), inputs.end());
  for (const fs::path& path : inputs) {
    std::printf("%s\n", path.c_str());
    std::fflush(stdout);
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  return 0;
}
