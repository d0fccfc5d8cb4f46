#!/usr/bin/env bash
# What do a million waiting messages cost? Memory, speed, and the time of a restart.
#
#   benches/backlog.sh                    1,000,000 messages of 4,096 bytes, five rounds of 20,000
#   WAITING=100000 ROUNDS=3 benches/backlog.sh
#   SHARDS=1 SESSIONS=20 LENGTH=16384 MAILRAIL=path/to/mailrail benches/backlog.sh
#
# Two servers: one is fed WAITING messages for a host that nobody is, the other FEW (1,000) of them. Both
# go on running, and relay a second domain to a sink in turn. Then the first is stopped, the host that did
# not answer becomes a sink, and the server is started again: the time to its greeting and to the first
# waiting message in the sink, with what was read meanwhile, and what the disk could have read.
#
# Needs Postfix's smtp-source and smtp-sink, and room for the messages and their events below target:
# 5 GB for a million. Nothing of the system is touched.
set -euo pipefail
cd "$(dirname "$0")/.."

waiting=${WAITING:-1000000} few=${FEW:-1000} rounds=${ROUNDS:-5} messages=${MESSAGES:-20000}
sessions=${SESSIONS:-100} length=${LENGTH:-4096} shards=${SHARDS:-$(nproc)} limit_s=${LIMIT:-900}
drain_s=${DRAIN:-10}

name=backlog
. benches/rig.sh
needs smtp-source smtp-sink
build
make_directory
declare -A ports=()

ms() { awk -v us="$1" 'BEGIN { printf "%.0f ms", us / 1000 }'; }
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

configure() { # NAME
    ports[$1]=$(port)
    cat >"$directory/$1.toml" <<TOML
hostname = "mailrail.bench.example"
data_dir = "$directory/$1"
shards = $shards
[[listener]]
address = "127.0.0.1:${ports[$1]}"
max_messages_per_connection = 1000000
[[route]]
domain = "waiting.example"
via = ["127.0.0.1:$silent_port"]
[[route]]
domain = "*"
via = ["127.0.0.1:$sink_port"]
[dns]
servers = ["127.0.0.1:9"]
TOML
}

launch() { # NAME
    "$MAILRAIL" serve --config "$directory/$1.toml" 2>>"$directory/$1.errors" &
    pids[$1]=$!
}

memory() { # NAME FIELD: bytes
    awk -v field="$2:" '$1 == field { print $2 * 1024 }' "/proc/${pids[$1]}/status"
}

feed() { # NAME COUNT RECIPIENT
    timeout "$limit_s" smtp-source -d -s "$sessions" -m "$2" -l "$length" -f from@client.example \
        -t "$3" "inet:127.0.0.1:${ports[$1]}" || fail "smtp-source into $1 failed"
}

run() { # NAME COUNT: prints messages/s through it
    local target=$(($(sunk sink) + $2)) start_us deadline
    start_us=$(now_us)
    deadline=$((SECONDS + limit_s))
    feed "$1" "$2" to@flowing.example
    wait_sunk sink "$target" "$deadline" "$1"
    awk -v n="$2" -v us=$(($(now_us) - start_us)) 'BEGIN { printf "%.0f\n", n * 1e6 / us }'
}

sink_port=$(port) silent_port=$(port)
start_sink sink "$sink_port"
configure many
configure few

printf '%s waiting messages of %s bytes, fed by %s sessions; %s, %s shards\n' \
    "$waiting" "$length" "$sessions" "$("$MAILRAIL" --version)" "$shards"
machine

launch many
answers "${ports[many]}" mailrail
sleep 1
empty=$(memory many VmRSS)
start_us=$(now_us)
feed many "$waiting" to@waiting.example
fed_us=$(($(now_us) - start_us))
sleep 2
full=$(memory many VmRSS)
printf 'fed in %s s, %s messages/s\n' "$((fed_us / 1000000))" \
    "$(awk -v n="$waiting" -v us="$fed_us" 'BEGIN { printf "%.0f", n * 1e6 / us }')"
printf 'resident memory: empty %s, with %s waiting %s: %s more, %s bytes a message\n' "$(mib "$empty")" \
    "$waiting" "$(mib "$full")" "$(mib $((full - empty)))" "$(((full - empty) / waiting))"

launch few
answers "${ports[few]}" mailrail
feed few "$few" to@waiting.example
run few 2000 >/dev/null
run many 2000 >/dev/null
printf '\n%5s  %20s %20s   messages/s through\n' round "$few waiting" "$waiting waiting"
for round in $(seq "$rounds"); do
    order='few many'
    [ $((round % 2)) = 1 ] || order='many few'
    for name in $order; do
        rate=$(run "$name" "$messages")
        printf '%s\n' "$rate" >>"$directory/$name.rates"
    done
    printf '%5s  %20s %20s\n' "$round" "$(tail -n 1 "$directory/few.rates")" "$(tail -n 1 "$directory/many.rates")"
done
few_rate=$(median <"$directory/few.rates") many_rate=$(median <"$directory/many.rates")
printf '%5s  %20s %20s   %s %%\n\n' median "$few_rate" "$many_rate" \
    "$(awk -v a="$many_rate" -v b="$few_rate" 'BEGIN { printf "%.1f", 100 * a / b }')"
kill "${pids[few]}"
wait "${pids[few]}" || true
unset 'pids[few]'

start_us=$(now_us)
kill "${pids[many]}"
wait "${pids[many]}" || fail "the server did not end well: $(tail -n 3 "$directory/many.errors")"
printf 'stopped in %s\n' "$(ms $(($(now_us) - start_us)))"
start_sink late "$silent_port"
start_us=$(now_us)
launch many
answers "${ports[many]}" mailrail
greeted_us=$(now_us)
until [ "$(sunk late)" -gt 0 ]; do
    [ $(($(now_us) - start_us)) -lt 120000000 ] || fail 'nothing was delivered within two minutes'
    sleep 0.005
done
first_us=$(now_us)
read_bytes=$(awk '$1 == "read_bytes:" { print $2 }' "/proc/${pids[many]}/io")
printf 'started again: greeting after %s, first delivery after %s, having read %s at %s/s\n' \
    "$(ms $((greeted_us - start_us)))" "$(ms $((first_us - start_us)))" "$(mib "$read_bytes")" \
    "$(mib $((read_bytes * 1000000 / (first_us - start_us))))"
printf 'resident memory: %s, at most %s\n' "$(mib "$(memory many VmRSS)")" "$(mib "$(memory many VmHWM)")"
before=$(sunk late) start_us=$(now_us)
sleep "$drain_s"
printf 'waiting mail leaves at %s messages/s (all of it read back)\n' \
    "$(awk -v n=$(($(sunk late) - before)) -v us=$(($(now_us) - start_us)) 'BEGIN { printf "%.0f", n * 1e6 / us }')"
kill -9 "${pids[many]}"
wait "${pids[many]}" 2>/dev/null || true
unset 'pids[many]'

largest=$(find "$directory/many/spool" -type f -size +32M -print | head -n 8)
bytes=0 start_us=$(now_us)
for file in $largest; do
    dd if="$file" of=/dev/null bs=1M iflag=direct status=none
    bytes=$((bytes + $(stat -c %s "$file")))
done
printf 'the disk reads %s/s (dd, direct, 1 MiB at a time); the spool takes %s\n' \
    "$(mib $((bytes * 1000000 / ($(now_us) - start_us))))" \
    "$(mib $(($(du -sk "$directory/many/spool" | cut -f 1) * 1024)))"
