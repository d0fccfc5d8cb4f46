#!/usr/bin/env bash
# Builds a mailrail whose code lies as its own work wants it: a build that counts, loads for it to count, and a build by that
# profile. The result is target/pgo/mailrail. Compare it with the plain one by
#   target/release/mailbench compare --mailrail target/pgo/mailrail
#
#   rustup component add llvm-tools            # llvm-profdata of the compiler's own version
#   benches/pgo.sh
#
# All dependencies are compiled twice, so it takes three times as long as the plain build. Loads are over after a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$target/bin/llvm-profdata
[ -x "$profdata" ] || { echo 'pgo.sh: no llvm-profdata: rustup component add llvm-tools' >&2; exit 1; }

pgo=$PWD/target/pgo
rm -rf "$pgo/counts"
mkdir -p "$pgo/counts"

RUSTFLAGS="-Cprofile-generate=$pgo/counts" cargo build --release --locked -p mailrail --target-dir "$pgo/counting"
cargo build --release --locked -p mailrail-benches

# What a relay does: with and without pipelining, a connection a message, large messages, TLS. A server writes its counts when
# it stops.
target/release/mailbench compare --mailrail "$pgo/counting/release/mailrail" --server mailrail --rounds 1 \
    --scenario relay-50 --scenario relay-50-fresh --scenario pipelined --scenario large --scenario tls \
    --out "$pgo/loads" >"$pgo/loads.txt"

"$profdata" merge -o "$pgo/mailrail.profdata" "$pgo"/counts/*.profraw
RUSTFLAGS="-Cprofile-use=$pgo/mailrail.profdata" cargo build --release --locked -p mailrail --target-dir "$pgo/laid-out"
cp "$pgo/laid-out/release/mailrail" "$pgo/mailrail"
printf 'target/pgo/mailrail is built\n'
