# SPDX-License-Identifier: Apache-2.0
# Guests as Nix packages: see docs/howto/nix-flakes.md. Needs no other flake.
{
  description = "mvm: guests as Nix packages";

  outputs = { self }: { lib.mkGuest = import ./mk-guest.nix; };
}
