#!/usr/bin/env bash
# A mailrail that is laid out by its own profile (PGO): built once so that it counts what it does, run under loads of
# several kinds, and built again by those counts.
#
#   benches/profile.sh                    target/profile/mailrail; a quarter of an hour on two cores
#   MESSAGES=100000 benches/profile.sh    five times the messages of each load
#
# It needs `rustup component add llvm-tools`, or an llvm-profdata of the same LLVM on the PATH. The plain build is
# compiled once and needs neither; what the other one gains stands in benches/README.md.
#
# `mailbench source` makes the loads and `mailbench sink` takes them: small messages with commands one by one, in groups
# with BDAT, each on a connection of its own and by a thousand sessions, and large ones.
set -euo pipefail
cd "$(dirname "$0")/.."

messages=${MESSAGES:-20000}
limit_s=${LIMIT:-300}

name=profile
. benches/rig.sh
profdata=$(printf '%s\n' "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-profdata)
[ -x "$profdata" ] || profdata=$(command -v llvm-profdata) ||
    fail "llvm-profdata is missing; rustup component add llvm-tools"
make_directory
out=$PWD/target/profile
counts=$directory/counts

build_by() { # DIRECTORY FLAG: a mailrail, compiled with the flag
    RUSTFLAGS="${RUSTFLAGS:-} $2" cargo build --release --quiet --locked -p mailrail --target-dir "$1"
}

load() { # FLAG...
    "$mailbench" source "127.0.0.1:$mailrail_port" --limit-s "$limit_s" "$@" \
        >"$directory/source.out" 2>&1 || fail "the load $*: $(tail -n 3 "$directory/source.out")"
}

run_loads() { # MAILRAIL
    local sink_port
    mailrail_port=$(port) sink_port=$(port)
    cat >"$directory/mailrail.toml" <<TOML
hostname = "mailrail.bench.example"
data_dir = "$directory/data"
[[listener]]
address = "127.0.0.1:$mailrail_port"
[[route]]
domain = "*"
via = ["127.0.0.1:$sink_port"]
[dns]
servers = ["127.0.0.1:9"]
TOML
    "$mailbench" sink --listen "127.0.0.1:$sink_port" --bdat --limit-s 3600 >"$directory/sink.out" 2>&1 &
    pids[sink]=$!
    answers "$sink_port" 'mailbench sink'
    LLVM_PROFILE_FILE=$counts/%p.profraw "$1" serve --config "$directory/mailrail.toml" 2>"$directory/mailrail.errors" &
    pids[mailrail]=$!
    answers "$mailrail_port" mailrail
    load --sessions 50 --size 4096 --messages "$messages"
    load --sessions 50 --size 4096 --messages "$messages" --pipelining --bdat
    load --sessions 50 --size 4096 --messages $((messages / 4)) --per-connection 1
    load --sessions 50 --size 100000 --messages $((messages / 8))
    load --sessions 1000 --size 4096 --messages "$messages"
    # It writes its counts when it ends by itself.
    kill "${pids[mailrail]}"
    wait "${pids[mailrail]}" || fail "mailrail: $(tail -n 3 "$directory/mailrail.errors")"
    unset 'pids[mailrail]'
}

cargo build --release --quiet --locked -p mailrail-benches --bin mailbench
mailbench=${CARGO_TARGET_DIR:-target}/release/mailbench
# What runs while it is built counts, too, and not in the sources' directories.
LLVM_PROFILE_FILE=$directory/build-%p.profraw build_by "$out/counting" "-Cprofile-generate"
run_loads "$out/counting/release/mailrail"
"$profdata" merge -o "$out/mailrail.profdata" "$counts"
# Its name is the same each time, so that nothing else tells what is to be compiled again.
rm -rf "$out/build"
build_by "$out/build" "-Cprofile-use=$out/mailrail.profdata"
cp "$out/build/release/mailrail" "$out/mailrail"
printf '%s\n' "${out#"$PWD/"}/mailrail"
