#!/bin/sh
# What supervisors do to a service when all their own processes get SIGKILL and are
# started again a second later: prints a table. The service notes its own starts and
# failed writes and numbers its lines, so nobody's word is taken for anything. It
# is set up as each manual shows, with the supervisor's own logger. Everything
# lives in a temporary folder, and only processes started here are killed.
#
#     bench/death.sh [abide|runit|s6|daemontools|supervisord]...
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
PATH=$here/bin:$PATH:/usr/sbin
dir=$(mktemp -d "${TMPDIR:-/tmp}/abide-death.XXXXXX")
seen=
trap 'kill -9 $seen 2>/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

cat >"$dir/speak" <<'EOF'
#!/usr/bin/perl
# Writes a numbered line every five milliseconds: "PID N".
$| = 1;
$SIG{PIPE} = 'IGNORE';
sub note { open(my $f, '>>', "$ENV{NOTES}/$_[0]"); syswrite($f, "$_[1]\n"); }
note('starts', $$);
$SIG{TERM} = sub { note('wrote', "$$ $n"); exit 0 };
while () {
	$n++;
	defined syswrite(STDOUT, "$$ $n\n") or note('errors', "$$ $!");
	select(undef, undef, undef, 0.005);
}
EOF
chmod 755 "$dir/speak"

script() { # FILE LINE...: an executable shell script
	mkdir -p "$(dirname "$1")"
	file=$1
	shift
	{ echo '#!/bin/sh'; printf '%s\n' "$@"; } >"$file"
	chmod 755 "$file"
}

# Each sets the supervisor up in $home and says how to start it and where its logs are.
setup_abide() {
	mkdir -p "$home/services"
	printf 'command = "%s"\nenvironment = { NOTES = "%s" }\n[log]\nstamp = "none"\n' "$dir/speak" "$home" >"$home/services/speak.toml"
	begin="abide daemon --config $home/services --run $home/run --state $home/state --log $home/logs"
	logs="$home/logs/speak"
}
setup_runit() {
	script "$home/scan/speak/run" "exec env NOTES=$home $dir/speak"
	script "$home/scan/speak/log/run" "exec svlogd $home/logs"
	mkdir -p "$home/logs"
	begin="runsvdir $home/scan" logs="$home/logs"
}
setup_s6() {
	script "$home/scan/speak/run" "exec env NOTES=$home $dir/speak"
	script "$home/scan/speak/log/run" "exec s6-log n20 s1000000 $home/logs"
	mkdir -p "$home/logs"
	begin="s6-svscan $home/scan" logs="$home/logs"
}
setup_daemontools() {
	script "$home/scan/speak/run" "exec env NOTES=$home $dir/speak"
	script "$home/scan/speak/log/run" "exec multilog s1000000 n20 $home/logs"
	mkdir -p "$home/logs"
	begin="svscan $home/scan" logs="$home/logs"
}
setup_supervisord() {
	mkdir -p "$home/logs"
	cat >"$home/conf" <<EOF
[supervisord]
nodaemon=true
pidfile=$home/pid
logfile=$home/supervisord.log
[program:speak]
command=$dir/speak
environment=NOTES="$home"
stdout_logfile=$home/logs/speak
EOF
	begin="supervisord -c $home/conf" logs="$home/logs"
}

tree() { # PID: it and its descendants
	ps -e -o pid= -o ppid= | awk -v root="$1" '
		{ parent[$1] = $2 }
		END { for (p in parent) for (q = p; q in parent; q = parent[q]) if (q == root) { print p; break } }'
}
alive() { for p in $(sort -u "$home/starts"); do kill -0 "$p" 2>/dev/null && echo "$p"; done; }
launch() {
	(cd "$home" && exec setsid $begin >>"$home/said" 2>&1) &
	root=$!
	seen="$seen $root"
}

try() {
	home=$dir/$1
	mkdir "$home"
	"setup_$1"
	launch
	tries=100
	until test -s "$home/starts"; do
		tries=$((tries - 1))
		test $tries -gt 0 || { echo "$1 does not start its service:" >&2; cat "$home/said" >&2; return 1; }
		sleep 0.1
	done
	sleep 1
	service=$(cat "$home/starts")
	managers=$(tree $root | grep -vx "$service")
	seen="$seen $managers $service"
	# shellcheck disable=SC2086
	kill -9 $managers
	sleep 1
	survived=$(alive | grep -cx "$service" || true)
	launch
	sleep 4
	copies=$(alive | wc -l)
	kept=$(alive | grep -cx "$service" || true)
	errors=$(grep -c "^$service " "$home/errors" 2>/dev/null || true)
	# The end of all, in order: the service says how much it has written.
	# shellcheck disable=SC2046
	seen="$seen $(alive | tr '\n' ' ')"
	kill -TERM $(alive) 2>/dev/null || true
	sleep 1
	all=$(tree $root | tr '\n' ' ')
	seen="$seen $all"
	wrote=$(awk -v s="$service" '$1 == s { print $2 }' "$home/wrote" 2>/dev/null | tail -n 1)
	logged=$(cat "$logs"/* 2>/dev/null | awk -v s="$service" '$(NF-1) == s { n++; last[$NF]++ } END { for (l in last) u++; print u + 0 }')
	twice=$(cat "$logs"/* 2>/dev/null | awk -v s="$service" '$(NF-1) == s && seen[$NF]++ { n++ } END { print n + 0 }')
	kill -TERM $root 2>/dev/null || true
	sleep 0.3
	# shellcheck disable=SC2046
	kill -9 $all $(alive) 2>/dev/null || true
	sleep 0.1

	if test "$survived" = 1; then then_="runs on"; else then_="dead"; fi
	case "$copies $kept" in
	"1 1") after="one copy, the same process" ;;
	"1 0") after="one copy, another process" ;;
	*) after="$copies copies at once" ;;
	esac
	if test -n "$wrote"; then lost="$((wrote - logged)) of $wrote, $twice twice"; else lost="it was killed, $logged logged"; fi
	printf '| %s | %s | %s | %s | %s |\n' "$1" "$then_" "$after" "${errors:-0}" "$lost"
}

test $# -gt 0 || set -- abide runit s6 daemontools supervisord
echo "| | the service, managers dead | after they are started again | its writes that failed | its lines lost |"
echo "| --- | --- | --- | --- | --- |"
for who; do try "$who"; done
