// SPDX-License-Identifier: Apache-2.0
#include "image/assemble.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "image/erofs.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::image {
namespace {

using nlohmann::json;

constexpr int kPlanSchema = 1;

std::string error_to_json(const Error& error) {
  const json object = {{"schema", kPlanSchema},
                       {"code", static_cast<int>(error.code())},
                       {"message", error.text()},
                       {"hint", error.hint()}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Error error_from_json(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object() || !object.contains("code") || !object["code"].is_number_integer() ||
      !object.contains("message") || !object["message"].is_string() || !object.contains("hint") ||
      !object["hint"].is_string()) {
    return Error(Errc::kIo, "the assembling process left no readable result");
  }
  const int code = object["code"].get<int>();
  const bool known = code >= 0 && code <= static_cast<int>(Errc::kIo);
  return Error(known ? static_cast<Errc>(code) : Errc::kIo, object["message"].get<std::string>())
      .with_hint(object["hint"].get<std::string>());
}

// /proc/self/exe by name: inside the fakeroot script that link would mean the shell.
Result<std::string> own_program() {
  std::error_code ec;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", ec);
  if (ec) return Error::from_errno("readlink /proc/self/exe", ec.value());
  return path.string();
}

Result<> assemble_through_fakeroot(const AssemblePlan& plan) {
  const auto fakeroot = sys::find_program("fakeroot");
  if (!fakeroot) {
    return Error(Errc::kUnavailable,
                 "making an image without root needs fakeroot, which is not installed")
        .with_hint("install it with: apt-get install fakeroot");
  }
  const std::string plan_file = plan.work_dir + "/plan.json";
  MVM_TRY(sys::write_file(plan_file, plan_to_json(plan)));
  sys::Command command;
  command.contain = true;
  // It would try each owner for real first, and takes every error but "not permitted" for one: in a
  // user namespace that lacks the owner there is another.
  command.environment = sys::environment_with({"FAKEROOTDONTTRYCHOWN=1"});
  command.argv = {*fakeroot, "--", MVM_TRY(own_program()), kAssembleVerb, plan_file};
  const sys::Output output = MVM_TRY_CTX(sys::run(std::move(command)), "running fakeroot");
  if (output.status.ok()) return {};
  if (!output.out.empty()) return error_from_json(output.out);
  return Error(Errc::kIo,
               "assembling under fakeroot ended with " + output.status.text() + ": " + output.err);
}

std::string text_member(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string plan_to_json(const AssemblePlan& plan) {
  json layers = json::array();
  for (const LayerFile& layer : plan.layers) {
    layers.push_back({{"path", layer.path},
                      {"digest", layer.digest},
                      {"size_bytes", layer.size.count},
                      {"whiteouts", layer.whiteouts}});
  }
  const json object = {{"schema", kPlanSchema},     {"layers", layers},
                       {"tree", plan.tree},         {"directory", plan.directory},
                       {"work_dir", plan.work_dir}, {"output", plan.output}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<AssemblePlan> plan_from_json(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  const Error unreadable(Errc::kInvalidArgument,
                         "the plan file is not an assemble plan of schema 1");
  if (!object.is_object() || object.value("schema", json()) != kPlanSchema) return unreadable;
  AssemblePlan plan;
  plan.tree = text_member(object, "tree");
  plan.directory = text_member(object, "directory");
  plan.work_dir = text_member(object, "work_dir");
  plan.output = text_member(object, "output");
  const json layers = object.value("layers", json());
  if (!layers.is_array() || plan.work_dir.empty() || plan.output.empty()) return unreadable;
  for (const json& layer : layers) {
    if (!layer.is_object()) return unreadable;
    const json size = layer.value("size_bytes", json());
    const json whiteouts = layer.value("whiteouts", json());
    if (!size.is_number_unsigned() || !whiteouts.is_boolean()) return unreadable;
    plan.layers.push_back(LayerFile{text_member(layer, "path"), text_member(layer, "digest"),
                                    Bytes{size.get<std::uint64_t>()}, whiteouts.get<bool>()});
  }
  return plan;
}

Result<> assemble_here(const AssemblePlan& plan, Progress& progress) {
  std::string tree = plan.directory;
  if (tree.empty()) {
    tree = plan.tree;
    if (tree.empty()) {
      tree = plan.work_dir + "/tree";
      if (::mkdir(tree.c_str(), 0700) != 0) return Error::from_errno("mkdir " + tree);
    }
    Unpacker unpacker = MVM_TRY(Unpacker::create(tree));
    for (const LayerFile& layer : plan.layers) MVM_TRY(unpacker.add_layer(layer, progress));
    MVM_TRY(unpacker.finish());
  }
  progress.update("making the EROFS file", {}, {});
  return make_erofs(tree, plan.output);
}

Result<> assemble(const AssemblePlan& plan, Progress& progress) {
  if (::geteuid() == 0) return assemble_here(plan, progress);
  progress.update("assembling the image", {}, {});
  return assemble_through_fakeroot(plan);
}

int assemble_main(const std::string& plan_file) {
  const auto run = [&]() -> Result<> {
    const std::string text = MVM_TRY(sys::read_file(plan_file));
    const AssemblePlan plan = MVM_TRY(plan_from_json(text));
    NoProgress progress;
    return assemble_here(plan, progress);
  };
  const Result<> done = run();
  if (done.has_value()) return 0;
  // On stdout: the disk may be what is full.
  (void)sys::write_full(STDOUT_FILENO, error_to_json(done.error()));
  return 1;
}

}  // namespace mvm::image
