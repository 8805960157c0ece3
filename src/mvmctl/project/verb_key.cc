// SPDX-License-Identifier: Apache-2.0
// `mvmctl key new|ls|export|import|rm`: who signs, and whose signatures are trusted.
#include "cli/output.h"
#include "mvmctl/project/verbs.h"
#include "mvmctl/shared/removal.h"
#include "seal/key_file.h"
#include "spec/words.h"
#include "sys/io.h"
#include "workflow/sealing.h"

namespace mvm::cli {
namespace {

Result<seal::KeyStore> keys_here() {
  return workflow::key_store(MVM_TRY(store::Layout::from_environment()));
}

Json key_json(const seal::Key& key) {
  return Json::object()
      .set("name", key.name)
      .set("id", seal::short_id(key.public_key))
      .set("public_key", seal::to_hex(key.public_key))
      .set("own", key.own);
}

int show(Context& context, const seal::Key& key) {
  if (context.json)
    context.print_json(1, key_json(key));
  else
    context.print(key.name + " " + seal::short_id(key.public_key) + "\n");
  return 0;
}

Result<int> list(Context& context) {
  Json array = Json::array();
  Table table({"name", "id", "may sign"});
  for (const seal::Key& key : MVM_TRY(MVM_TRY(keys_here()).list())) {
    if (context.quiet) context.print(key.name + "\n");
    array.add(key_json(key));
    table.add({key.name, seal::short_id(key.public_key), key.own ? "yes" : "no"});
  }
  if (context.json)
    context.print_json(1, Json::object().set("keys", array));
  else if (!context.quiet)
    context.print(table.text());
  return 0;
}

Result<int> create(Context& context, const std::string& name) {
  MVM_TRY(spec::check_name(name, "key"));
  return show(context, MVM_TRY(MVM_TRY(keys_here()).create(name)));
}

Result<int> export_key(Context& context, const std::string& name) {
  context.print(seal::to_pem(MVM_TRY(MVM_TRY(keys_here()).find(name)).public_key));
  return 0;
}

Result<int> import_key(Context& context, const std::string& name, const std::string& file) {
  MVM_TRY(spec::check_name(name, "key"));
  const std::string text = MVM_TRY(file == "-" ? sys::read_fd(STDIN_FILENO, kibibytes(16))
                                               : sys::read_file(file, kibibytes(16)));
  auto key = MVM_TRY(keys_here()).import(name, text);
  if (!key) return std::move(key).error().with_context(file);
  return show(context, *key);
}

Positional key_name(std::string* target) {
  return {.name = "NAME", .help = "the key", .target = target};
}

}  // namespace

CommandSpec make_key_command() {
  CommandSpec spec;
  spec.description =
      "Ed25519 keys in PEM files, as OpenSSL writes them. An own key signs sealed images and "
      "bundles; images and bundles that one of these keys has signed are trusted, and no others.";
  auto name = std::make_shared<std::string>();
  auto file = std::make_shared<std::string>();
  auto names = std::make_shared<std::vector<std::string>>();
  CommandSpec make;
  make.name = "new";
  make.summary = "make a key of your own";
  make.positionals = {key_name(name.get())};
  make.run = [name](Context& context) { return create(context, *name); };
  spec.subcommands.push_back(make);
  CommandSpec ls;
  ls.name = "ls";
  ls.summary = "list the keys that are trusted here";
  ls.run = list;
  spec.subcommands.push_back(ls);
  CommandSpec show_public;
  show_public.name = "export";
  show_public.summary = "print the public half of a key, for others to import";
  show_public.positionals = {key_name(name.get())};
  show_public.run = [name](Context& context) { return export_key(context, *name); };
  spec.subcommands.push_back(show_public);
  CommandSpec trust;
  trust.name = "import";
  trust.summary = "trust somebody's public key, or take over one of your own";
  trust.positionals = {key_name(name.get()),
                       {.name = "FILE",
                        .help = "a PEM file; - for stdin",
                        .target = file.get(),
                        .complete = Complete::kFile}};
  trust.run = [name, file](Context& context) { return import_key(context, *name, *file); };
  spec.subcommands.push_back(trust);
  CommandSpec rm;
  rm.name = "rm";
  rm.summary = "remove keys; what they have signed is not trusted any more";
  rm.positionals = {{.name = "NAME", .help = "the key", .target = names.get()}};
  rm.run = [names](Context& context) {
    return remove_each(context, *names, [](const store::Layout& layout, const std::string& key) {
      return workflow::key_store(layout).remove(key);
    });
  };
  spec.subcommands.push_back(rm);
  return spec;
}

}  // namespace mvm::cli
