# bash completion for mvmctl, made by: mvmctl completion bash
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
      'image') ;;
      *) break ;;
    esac
  done
  case $cmd in
    'demo')
      case $prev in
        -e|--env) _mvmctl_values none ''; return ;;
        -m|--memory) _mvmctl_values none ''; return ;;
        --disk) _mvmctl_values none ''; return ;;
        --timeout) _mvmctl_values none ''; return ;;
        --ttl) _mvmctl_values none ''; return ;;
        --cpus) _mvmctl_values none ''; return ;;
        --pids) _mvmctl_values none ''; return ;;
        --network) _mvmctl_values none 'user none'; return ;;
        --name) _mvmctl_values vm ''; return ;;
      esac
      _mvmctl_words 'image' '' '-e --env -m --memory --disk --timeout --ttl --cpus --pids --network --name -i --interactive -t --tty --json -q --quiet -v --verbose -h --help' ;;
    'show')
      case $prev in
        -e|--env) _mvmctl_values none ''; return ;;
        -m|--memory) _mvmctl_values none ''; return ;;
        --disk) _mvmctl_values none ''; return ;;
        --timeout) _mvmctl_values none ''; return ;;
        --ttl) _mvmctl_values none ''; return ;;
        --cpus) _mvmctl_values none ''; return ;;
        --pids) _mvmctl_values none ''; return ;;
        --network) _mvmctl_values none 'user none'; return ;;
        --name) _mvmctl_values vm ''; return ;;
      esac
      _mvmctl_words 'image' '' '-e --env -m --memory --disk --timeout --ttl --cpus --pids --network --name -i --interactive -t --tty --json -q --quiet -v --verbose -h --help' ;;
    'cp')
      _mvmctl_words 'file vm' '' '--json -q --quiet -v --verbose -h --help' ;;
    'image')
      _mvmctl_words '' 'pull ls' '--json -q --quiet -v --verbose -h --help' ;;
    'image pull')
      _mvmctl_words 'image' '' '--json -q --quiet -v --verbose -h --help' ;;
    'image ls')
      _mvmctl_words '' '' '--json -q --quiet -v --verbose -h --help' ;;
    'image list')
      _mvmctl_words '' '' '--json -q --quiet -v --verbose -h --help' ;;
    'fail')
      _mvmctl_words '' '' '--json -q --quiet -v --verbose -h --help' ;;
    'completion')
      _mvmctl_words '' 'bash zsh fish' '--json -q --quiet -v --verbose -h --help' ;;
    'help')
      _mvmctl_words '' 'demo show cp image fail completion help version' '--json -q --quiet -v --verbose -h --help' ;;
    'version')
      _mvmctl_words '' '' '--json -q --quiet -v --verbose -h --help' ;;
    '') _mvmctl_words '' 'demo show cp image fail completion help version' '--json --quiet --verbose --help --version' ;;
  esac
  if declare -F __ltrim_colon_completions >/dev/null; then
    __ltrim_colon_completions "$cur"
  fi
}

complete -F _mvmctl mvmctl
