# SPDX-License-Identifier: Apache-2.0
# A guest as a package: what it needs is its closure, what runs in it stands in its guest.json, in the
# words of mvm.toml. The attribute `spec` has the same without building anything.
{ system # the guest's: "x86_64-linux"
, name
, pkgs ? null # nixpkgs for the system, for its busybox
, busybox ? (if pkgs == null then null else "${pkgs.busybox}/bin/busybox")
  # its path must end in /busybox, as "${self}/busybox" does; one that is not of nixpkgs must be static
, entrypoint ? { } # { shell = "text"; } or { command = [ … ]; } or { services = { NAME = { command = …; }; }; }
, packages ? [ ] # their bin directories are the PATH
, files ? { } # { "/etc/x" = { text = "…"; mode = "0644"; } or { source = ./x; } or { link = "/y"; }; }
, users ? { } # { web = { uid = 1000; home = "/srv"; }; }
, env ? { }
, health ? null # of the entrypoint; a service has its own
, resources ? { }
, ports ? [ ]
, user ? null
, workdir ? null
}:
let
  out = builtins.placeholder "out";
  attributes = builtins.attrNames;
  concat = builtins.concatStringsSep;
  without_nulls = set: builtins.removeAttrs set
    (builtins.filter (key: set.${key} == null) (attributes set));

  kinds = builtins.filter (kind: builtins.hasAttr kind entrypoint) [ "shell" "command" "services" ];
  runs =
    if builtins.length kinds > 1 then
      throw "mkGuest: entrypoint has both ${concat " and " kinds}; give one of shell, command and services"
    else if entrypoint ? shell then { entrypoint = [ "/bin/sh" "-c" entrypoint.shell ]; }
    else if entrypoint ? command then { entrypoint = entrypoint.command; }
    else if entrypoint ? services then { services = entrypoint.services; }
    else { };

  home = u: u.home or "/";
  group = u: toString (u.gid or u.uid);
  passwd = concat "" (map
    (n: let u = users.${n}; in "${n}:x:${toString u.uid}:${group u}:${n}:${home u}:${u.shell or "/bin/sh"}\n")
    (attributes users));
  groups = concat "" (map (n: "${n}:x:${group users.${n}}:\n") (attributes users));

  standard_files = {
    "/bin" = { link = "${out}/bin"; };
    "/usr/bin" = { link = "${out}/bin"; };
    "/etc/passwd" = { text = "root:x:0:0:root:/root:/bin/sh\n${passwd}nobody:x:65534:65534:nobody:/:/bin/false\n"; };
    "/etc/group" = { text = "root:x:0:\n${groups}nogroup:x:65534:\n"; };
    "/etc/nsswitch.conf" = { text = "passwd: files\ngroup: files\nhosts: files dns\n"; };
  };
  file = path: given: { inherit path; } // (
    if given ? source then { link = "${given.source}"; }
    else if given ? link then { inherit (given) link; }
    else { inherit (given) text; mode = given.mode or "0644"; });
  all_files = standard_files // files;

  spec = without_nulls (runs // {
    inherit name user workdir health;
    target = system;
    env = { PATH = concat ":" (map (p: "${p}/bin") packages ++ [ "${out}/bin" ]); } // env;
    files = map (path: file path all_files.${path}) (attributes all_files);
    resources = if resources == { } then null else resources;
    ports = if ports == [ ] then null else ports;
  });
in
if busybox == null then
  throw "mkGuest: give pkgs, or busybox = \"\${self}/busybox\" with a static busybox in the flake"
else
  derivation
    {
      inherit name system busybox;
      guest = builtins.toJSON spec;
      passAsFile = [ "guest" ];
      # Nobody else has it, and it is made in an instant.
      allowSubstitutes = false;
      preferLocalBuild = true;
      builder = busybox;
      args = [
        "sh"
        "-ec"
        ''
          "$busybox" mkdir -p "$out/bin"
          "$busybox" cp "$busybox" "$out/bin/busybox"
          for applet in $("$busybox" --list); do
            test "$applet" = busybox || "$busybox" ln -s busybox "$out/bin/$applet"
          done
          "$busybox" cp "$guestPath" "$out/guest.json"
        ''
      ];
    } // { inherit spec; }
