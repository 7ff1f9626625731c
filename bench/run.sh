#!/bin/sh
# Measures abide beside the supervisors that Debian ships; the arguments go to
# the program (see bench/README.md). Missing packages are installed where that
# is possible, and left out of the table where it is not.
set -eu
cd "$(dirname "$0")/.."

missing=
for package in runit s6 daemontools supervisor gcc libc6-dev; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		# Installing a supervisor must not start it.
		policy=/usr/sbin/policy-rc.d
		if [ ! -e "$policy" ]; then
			printf '#!/bin/sh\nexit 101\n' >"$policy"
			chmod 755 "$policy"
			trap 'rm -f "$policy"' EXIT
		fi
		# shellcheck disable=SC2086
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $missing; } >/dev/null ||
			echo "bench: cannot install:$missing" >&2
	else
		echo "bench: not installed:$missing" >&2
	fi
fi
go run ./bench "$@"
