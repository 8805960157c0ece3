// SPDX-License-Identifier: Apache-2.0
#include "build/job.h"

#include <array>
#include <nlohmann/json.hpp>

#include "store/config_json.h"

namespace mvm::build {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kSchema = 1;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

constexpr std::array<std::pair<Event::State, std::string_view>, 3> kStates = {
    {{Event::State::kBegun, "begun"},
     {Event::State::kDone, "done"},
     {Event::State::kCached, "cached"}}};

Result<Event> event_of(const Json& object) {
  Event out;
  out.step = text_member(object, "step");
  const std::string state = text_member(object, "event");
  for (const auto& [value, word] : kStates) {
    if (word == state) out.state = value;
  }
  if (const Json took = object.value("took_ms", Json()); took.is_number_unsigned())
    out.took = Millis(took.get<std::int64_t>());
  if (out.step.empty()) return Error(Errc::kGuestFault, "mvm-build told of a step without a name");
  return out;
}

Json verity_json(const seal::Verity& verity) {
  return {{"root_hash", verity.root_hash},
          {"salt", verity.salt},
          {"data_blocks", verity.data_blocks},
          {"hash_block", verity.hash_block}};
}

Result<seal::Verity> verity_of(const Json& object) {
  seal::Verity out;
  out.root_hash = text_member(object, "root_hash");
  out.salt = text_member(object, "salt");
  const Json data = object.value("data_blocks", Json());
  const Json hash = object.value("hash_block", Json());
  if (out.root_hash.size() != 64 || out.salt.size() != 64 || !data.is_number_unsigned() ||
      !hash.is_number_unsigned())
    return Error(Errc::kGuestFault, "mvm-build's result has a hash tree that is none");
  out.data_blocks = data.get<std::uint64_t>();
  out.hash_block = hash.get<std::uint64_t>();
  return out;
}

Result<Built> built_of(const Json& object) {
  Built out;
  out.digest = text_member(object, "digest");
  const Json size = object.value("size_bytes", Json());
  if (out.digest.size() != 64 || !size.is_number_unsigned())
    return Error(Errc::kGuestFault, "mvm-build's result has no digest or no size");
  out.size = Bytes{size.get<std::uint64_t>()};
  out.config = MVM_TRY(store::image_config_from_json(dump(object.value("config", Json()))));
  if (const Json verity = object.value("verity", Json()); verity.is_object())
    out.verity = MVM_TRY(verity_of(verity));
  return out;
}

Error error_of(const Json& object) {
  const std::string name = text_member(object, "code");
  Errc code = Errc::kIo;
  for (int i = 0; i <= static_cast<int>(Errc::kIo); ++i) {
    if (errc_name(static_cast<Errc>(i)) == name) code = static_cast<Errc>(i);
  }
  return Error(code, text_member(object, "error")).with_hint(text_member(object, "hint"));
}

}  // namespace

std::string job_to_json(const Job& job) {
  return dump({{"schema", kSchema},
               {"manifest", Json::parse(spec::manifest_to_json(job.manifest))},
               {"project", job.project},
               {"work_dir", job.work_dir},
               {"cache_dir", job.cache_dir},
               {"output", job.output},
               {"source_key", job.source_key},
               {"apt_list", job.apt_sources.list},
               {"apt_deb822", job.apt_sources.deb822},
               {"nix_library", job.nix_library},
               {"refresh", job.refresh}});
}

Result<Job> job_from_json(std::string_view text) {
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object() || object.value("schema", Json()) != kSchema)
    return Error(Errc::kInvalidArgument, "the job is not one of schema 1");
  Job job;
  job.manifest =
      MVM_TRY(spec::manifest_from_json(dump(object.value("manifest", Json())), "manifest"));
  job.project = text_member(object, "project");
  job.work_dir = text_member(object, "work_dir");
  job.cache_dir = text_member(object, "cache_dir");
  job.output = text_member(object, "output");
  job.source_key = text_member(object, "source_key");
  job.apt_sources = {text_member(object, "apt_list"), text_member(object, "apt_deb822")};
  job.nix_library = text_member(object, "nix_library");
  job.refresh = object.value("refresh", Json()) == true;
  for (const std::string* path : {&job.project, &job.work_dir, &job.cache_dir, &job.output}) {
    if (!path->starts_with("/"))
      return Error(Errc::kInvalidArgument, "the job has a path that is not absolute");
  }
  return job;
}

std::string to_line(const Event& event) {
  std::string_view state;
  for (const auto& [value, word] : kStates) {
    if (value == event.state) state = word;
  }
  return dump({{"event", state}, {"step", event.step}, {"took_ms", event.took.count()}}) + "\n";
}

std::string to_line(const Built& built) {
  Json out = {{"digest", built.digest},
              {"size_bytes", built.size.count},
              {"config", Json::parse(store::image_config_to_json(built.config))}};
  if (built.verity) out["verity"] = verity_json(*built.verity);
  return dump(out) + "\n";
}

std::string to_line(const Error& error) {
  return dump(
             {{"error", error.text()}, {"code", errc_name(error.code())}, {"hint", error.hint()}}) +
         "\n";
}

Result<Line> parse_line(std::string_view text) {
  const Json object = Json::parse(text, nullptr, false);
  Line out;
  if (!object.is_object()) return Error(Errc::kGuestFault, "mvm-build said what is no JSON object");
  if (object.contains("event"))
    out.event = MVM_TRY(event_of(object));
  else if (object.contains("error"))
    out.error = error_of(object);
  else
    out.built = MVM_TRY(built_of(object));
  return out;
}

}  // namespace mvm::build
