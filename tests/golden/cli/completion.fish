# fish completion for mvmctl, made by: mvmctl completion fish

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
complete -c mvmctl -n __mvmctl_only -a demo -d 'show every kind of option'
complete -c mvmctl -n __mvmctl_only -a cp -d 'copy files'
complete -c mvmctl -n __mvmctl_only -a image -d 'fetch and list images'
complete -c mvmctl -n __mvmctl_only -a fail -d 'fail in three layers'
complete -c mvmctl -n __mvmctl_only -a completion -d 'print a completion script'
complete -c mvmctl -n __mvmctl_only -a help -d 'explain a verb'
complete -c mvmctl -n __mvmctl_only -a version -d 'print the version'
complete -c mvmctl -n '__mvmctl_at demo' -s e -l env -x -d 'set a variable'
complete -c mvmctl -n '__mvmctl_at demo' -s m -l memory -x -d 'guest memory'
complete -c mvmctl -n '__mvmctl_at demo' -l disk -x -d 'size of the scratch disk'
complete -c mvmctl -n '__mvmctl_at demo' -l timeout -x -d 'how long to wait'
complete -c mvmctl -n '__mvmctl_at demo' -l ttl -x -d 'life time of the machine; when it has passed, the machine is stopped, whatever it does'
complete -c mvmctl -n '__mvmctl_at demo' -l cpus -x -d 'virtual CPUs'
complete -c mvmctl -n '__mvmctl_at demo' -l pids -x -d 'limit of processes'
complete -c mvmctl -n '__mvmctl_at demo' -l network -x -a 'user none' -d 'network'
complete -c mvmctl -n '__mvmctl_at demo' -l name -x -a '(mvmctl ls --quiet 2>/dev/null)' -d 'name of the machine'
complete -c mvmctl -n '__mvmctl_at demo' -s i -l interactive -d 'pass standard input on'
complete -c mvmctl -n '__mvmctl_at demo' -s t -l tty -d 'give the command a terminal'
complete -c mvmctl -n '__mvmctl_at demo' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at demo' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at demo' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at demo' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at demo' -a '(mvmctl image ls --quiet 2>/dev/null)'
complete -c mvmctl -n '__mvmctl_at show' -s e -l env -x -d 'set a variable'
complete -c mvmctl -n '__mvmctl_at show' -s m -l memory -x -d 'guest memory'
complete -c mvmctl -n '__mvmctl_at show' -l disk -x -d 'size of the scratch disk'
complete -c mvmctl -n '__mvmctl_at show' -l timeout -x -d 'how long to wait'
complete -c mvmctl -n '__mvmctl_at show' -l ttl -x -d 'life time of the machine; when it has passed, the machine is stopped, whatever it does'
complete -c mvmctl -n '__mvmctl_at show' -l cpus -x -d 'virtual CPUs'
complete -c mvmctl -n '__mvmctl_at show' -l pids -x -d 'limit of processes'
complete -c mvmctl -n '__mvmctl_at show' -l network -x -a 'user none' -d 'network'
complete -c mvmctl -n '__mvmctl_at show' -l name -x -a '(mvmctl ls --quiet 2>/dev/null)' -d 'name of the machine'
complete -c mvmctl -n '__mvmctl_at show' -s i -l interactive -d 'pass standard input on'
complete -c mvmctl -n '__mvmctl_at show' -s t -l tty -d 'give the command a terminal'
complete -c mvmctl -n '__mvmctl_at show' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at show' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at show' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at show' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at show' -a '(mvmctl image ls --quiet 2>/dev/null)'
complete -c mvmctl -n '__mvmctl_at cp' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at cp' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at cp' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at cp' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at cp' -F
complete -c mvmctl -n '__mvmctl_at cp' -a '(mvmctl ls --quiet 2>/dev/null)'
complete -c mvmctl -n '__mvmctl_at image' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at image' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at image' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at image' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_only image' -a pull -d 'fetch an image'
complete -c mvmctl -n '__mvmctl_only image' -a ls -d 'list images'
complete -c mvmctl -n '__mvmctl_at image pull' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at image pull' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at image pull' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at image pull' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at image pull' -a '(mvmctl image ls --quiet 2>/dev/null)'
complete -c mvmctl -n '__mvmctl_at image ls' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at image ls' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at image ls' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at image ls' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at image list' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at image list' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at image list' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at image list' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at fail' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at fail' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at fail' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at fail' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at completion' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at completion' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at completion' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at completion' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at completion' -a 'bash zsh fish'
complete -c mvmctl -n '__mvmctl_at help' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at help' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at help' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at help' -s h -l help -d 'print this help'
complete -c mvmctl -n '__mvmctl_at help' -a 'demo show cp image fail completion help version'
complete -c mvmctl -n '__mvmctl_at version' -l json -d 'print one JSON document on standard output'
complete -c mvmctl -n '__mvmctl_at version' -s q -l quiet -d 'say nothing but results and errors'
complete -c mvmctl -n '__mvmctl_at version' -s v -l verbose -d 'say what is done'
complete -c mvmctl -n '__mvmctl_at version' -s h -l help -d 'print this help'
