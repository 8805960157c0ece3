// SPDX-License-Identifier: Apache-2.0
#include "docker/container.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "image/export/layer_writer.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::docker {
namespace {

using nlohmann::json;

constexpr int kNotFound = 404;
constexpr int kConflict = 409;
constexpr int kNotModified = 304;

// As long as a daemon may take to remove a container.
constexpr Millis kMostRemoval{10'000};

std::string image_name(const std::string& digest) {
  return std::string(kRepository) + ":" + digest;
}

// As a query wants it; only what is in our own filters needs more than itself.
std::string quoted(const std::string& text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.') {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

std::string by_label(const char* label) {
  return "filters=" + quoted(json({{"label", json::array({label})}}).dump());
}

Result<json> list(EngineApi& api, const std::string& target, const char* what) {
  const Reply reply = MVM_TRY(api.call("GET", target));
  if (!reply.ok()) return failure(what, reply);
  json out = json::parse(reply.body, nullptr, false);
  if (!out.is_array()) return Error(Errc::kIo, std::string("Docker: ") + what + ": not a list");
  return out;
}

std::string text_of(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::string label_of(const json& object, const char* label) {
  const auto it = object.find("Labels");
  return it != object.end() && it->is_object() ? text_of(*it, label) : std::string();
}

Result<bool> has_image(EngineApi& api, const std::string& digest) {
  const Reply reply = MVM_TRY(api.call("GET", "/images/" + image_name(digest) + "/json"));
  if (reply.status == kNotFound) return false;
  if (!reply.ok()) return failure("looking for the image", reply);
  return true;
}

// The image's file is written as an archive at one end of a pipe and sent from the other.
Result<> import(EngineApi& api, const std::string& digest, const std::string& path) {
  sys::Pipe pipe = MVM_TRY(sys::make_pipe());
  const std::string to = "/dev/fd/" + std::to_string(pipe.write_end.get());
  Result<> written;
  std::atomic<bool> whole = false;
  std::thread writer([&] {
    written = image::write_layer(path, to);
    whole = written.has_value();
    pipe.write_end.reset();
  });
  auto reply =
      api.upload("/images/create?fromSrc=-&repo=" + std::string(kRepository) + "&tag=" + digest +
                     "&changes=" + quoted("LABEL " + std::string(kImageLabel) + "=" + digest),
                 pipe.read_end.get(), whole);
  pipe.read_end.reset();  // ends a writer that nobody reads any more
  writer.join();
  // Who could not read the image has cut the request off; who could not send it has closed the
  // pipe.
  const bool lost = !written && written.error().errnum() == EPIPE;
  if (!written && !lost) return written.error();
  if (!reply) return reply.error();
  if (!reply->ok()) return failure("importing the image", *reply);
  // A failure on the way comes as a line of its own, after status 200.
  if (reply->body.find("\"error\"") != std::string::npos)
    return Error(Errc::kIo, "Docker: importing the image: " + reply->body);
  return written;
}

Error name_taken(const Order& order) {
  return Error(Errc::kAlreadyExists,
               "Docker has a container '" + order.name + "' that is not one of mvm's")
      .with_hint("rename or remove it: docker rename " + order.name + " OTHER");
}

// A container of ours that a killed supervisor has left.
Result<> clear_name(EngineApi& api, const Order& order) {
  const Reply reply = MVM_TRY(api.call("GET", "/containers/" + order.name + "/json"));
  if (reply.status == kNotFound) return {};
  if (!reply.ok()) return failure("looking for container " + order.name, reply);
  const json found = json::parse(reply.body, nullptr, false);
  if (!found.is_object() || !found.contains("Config") ||
      label_of(found["Config"], kContainerLabel) != order.lock)
    return name_taken(order);
  return remove(api, order.name);
}

// A daemon refuses more processors than there are; a machine just shares them.
void limit_processors(json& create) {
  constexpr std::uint64_t kOne = 1'000'000'000;
  const json::json_pointer nano("/HostConfig/NanoCpus");
  if (!create.contains(nano) || !create[nano].is_number_unsigned()) return;
  const std::uint64_t all = kOne * std::max(1U, std::thread::hardware_concurrency());
  create[nano] = std::min(create[nano].get<std::uint64_t>(), all);
}

Result<Reply> post_create(EngineApi& api, const Order& order) {
  json body = json::parse(order.create);  // which parse_order() has looked at
  body["Image"] = image_name(order.digest);
  body["Labels"] = {{kContainerLabel, order.lock}};
  limit_processors(body);
  const std::string target = "/containers/create?name=" + order.name;
  MVM_TRY(need_image(api, order.digest, order.image));
  Reply reply = MVM_TRY(api.call("POST", target, body.dump()));
  if (reply.status == kNotFound) {  // somebody has removed the image meanwhile
    MVM_TRY(need_image(api, order.digest, order.image));
    reply = MVM_TRY(api.call("POST", target, body.dump()));
  }
  if (reply.status != kConflict) return reply;
  MVM_TRY(clear_name(api, order));
  return api.call("POST", target, body.dump());
}

Result<> act(EngineApi& api, const std::string& id, const char* verb) {
  const Reply reply = MVM_TRY(api.call("POST", "/containers/" + id + "/" + verb));
  if (reply.ok() || reply.status == kNotModified) return {};
  return failure(std::string(verb) + " of the container", reply);
}

}  // namespace

Result<Order> parse_order(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  const Error unreadable(Errc::kInvalidArgument, "the container's order is not one of schema 1");
  if (!object.is_object() || object.value("schema", json()) != 1 || !object.contains("image") ||
      !object["image"].is_object())
    return unreadable;
  Order out{text_of(object, "name"), text_of(object, "lock"), text_of(object["image"], "digest"),
            text_of(object["image"], "path"), object.value("create", json()).dump()};
  if (out.name.empty() || out.lock.empty() || out.digest.empty() || out.image.empty() ||
      !out.create.starts_with('{'))
    return unreadable;
  return out;
}

Result<> need_image(EngineApi& api, const std::string& digest, const std::string& path) {
  if (MVM_TRY(has_image(api, digest))) return {};
  // Two that need the same image import it once: the second waits for the first.
  const sys::UniqueFd file = MVM_TRY(sys::open_file(path, O_RDONLY));
  if (::flock(file.get(), LOCK_EX) != 0) return Error::from_errno("lock " + path);
  if (MVM_TRY(has_image(api, digest))) return {};
  return import(api, digest, path);
}

Result<std::string> create(EngineApi& api, const Order& order) {
  const Reply made = MVM_TRY(post_create(api, order));
  if (!made.ok()) return failure("making the container", made);
  const json object = json::parse(made.body, nullptr, false);
  std::string id = object.is_object() ? text_of(object, "Id") : std::string();
  if (id.empty()) return Error(Errc::kIo, "Docker: making the container: it has no id");
  return id;
}

Result<> start(EngineApi& api, const std::string& id) {
  auto started = act(api, id, "start");
  if (!started) (void)remove(api, id);
  return started;
}

Result<> pause(EngineApi& api, const std::string& id) { return act(api, id, "pause"); }
Result<> resume(EngineApi& api, const std::string& id) { return act(api, id, "unpause"); }

Result<> remove(EngineApi& api, const std::string& id) {
  const std::string target = "/containers/" + id + "?force=1";
  Reply reply = MVM_TRY(api.call("DELETE", target));
  if (!reply.ok() && reply.status != kNotFound && reply.status != kConflict) {
    // One that is held does not end.
    (void)resume(api, id);
    reply = MVM_TRY(api.call("DELETE", target));
  }
  if (reply.ok() || reply.status == kNotFound) return {};
  if (reply.status != kConflict) return failure("removing the container", reply);
  // Somebody, as the daemon itself, is at it already; until it is done the name is taken.
  MVM_TRY(api.call("POST", "/containers/" + id + "/wait?condition=removed", {}, kMostRemoval));
  return {};
}

namespace {

// Its labels say so, and so does its name: labels go along to what is made of a container.
bool is_ours(const json& container, const std::string& lock) {
  const std::string id = std::filesystem::path(lock).parent_path().filename().string();
  const json names = container.value("Names", json::array());
  return std::ranges::find(names, json("/mvm-" + id)) != names.end();
}

}  // namespace

Result<> sweep(EngineApi& api, const std::string& locks) {
  const json all = MVM_TRY(
      list(api, "/containers/json?all=1&" + by_label(kContainerLabel), "listing the containers"));
  Result<> out;
  for (const json& container : all) {
    const std::string lock = label_of(container, kContainerLabel);
    if (!lock.starts_with(locks + "/") || !is_ours(container, lock)) continue;
    const auto held = sys::FileLock::is_held(lock);
    if (!held || *held) continue;
    if (auto removed = remove(api, text_of(container, "Id")); !removed) out = removed;
  }
  return out;
}

Result<Pruned> prune(EngineApi& api, bool dry_run) {
  std::set<std::string> used;
  for (const json& container :
       MVM_TRY(list(api, "/containers/json?all=1", "listing the containers")))
    used.insert(text_of(container, "ImageID"));
  const json all =
      MVM_TRY(list(api, "/images/json?" + by_label(kImageLabel), "listing the images"));
  Pruned out;
  for (const json& image : all) {
    // What others have built upon it has its label too, and names of its own.
    const std::string name = image_name(label_of(image, kImageLabel));
    const json names = image.value("RepoTags", json::array());
    if (std::ranges::find(names, json(name)) == names.end()) continue;
    if (used.contains(text_of(image, "Id"))) continue;
    if (!dry_run) {
      const Reply reply = MVM_TRY(api.call("DELETE", "/images/" + name));
      if (reply.status == kConflict) continue;  // in use
      if (!reply.ok() && reply.status != kNotFound) return failure("removing an image", reply);
    }
    ++out.images;
    if (image.contains("Size") && image["Size"].is_number_unsigned())
      out.bytes += image["Size"].get<std::uint64_t>();
  }
  return out;
}

std::string LogText::feed(std::string_view bytes) {
  constexpr std::size_t kHead = 8;
  std::string out;
  while (!bytes.empty()) {
    if (left_ == 0) {
      const std::size_t take = std::min(kHead - head_.size(), bytes.size());
      head_ += bytes.substr(0, take);
      bytes.remove_prefix(take);
      if (head_.size() < kHead) break;
      for (std::size_t i = 4; i < kHead; ++i)
        left_ = left_ << 8 | static_cast<unsigned char>(head_[i]);
      head_.clear();
      continue;
    }
    const std::size_t take = std::min(left_, bytes.size());
    out += bytes.substr(0, take);
    bytes.remove_prefix(take);
    left_ -= take;
  }
  return out;
}

}  // namespace mvm::docker
