# The rig that the whole-server benches share: a directory of their own, free ports, a server that greets, the sink and
# what it has counted, and medians. To be sourced by a script that has set `name`, at the top of the workspace.
#
# What is measured, and what is started besides, is the script's. It may define `stop_others`, which is called at the
# end. Processes whose pids stand in `pids` do not outlive the script.

fail() { printf '%s.sh: %s\n' "$name" "$*" >&2; exit 1; }

needs() { # PROGRAM...
    local program
    PATH=$PATH:/usr/sbin
    for program; do
        command -v "$program" >/dev/null || fail "$program is missing; install postfix"
    done
}

build() { # sets MAILRAIL, if nobody has
    [ -z "${MAILRAIL:-}" ] || return 0
    cargo build --release --quiet --bin mailrail
    MAILRAIL=${CARGO_TARGET_DIR:-target}/release/mailrail
}

declare -A pids=()

# Below target: on the disk that holds the sources, and not in a file system of memory.
make_directory() {
    mkdir -p target
    directory=$(mktemp -d -p "$PWD/target" "$name.XXXXXX")
    chmod 755 "$directory"
    trap end EXIT
    trap 'exit 130' INT TERM
}

stop_others() { :; }

end() {
    local code=$? pid
    trap - EXIT
    stop_others
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$directory"
    exit "$code"
}

port() { # a port below those of outgoing connections that nobody has
    local port
    while port=$((10000 + RANDOM % 20000)); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
}

now_us() { printf '%s\n' "${EPOCHREALTIME/[.,]/}"; }

answers() { # PORT WHO: waits until it greets
    local until_us=$(($(now_us) + 60000000)) line
    until (exec 3<>"/dev/tcp/127.0.0.1/$1" && read -r -t 5 line <&3 && [[ $line == 220* ]]) 2>/dev/null; do
        [ "$(now_us)" -lt "$until_us" ] || fail "$2 does not greet on port $1"
        sleep 0.005
    done
}

start_sink() { # NAME PORT
    local options=()
    [ "$(id -u)" != 0 ] || options=(-u nobody)
    smtp-sink -c "${options[@]}" "127.0.0.1:$2" 1000 >"$directory/$1.count" 2>"$directory/$1.errors" &
    pids[$1]=$!
    answers "$2" smtp-sink
}

sunk() { # NAME: the messages so far; the line is rewritten in place by carriage returns
    local count
    count=$(tail -c 200 "$directory/$1.count" | tr '\r' '\n' | sed -n 's/^.*mesg=\([0-9]*\)$/\1/p' | tail -n 1)
    echo "${count:-0}"
}

wait_sunk() { # NAME TARGET DEADLINE WHOSE
    while [ "$(sunk "$1")" -lt "$2" ]; do
        [ $SECONDS -lt "$3" ] || fail "$4: $(sunk "$1") of $2 messages in the sink after $limit_s s"
        sleep 0.02
    done
}

machine() { # what the figures were seen on
    printf 'machine: kernel %s, %s cores, %s, disk %s\n\n' "$(uname -r)" "$(nproc)" \
        "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(stat -f -c %T "$directory")"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
