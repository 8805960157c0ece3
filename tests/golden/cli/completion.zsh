#compdef mvmctl
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
}

if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
  _mvmctl "$@"
else
  compdef _mvmctl mvmctl
fi
