#!/usr/bin/env bash
# Puts the servers that the adapters know and that are not installed into a directory: Debian's packages unpacked beside each
# other (installed, they would drive each other out) and Haraka from npm. Nothing of the system is changed.
#
#   benches/adapters/fetch.sh                  all, into target/mtas
#   benches/adapters/fetch.sh DIR exim4        one of exim4 opensmtpd sendmail haraka, into DIR
#
# What is there already is left alone. Postfix is installed (apt-get install postfix) and not fetched: its programs know the
# system's directories. kumod has packages of its own (https://docs.kumomta.com), and is taken where it is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

directory=${1:-target/mtas}
shift || true
[ $# -gt 0 ] || set -- exim4 opensmtpd sendmail haraka
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)

# Packages below DIRECTORY/NAME, with those libraries that this machine has not.
debian() { # NAME PACKAGE...
    local name=$1 work
    shift
    work=$directory/.$name.new
    rm -rf "$work"
    mkdir -p "$work/debs"
    (cd "$work/debs" && apt-get download "$@")
    for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work"; done
    rm -r "$work/debs"
    mv "$work" "$directory/$name"
}

haraka() {
    local work=$directory/.haraka.new
    rm -rf "$work"
    mkdir -p "$work"
    # Of the plugins, all of them optional, the adapter needs one. Without scripts nothing is compiled.
    (cd "$work" && npm install --no-audit --no-fund --omit=optional --ignore-scripts Haraka haraka-plugin-relay)
    mv "$work" "$directory/haraka"
}

for name; do
    if [ -e "$directory/$name" ]; then
        printf '%s is there\n' "$name"
        continue
    fi
    case $name in
        exim4) debian exim4 exim4-daemon-light exim4-base ;;
        opensmtpd) debian opensmtpd opensmtpd libevent-2.1-7 ;;
        # m4 makes its configuration from Debian's macros; libwrap0 and liblockfile1 are on few machines.
        sendmail)
            debian sendmail sendmail-bin sendmail-base sendmail-cf m4 libsigsegv2 libwrap0 liblockfile1
            # With it the loader would not look for libraries here. A server that root starts has no use for it.
            chmod g-s "$directory/sendmail/usr/libexec/sendmail/sendmail"
            ;;
        haraka) haraka ;;
        *) printf 'fetch.sh: no server %s\n' "$name" >&2; exit 1 ;;
    esac
done
