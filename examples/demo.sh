#!/bin/sh
# What `make run` shows: a program under abide is killed and is back, its output
# is in a log, and stopping leaves nothing behind. nginx if there is one, else a
# small program that comes with abide. Everything lives in a temporary folder.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
abide=$here/bin/abide
dir=$(mktemp -d "${TMPDIR:-/tmp}/abide-demo.XXXXXX")
mkdir "$dir/services"
daemon=

finish() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	[ -z "$daemon" ] || wait "$daemon" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }
pid_of() { "$abide" status --json "$1" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1; }

nginx=$(command -v nginx || ls /usr/sbin/nginx 2>/dev/null || true)
if [ -n "$nginx" ]; then
	name=nginx
	port=${PORT:-18080}
	mkdir "$dir/nginx" "$dir/html"
	chmod 755 "$dir" "$dir/html"
	echo "nginx, kept running by abide" >"$dir/html/index.html"
	cat >"$dir/nginx/nginx.conf" <<EOF
pid $dir/nginx/nginx.pid;
error_log stderr;
events { }
http {
	access_log /dev/stdout;
	client_body_temp_path $dir/nginx/body; proxy_temp_path $dir/nginx/proxy;
	fastcgi_temp_path $dir/nginx/fcgi; uwsgi_temp_path $dir/nginx/uwsgi; scgi_temp_path $dir/nginx/scgi;
	server { listen 127.0.0.1:$port; root $dir/html; }
}
EOF
	echo "command = \"$nginx -e stderr -c $dir/nginx/nginx.conf -g 'daemon off;'\"" >"$dir/services/nginx.toml"
	answer() { ! command -v curl >/dev/null || show curl -s --retry 20 --retry-connrefused "http://127.0.0.1:$port/"; }
else
	name=ticker
	echo "command = \"$here/examples/ticker.sh\"" >"$dir/services/ticker.toml"
	answer() { show "$abide" log -n 1 ticker; }
fi

say "A definition is a file of one line:"
show cat "$dir/services/$name.toml"

say "abide runs it:"
export ABIDE_RUN="$dir/run"
"$abide" daemon --config "$dir/services" --run "$dir/run" --state "$dir/state" --log "$dir/log" &
daemon=$!
tries=0
until "$abide" wait "$name" --for running >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || { echo "abide did not start $name" >&2; "$abide" status || true; exit 1; }
	sleep 0.1
done
show "$abide" status
answer

pid=$(pid_of $name)
say "Killed with SIGKILL (pid $pid), it is back:"
show kill -9 "$pid"
until [ "$(pid_of $name)" != "$pid" ]; do :; done
"$abide" wait "$name" --for running >/dev/null
show "$abide" status "$name"
answer

pid=$(pid_of $name)
say "abide's own engine killed, the service does not notice (pid $pid before and after):"
show pkill -9 -P "$daemon" -f abide-engine
show "$abide" status

say "What it wrote:"
show "$abide" log -n 5 "$name"

say "Stopped, with nothing left:"
show "$abide" stop "$name"
show "$abide" shutdown
wait "$daemon" || true
daemon=
