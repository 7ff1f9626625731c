#!/bin/sh
# What `make run2` shows: every process of abide is killed, three services go on as
# if nothing had happened, and the next abide has them back: the same pids, and a
# log in which no line is missing. Everything lives in a temporary folder.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
PATH=$here/bin:$PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/abide-killed.XXXXXX")
mkdir "$dir/services"
export ABIDE_RUN="$dir/run"

finish() {
	abide shutdown >/dev/null 2>&1 || true
	wait
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
	printf '$ %s\n' "$*"
	"$@"
}
daemon() {
	echo '$ abide daemon &'
	abide daemon --config "$dir/services" --run "$dir/run" --state "$dir/state" --log "$dir/log" 2>"$dir/said" &
	tries=0
	until abide wait web worker counter --for running >/dev/null 2>&1; do
		tries=$((tries + 1))
		test $tries -lt 100 || { cat "$dir/said" >&2; exit 1; }
		sleep 0.1
	done
}
pids() { abide status --json | tr '{' '\n' | sed -n 's/^"name": *"\([^"]*\)".*"pid": *\([0-9]*\).*/\1 \2/p'; }
pid_of() { pids | sed -n "s/^$1 //p"; }

echo 'command = "sleep 1000"' >"$dir/services/web.toml"
echo 'command = "sleep 2000"' >"$dir/services/worker.toml"
cat >"$dir/services/counter.toml" <<'EOF'
shell   = true
command = "n=0; while :; do n=$((n + 1)); echo line $n; sleep 0.01; done"
EOF

say "Three services. One of them writes a hundred lines a second:"
daemon
show abide status
before=$(pids)
counter=$(pid_of counter)

say "kill -9 for everything that abide is (frozen first, or what dies last replaces the other):"
ours=$(ps -e -o pid= -o args= | grep "[a]bide-.* --run $dir/run " | while read -r pid args; do echo "$pid"; done)
# shellcheck disable=SC2086
{
	show kill -STOP $ours
	show kill -9 $ours
}
sleep 0.2
show abide status || true

say "The services run on. Nobody reads what the counter writes, so it waits in its pipe:"
# shellcheck disable=SC2046
show ps -o pid,etime,args -p $(echo "$before" | while read -r name pid; do echo "$pid"; done | paste -sd, -)
sleep 2

say "abide again. It starts nothing, it finds them:"
daemon
show abide status
test "$(pids)" = "$before" || { echo "the pids have changed" >&2; exit 1; }
test "$(pid_of counter)" = "$counter"

say "What the counter wrote meanwhile has come, too. Its log, checked line by line:"
sleep 0.5
show abide log -n 3 counter
abide log -n -1 counter | awk '
	$NF != NR { print "line " NR " is " $NF; bad = 1; exit }
	END { if (!bad) print NR " lines, none missing, none twice"; exit bad }'

say "Stopped, with nothing left:"
show abide shutdown
