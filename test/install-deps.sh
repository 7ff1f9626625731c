#!/bin/sh
# Installs the Debian packages that the tests need: programs to run under abide,
# and a C compiler for the race detector, the bench and a program that links libsystemd. It does
# nothing where they are there already, and only says so where it may not.
set -eu
missing=
for package in nginx-light:nginx redis-server:redis-server postgresql:postgres openssh-server:sshd \
	openssh-client:ssh python3:python3 nodejs:node util-linux:unshare util-linux:flock procps:ps strace:strace \
	gcc:gcc perl:perl curl:curl git:git runit:runsv s6:s6-supervise supervisor:supervisord systemd:systemd-analyze; do
	program=${package#*:}
	PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null && continue
	ls /usr/lib/postgresql/*/bin/"$program" >/dev/null 2>&1 && continue
	missing="$missing ${package%%:*}"
done
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
[ -e /usr/include/systemd/sd-daemon.h ] || missing="$missing libsystemd-dev"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "the tests need:$missing" >&2
	exit 1
fi
# A package must not start its daemon here: the tests run copies of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
