// SPDX-License-Identifier: Apache-2.0
#include "docker/container.h"

#include <fcntl.h>
#include <sys/file.h>

#include <nlohmann/json.hpp>
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

std::string image_name(const Order& order) { return std::string(kRepository) + ":" + order.digest; }

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

Result<bool> has_image(EngineApi& api, const Order& order) {
  const Reply reply = MVM_TRY(api.call("GET", "/images/" + image_name(order) + "/json"));
  if (reply.status == kNotFound) return false;
  if (!reply.ok()) return failure("looking for the image", reply);
  return true;
}

// The image's file is written as an archive at one end of a pipe and sent from the other.
Result<> import(EngineApi& api, const Order& order) {
  sys::Pipe pipe = MVM_TRY(sys::make_pipe());
  const std::string to = "/dev/fd/" + std::to_string(pipe.write_end.get());
  Result<> written;
  std::thread writer([&] {
    written = image::write_layer(order.image, to);
    pipe.write_end.reset();
  });
  auto reply = api.upload(
      "/images/create?fromSrc=-&repo=" + std::string(kRepository) + "&tag=" + order.digest +
          "&changes=" + quoted("LABEL " + std::string(kImageLabel) + "=" + order.digest),
      pipe.read_end.get());
  pipe.read_end.reset();  // ends a writer that nobody reads any more
  writer.join();
  if (!reply) return reply.error();
  if (!reply->ok()) return failure("importing the image", *reply);
  // A failure on the way comes as a line of its own, after status 200.
  if (reply->body.find("\"error\"") != std::string::npos)
    return Error(Errc::kIo, "Docker: importing the image: " + reply->body);
  return written;
}

// Two commands that need the same image import it once: the second waits for the first.
Result<> need_image(EngineApi& api, const Order& order) {
  if (MVM_TRY(has_image(api, order))) return {};
  const sys::UniqueFd file = MVM_TRY(sys::open_file(order.image, O_RDONLY));
  if (::flock(file.get(), LOCK_EX) != 0) return Error::from_errno("lock " + order.image);
  if (MVM_TRY(has_image(api, order))) return {};
  return import(api, order);
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
  const json found = json::parse(reply.body, nullptr, false);
  if (!found.is_object() || !found.contains("Config") ||
      label_of(found["Config"], kContainerLabel) != order.lock)
    return name_taken(order);
  return remove(api, order.name);
}

Result<Reply> create(EngineApi& api, const Order& order) {
  json body = json::parse(order.create);  // which parse_order() has looked at
  body["Image"] = image_name(order);
  body["Labels"] = {{kContainerLabel, order.lock}};
  const std::string target = "/containers/create?name=" + order.name;
  MVM_TRY(need_image(api, order));
  Reply reply = MVM_TRY(api.call("POST", target, body.dump()));
  if (reply.status == kNotFound) {  // somebody has removed the image meanwhile
    MVM_TRY(need_image(api, order));
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

Result<std::string> start(EngineApi& api, const Order& order) {
  const Reply made = MVM_TRY(create(api, order));
  if (made.status == kConflict) return name_taken(order);
  if (!made.ok()) return failure("making the container", made);
  const json object = json::parse(made.body, nullptr, false);
  std::string id = object.is_object() ? text_of(object, "Id") : std::string();
  if (id.empty()) return Error(Errc::kIo, "Docker: making the container: it has no id");
  if (auto started = act(api, id, "start"); !started) {
    (void)remove(api, id);
    return started.error();
  }
  return id;
}

Result<> pause(EngineApi& api, const std::string& id) { return act(api, id, "pause"); }
Result<> resume(EngineApi& api, const std::string& id) { return act(api, id, "unpause"); }

Result<> remove(EngineApi& api, const std::string& id) {
  Reply reply = MVM_TRY(api.call("DELETE", "/containers/" + id + "?force=1"));
  if (reply.ok() || reply.status == kNotFound || reply.status == kConflict) return {};
  // One that is held does not end.
  (void)resume(api, id);
  reply = MVM_TRY(api.call("DELETE", "/containers/" + id + "?force=1"));
  if (reply.ok() || reply.status == kNotFound || reply.status == kConflict) return {};
  return failure("removing the container", reply);
}

Result<> sweep(EngineApi& api, const std::string& locks) {
  const json all = MVM_TRY(
      list(api, "/containers/json?all=1&" + by_label(kContainerLabel), "listing the containers"));
  for (const json& container : all) {
    const std::string lock = label_of(container, kContainerLabel);
    if (!lock.starts_with(locks + "/")) continue;
    const auto held = sys::FileLock::is_held(lock);
    if (held && *held) continue;
    MVM_TRY(remove(api, text_of(container, "Id")));
  }
  return {};
}

Result<Pruned> prune(EngineApi& api, bool dry_run) {
  const json all =
      MVM_TRY(list(api, "/images/json?" + by_label(kImageLabel), "listing the images"));
  Pruned out;
  for (const json& image : all) {
    if (!dry_run) {
      const Reply reply =
          MVM_TRY(api.call("DELETE", "/images/" + text_of(image, "Id") + "?force=0"));
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
