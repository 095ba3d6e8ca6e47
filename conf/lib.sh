# lib.sh - what conf/quickstart and tests/run share; sourced by bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${POSTHORN_BUILD:-$ROOT/build}

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# packages GROUP...: install those of conf/packages that are missing
packages() {
    local group missing=() p log
    for group in "$@"; do
        for p in $(sed -n "s/^$group //p" "$ROOT/conf/packages"); do
            dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
        done
    done
    [ ${#missing[@]} = 0 ] && return 0
    step "installing ${missing[*]}"
    log=$(mktemp)
    { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 || { tail -20 "$log" >&2; rm -f "$log"; die "apt-get could not install the packages above"; }
    rm -f "$log"
}

# build DIR [cmake options]: configure once, build what changed ($TARGETS of it), quietly unless it fails. A finished build
# that belongs to somebody else is used as it stands.
build() {
    local dir=$1 log
    shift
    log=$dir/build.log
    [ ! -x "$dir/daemons/master" ] || [ -w "$dir" ] || return 0
    mkdir -p "$dir"
    [ -f "$dir/build.ninja" ] || cmake -G Ninja -S "$ROOT" -B "$dir" "$@" >"$log" 2>&1 || { tail -30 "$log" >&2; die "cmake failed: $log"; }
    # shellcheck disable=SC2086
    ninja -C "$dir" ${TARGETS:-} >"$log" 2>&1 || { grep -E -A12 'FAILED|error' "$log" | head -60 >&2; die "the build failed: $log"; }
}

# As root the daemons run under accounts of their own, which must get through to the instance.
passable() { # DIR
    local d=$1
    [ "$(id -u)" = 0 ] || return 0
    while [ "$d" != / ]; do
        d=$(dirname "$d")
        [ $((0$(stat -c %a "$d") & 1)) = 1 ] ||
            die "the daemons' accounts cannot pass $d (mode $(stat -c %a "$d")): name another place, for example below /srv, or: chmod o+x $d"
    done
}

# A system account and its group; the number is a wish.
account() { # NAME HOME [UID]
    getent group "$1" >/dev/null || groupadd --system ${3:+--gid "$3"} "$1" 2>/dev/null || groupadd --system "$1"
    getent passwd "$1" >/dev/null ||
        useradd --system --no-create-home --home-dir "$2" --gid "$1" --shell /usr/sbin/nologin ${3:+--uid "$3"} "$1" 2>/dev/null ||
        useradd --system --no-create-home --home-dir "$2" --gid "$1" --shell /usr/sbin/nologin "$1"
}

# A password nobody has to type.
secret() { head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
