#!/bin/sh
# Make .venv from constraints.txt and install passby in it, editable, with the tools of `make check`.
#
# Called by make, which knows when it is due. Needs Python 3.11 or newer and the registries;
# what pip cannot bring is installed where that is allowed, and otherwise named in one line.
# PYTHON=... chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=.venv

say() { printf 'install: %s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# --- the interpreter -------------------------------------------------------------------
# It is run rather than looked up: a version manager's shim may exist for a Python that doesn't.
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
identity() { "$1" -c 'import sys; print(sys.base_prefix, sys.version.split()[0])' 2>/dev/null; }

made_here=no
if [ "$(cat $venv/.made-in 2>/dev/null)" = "$root" ] && fits $venv/bin/python; then
    made_here=yes
fi

python=
if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || die "PYTHON=$PYTHON is no Python 3.11 or newer"
    python=$PYTHON
    [ "$(identity "$python")" = "$(identity $venv/bin/python)" ] || made_here=no
elif [ $made_here = yes ]; then
    python=$venv/bin/python
else
    for candidate in python3.13 python3.12 python3.11 python3; do
        if fits $candidate; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || die "passby needs Python 3.11 or newer, and finds none;" \
        "install one, or name it: make install PYTHON=/path/to/python3.13"
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# The distribution's Python takes its headers from the distribution; any other brings its own.
if [ "$("$python" -c 'import sys; print(sys.base_prefix)')" = /usr ]; then
    of_system=yes
else
    of_system=no
fi

# --- what pip cannot bring -------------------------------------------------------------
# fastecdsa, which libp2p imports, has no wheel: pip compiles it against Python.h and gmp.h.
# Compiling a few lines here first spares the newcomer a page of compiler output.
CC=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')

compiles() { # lines of C, libraries
    printf '%b\n' "$1" >"$scratch/probe.c"
    # Unquoted on purpose: these hold several words each.
    # shellcheck disable=SC2086
    $CC ${CPPFLAGS:-} ${CFLAGS:-} -fPIC -shared -I"$include" \
        "$scratch/probe.c" -o "$scratch/probe.so" ${LDFLAGS:-} $2 >/dev/null 2>&1
}

look_for_gaps() {
    lacks_compiler=no lacks_headers=no lacks_gmp=no lacks_venv=no
    if compiles '#include <stdio.h>\nint probe(void) { return puts("");  }' ''; then
        compiles '#include <Python.h>\nint probe(void) { return 0; }' '' || lacks_headers=yes
        compiles '#include <gmp.h>\nvoid probe(void) { mpz_t n; mpz_init(n); mpz_clear(n); }' \
            -lgmp || lacks_gmp=yes
    else
        # Without a compiler the others cannot be tried; asking for what is there costs nothing.
        lacks_compiler=yes lacks_gmp=yes lacks_headers=$of_system
    fi
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || lacks_venv=yes
    case "$lacks_compiler$lacks_headers$lacks_gmp$lacks_venv" in
        nononono) return 1 ;;
    esac
}

packages() { # what a compiler, Python's headers, GMP's and venv are called here
    list=
    [ $lacks_compiler = no ] || list="$list $1"
    [ $lacks_headers = no ] || list="$list $2"
    [ $lacks_gmp = no ] || list="$list $3"
    [ $lacks_venv = no ] || list="$list $4"
    # Unquoted on purpose: drops empty names.
    # shellcheck disable=SC2086
    echo $list
}

fill_by_apt() {
    names=$(packages build-essential "python$version-dev" libgmp-dev "python$version-venv")
    say "installing what pip cannot bring: $names"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends $names; } \
        >"$scratch/apt.log" 2>&1 </dev/null; then
        tail -n 5 "$scratch/apt.log" >&2
    fi
}

name_the_line() {
    if [ $of_system = no ] && [ "$lacks_headers$lacks_venv" != nono ]; then
        die "$python lacks its headers or the venv module; choose another: make install PYTHON=..."
    fi
    if command -v apt-get >/dev/null; then
        names=$(packages build-essential "python$version-dev" libgmp-dev "python$version-venv")
        line="sudo apt-get update && sudo apt-get install -y $names"
    elif command -v dnf >/dev/null; then
        line="sudo dnf install -y $(packages gcc "python$version-devel" gmp-devel "python$version")"
    elif command -v pacman >/dev/null; then
        line="sudo pacman -S --needed $(packages base-devel python gmp python)"
    elif command -v apk >/dev/null; then
        line="sudo apk add $(packages build-base python3-dev gmp-dev python3)"
    elif command -v brew >/dev/null; then
        # Homebrew's folder is in no compiler's search path.
        line="brew install gmp && export CPATH=\$(brew --prefix)/include LIBRARY_PATH=\$(brew --prefix)/lib"
    else
        die "install with your system's packages, then try again:" \
            "$(packages 'a C compiler,' "the headers of Python $version," "GMP's headers," 'venv')"
    fi
    die "something is missing that pip cannot bring; this installs it, then try again: $line"
}

if look_for_gaps; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        { [ $of_system = yes ] || [ "$lacks_headers$lacks_venv" = nono ]; }; then
        fill_by_apt
        if look_for_gaps; then name_the_line; fi
    else
        name_the_line
    fi
fi

# --- .venv -----------------------------------------------------------------------------
rm -f $venv/.installed
if [ $made_here = no ]; then
    say "making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear $venv
fi
say "fetching the versions of constraints.txt (a few minutes the first time)"
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check --no-input"
# pip itself is pinned too, since what it prints and refuses changes between versions.
$pip install --constraint constraints.txt pip
$pip install --constraint constraints.txt --build-constraint constraints.txt --editable '.[dev]'

# Stubs years older than the types that trio and outcome bring themselves; see pyproject.toml.
rm -rf $venv/lib/python*/site-packages/trio-stubs $venv/lib/python*/site-packages/outcome-stubs

$venv/bin/python -c 'import libp2p, passby' || die "installed, but it does not import; see above"
printf '%s\n' "$root" >$venv/.made-in
printf '%s\n' "${PYTHON:-}" >$venv/.made-with
touch $venv/.installed
say "done: $venv, Python $("$venv/bin/python" -c 'import platform; print(platform.python_version())')"
