// SPDX-License-Identifier: Apache-2.0
// The fixed parts of the completion scripts. @GROUPED@ stands for the verbs that have sub-commands,
// as a case pattern, @CASES@ for the completion of each command.
#pragma once

#include <string_view>

namespace mvm::cli {

// clang-format off
inline constexpr std::string_view kBashTemplate = R"sh(# bash completion for mvmctl, made by: mvmctl completion bash
# shellcheck shell=bash

# $1: kinds of names (vm image snapshot file dir), $2: fixed words
_mvmctl_values() {
  local kind words=$2
  for kind in $1; do
    case $kind in
      vm) words+=" $(mvmctl ls --quiet 2>/dev/null)" ;;
      image) words+=" $(mvmctl image ls --quiet 2>/dev/null)" ;;
      snapshot) words+=" $(mvmctl snapshot ls --quiet 2>/dev/null)" ;;
      file)
        compopt -o filenames 2>/dev/null
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
        ;;
      dir)
        compopt -o filenames 2>/dev/null
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur")
        ;;
    esac
  done
  mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$words" -- "$cur")
}

# $3: options
_mvmctl_words() {
  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$3" -- "$cur")
  else
    _mvmctl_values "$1" "$2"
  fi
}

_mvmctl() {
  local cur=$2 prev=$3 cmd='' word i
  local words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
  # Image names hold colons, at which bash splits words.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n : cur prev words cword
  fi
  COMPREPLY=()
  for ((i = 1; i < cword; i++)); do
    [[ ${words[i]} == -- ]] && return
  done
  for ((i = 1; i < cword; i++)); do
    word=${words[i]}
    [[ $word == -* ]] && continue
    cmd+=${cmd:+ }$word
    case $cmd in
      @GROUPED@) ;;
      *) break ;;
    esac
  done
@CASES@  if declare -F __ltrim_colon_completions >/dev/null; then
    __ltrim_colon_completions "$cur"
  fi
}

complete -F _mvmctl mvmctl
)sh";

inline constexpr std::string_view kZshTemplate = R"sh(#compdef mvmctl
# zsh completion for mvmctl, made by: mvmctl completion zsh

# $1: kinds of names (vm image snapshot file dir), $2: fixed words
_mvmctl_values() {
  local kind
  for kind in ${=1}; do
    case $kind in
      vm) compadd -- ${(f)"$(mvmctl ls --quiet 2>/dev/null)"} ;;
      image) compadd -- ${(f)"$(mvmctl image ls --quiet 2>/dev/null)"} ;;
      snapshot) compadd -- ${(f)"$(mvmctl snapshot ls --quiet 2>/dev/null)"} ;;
      file) _files ;;
      dir) _files -/ ;;
    esac
  done
  [[ -n $2 ]] && compadd -- ${=2}
}

# $3: options
_mvmctl_words() {
  if [[ $PREFIX == -* ]]; then
    compadd -- ${=3}
  else
    _mvmctl_values "$1" "$2"
  fi
}

_mvmctl() {
  local prev=${words[CURRENT-1]} cmd='' word i
  for ((i = 2; i < CURRENT; i++)); do
    [[ ${words[i]} == -- ]] && return
  done
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
    [[ $word == -* ]] && continue
    cmd+=${cmd:+ }$word
    case $cmd in
      @GROUPED@) ;;
      *) break ;;
    esac
  done
@CASES@}

if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
  _mvmctl "$@"
else
  compdef _mvmctl mvmctl
fi
)sh";

inline constexpr std::string_view kFishTemplate = R"sh(# fish completion for mvmctl, made by: mvmctl completion fish

# The words before the cursor that are no options; fails after --.
function __mvmctl_words
    for word in (commandline -opc)[2..-1]
        test "$word" = --; and return 1
        string match -q -- '-*' $word; or echo $word
    end
    true
end

# Is this the command line of that command?
function __mvmctl_at
    set -l words (__mvmctl_words); or return 1
    test (count $words) -ge (count $argv); and test "$words[1..$(count $argv)]" = "$argv"
end

# Is nothing but that command there yet?
function __mvmctl_only
    set -l words (__mvmctl_words); or return 1
    test "$words" = "$argv"
end

complete -c mvmctl -f
)sh";
// clang-format on

}  // namespace mvm::cli
