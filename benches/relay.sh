#!/usr/bin/env bash
# How fast does it relay, and at what price? Mailrail and Debian's postfix, the same load, the
# same sink, the same disk, in turn; the median of the rounds counts.
#
#   benches/relay.sh                      five rounds of 20,000 messages (postfix: 5,000)
#   ROUNDS=3 MESSAGES=50000 benches/relay.sh
#   SHARDS=1 SESSIONS=20 LENGTH=102400 MAILRAIL=path/to/mailrail benches/relay.sh
#   CLASSES=1 SESSIONS=100 benches/relay.sh   mailrail alone: fsync, write and memory side by side
#
# smtp-source -d -s SESSIONS -l LENGTH  ->  the relay  ->  smtp-sink -c -u nobody
#
# A round ends when the sink has the last message. Processor time is user and system time of all
# of the relay's processes, those of postfix that ended included (its master has reaped them).
# Both relays run all the time and idle while the other one has its turn. Nothing of the system
# is touched: postfix runs from a configuration, a queue and a master of its own, in a directory
# that goes away; it has to be started by root. Both sync to disk before they answer 250.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5} messages=${MESSAGES:-20000} postfix_messages=${POSTFIX_MESSAGES:-5000}
sessions=${SESSIONS:-50} length=${LENGTH:-4096} shards=${SHARDS:-$(nproc)}
relays='mailrail postfix'
[ -z "${CLASSES:-}" ] || relays='fsync write memory'
limit_s=${LIMIT:-300}

name=relay
. benches/rig.sh
needs smtp-source smtp-sink postconf
[ -n "${CLASSES:-}" ] || [ "$(id -u)" = 0 ] || fail "postfix is started by root only"
build
make_directory
postfix_started=''
stop_others() {
    [ -z "$postfix_started" ] || postfix -c "$directory/postfix" stop >/dev/null 2>&1 || true
}

start_mailrail() {
    mailrail_port=$(port) write_port=$(port) memory_port=$(port)
    cat >"$directory/mailrail.toml" <<TOML
hostname = "mailrail.bench.example"
data_dir = "$directory/data"
shards = $shards
[[listener]]
address = "127.0.0.1:$mailrail_port"
[[listener]]
address = "127.0.0.1:$write_port"
durability = "write"
[[listener]]
address = "127.0.0.1:$memory_port"
durability = "memory"
[[route]]
domain = "*"
via = ["127.0.0.1:$sink_port"]
[dns]
servers = ["127.0.0.1:9"]
TOML
    "$MAILRAIL" serve --config "$directory/mailrail.toml" 2>"$directory/mailrail.errors" &
    mailrail_pid=$!
    pids[mailrail]=$mailrail_pid
    answers "$mailrail_port" mailrail
}

start_postfix() {
    local home=$directory/postfix
    postfix_port=$(port)
    mkdir -p "$home" "$directory/queue" "$directory/state"
    chown postfix "$directory/state"
    cat >"$home/main.cf" <<CF
compatibility_level = 3.6
queue_directory = $directory/queue
data_directory = $directory/state
command_directory = /usr/sbin
daemon_directory = $(postconf -dh daemon_directory)
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:$sink_port
local_recipient_maps =
alias_maps =
alias_database =
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_client_connection_count_limit = 0
CF
    # The services that a relay needs, unconfined, with the limits of the distribution.
    cat >"$home/master.cf" <<CF
127.0.0.1:$postfix_port inet n - n - - smtpd
pickup   unix n - n 60 1 pickup
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
verify   unix - - n - 1 verify
flush    unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp     unix - - n - - smtp
relay    unix - - n - - smtp
showq    unix n - n - - showq
error    unix - - n - - error
retry    unix - - n - - error
discard  unix - - n - - discard
anvil    unix - - n - 1 anvil
scache   unix - - n - 1 scache
CF
    postfix_started=yes
    postfix -c "$home" start >"$directory/postfix.errors" 2>&1 || fail "$(cat "$directory/postfix.errors")"
    answers "$postfix_port" postfix
    postfix_pid=$(tr -d ' ' <"$directory/queue/pid/master.pid")
}

ticks() { # PID FIELD...: the sum of these fields of its stat
    local pid=$1 stat
    shift
    stat=$(cat "/proc/$pid/stat" 2>/dev/null) || { echo 0; return; }
    awk -v stat="${stat##*) }" -v wanted="$*" 'BEGIN {
        split(stat, field, " "); split(wanted, want, " ")
        for (i in want) sum += field[want[i] - 2]
        print sum + 0 }'
}

tick_us=$((1000000 / $(getconf CLK_TCK)))

processor_us() { # of a relay so far
    local sum=0 pid
    if [ "$1" != postfix ]; then
        sum=$(ticks "$mailrail_pid" 14 15)
    else
        sum=$(ticks "$postfix_pid" 14 15 16 17)
        for pid in $(cat "/proc/$postfix_pid/task/$postfix_pid/children"); do
            sum=$((sum + $(ticks "$pid" 14 15)))
        done
    fi
    echo $((sum * tick_us))
}

run() { # RELAY COUNT: prints messages/s and µs of processor a message
    local relay=$1 count=$2 port before_us after_us start_ns end_ns target deadline
    case $relay in
        postfix) port=$postfix_port ;;
        write) port=$write_port ;;
        memory) port=$memory_port ;;
        *) port=$mailrail_port ;;
    esac
    target=$(($(sunk sink) + count))
    before_us=$(processor_us "$relay")
    start_ns=$(date +%s%N)
    deadline=$((SECONDS + limit_s))
    timeout "$limit_s" smtp-source -d -s "$sessions" -m "$count" -l "$length" \
        "inet:127.0.0.1:$port" || fail "smtp-source into $relay failed"
    wait_sunk sink "$target" "$deadline" "$relay"
    end_ns=$(date +%s%N)
    after_us=$(processor_us "$relay")
    awk -v n="$count" -v ns=$((end_ns - start_ns)) -v us=$((after_us - before_us)) \
        'BEGIN { printf "%.0f %.1f\n", n * 1e9 / ns, us / n }'
}

sink_port=$(port)
start_sink sink "$sink_port"
start_mailrail
[ -n "${CLASSES:-}" ] || start_postfix

if [ -n "${CLASSES:-}" ]; then
    printf 'relay of messages of %s bytes, %s sessions, %s rounds in turn: three listeners of one server,\n' \
        "$length" "$sessions" "$rounds"
    printf '250 when synced (fsync), when the device has it (write), at once (memory); %s messages a round\n' "$messages"
else
    printf 'relay of messages of %s bytes, %s sessions, %s rounds in turn, fsync on\n' "$length" "$sessions" "$rounds"
    printf 'messages a round: mailrail %s, postfix %s\n' "$messages" "$postfix_messages"
    printf 'postfix: %s, defaults of the distribution, relayhost, log: %s\n' "$(postconf -dh mail_version)" \
        "$([ -S /dev/log ] && echo syslog || echo 'none, no syslog here')"
fi
printf 'mailrail: %s, %s shards, events on\n' "$("$MAILRAIL" --version)" "$shards"
machine

for relay in $relays; do
    [ "$relay" = postfix ] && count=500 || count=1000
    run "$relay" "$count" >/dev/null
done

printf '%5s  %-9s %12s %18s\n' round relay messages/s 'processor µs each'
order=$relays
for round in $(seq "$rounds"); do
    for relay in $order; do
        [ "$relay" = postfix ] && count=$postfix_messages || count=$messages
        result=$(run "$relay" "$count")
        printf '%s\n' "${result% *}" >>"$directory/$relay.rates"
        printf '%s\n' "${result#* }" >>"$directory/$relay.costs"
        printf '%5s  %-9s %12s %18s\n' "$round" "$relay" ${result% *} ${result#* }
    done
    # Whoever was first is last in the next round.
    order="${order#* } ${order%% *}"
done

echo
for relay in $relays; do
    printf '%5s  %-9s %12s %18s\n' median "$relay" "$(median <"$directory/$relay.rates")" \
        "$(median <"$directory/$relay.costs")"
done
kill "$mailrail_pid" && wait "$mailrail_pid" && unset 'pids[mailrail]'
sed 's/\x1b\[[0-9;]*m//g' "$directory/mailrail.errors" | awk 'match($0, /content_carried=[0-9]+ content_copied=[0-9]+/) {
    split(substr($0, RSTART, RLENGTH), part, /[= ]/)
    printf "mailrail: %.0f MB of content carried to the disk, each byte copied %.2f times\n", part[2] / 1e6, part[4] / part[2] }'
if [ -n "${CLASSES:-}" ]; then
    awk -v a="$(median <"$directory/fsync.rates")" -v b="$(median <"$directory/memory.rates")" \
        'BEGIN { printf "fsync relays %.0f %% of the messages/s that memory does\n", 100 * a / b }'
    exit
fi
rate=$(median <"$directory/mailrail.rates") cost=$(median <"$directory/mailrail.costs")
other_rate=$(median <"$directory/postfix.rates") other_cost=$(median <"$directory/postfix.costs")
awk -v a="$rate" -v b="$other_rate" -v c="$cost" -v d="$other_cost" \
    'BEGIN { printf "mailrail relays %.1f times as many messages/s, at %.1f times less processor each\n", a / b, d / c }'
