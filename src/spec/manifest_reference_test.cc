// SPDX-License-Identifier: Apache-2.0
#include "spec/manifest_reference.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

namespace mvm::spec {
namespace {

TEST(ManifestReference, IsWhatTheDocumentationHas) {
  const std::ifstream file(std::string(MVM_SOURCE_DIR) + "/docs/formats/manifest.md");
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), manifest_reference())
      << "write it again: mvmctl validate --reference > docs/formats/manifest.md";
}

TEST(ManifestReference, HasTablesInTablesAndSaysWhatIsNeeded) {
  const std::string text = manifest_reference();
  for (const char* part :
       {"## `[services.NAME.health]`\n", "## `[[files]]`\n", "| `source`, needed | table |",
        "| `command`, needed | text or list: text |", "| `vcpus` | 1 to 64 |",
        "| `env` | table of texts |"})
    EXPECT_THAT(text, testing::HasSubstr(part));
}

}  // namespace
}  // namespace mvm::spec
