package cli

import "strings"

// The texts that start abide under another init. Each runs `daemon --attach`, so
// that an init which starts it again finds the instance that still lives. TERM
// stops all services, then abide; KILL ends only the process that the init knows,
// and its next start goes on where that was. So where an init can tell a restart
// from a stop, a restart is told to send KILL. After `abide shutdown` abide ends
// with 0 and is left alone.

func systemdUnit(abide string, user bool) string {
	target := "multi-user.target"
	if user {
		target = "default.target"
	}
	return `[Unit]
Description=abide, a process supervisor
Documentation=man:abide(1)

[Service]
Type=notify
NotifyAccess=all
ExecStart=` + systemdQuote(abide) + ` daemon --attach
ExecReload=` + systemdQuote(abide) + ` apply
KillMode=process
Delegate=yes
Restart=on-failure
TimeoutStopSec=120

[Install]
WantedBy=` + target + `
`
}

func openrcScript(abide string, _ bool) string {
	return `#!/sbin/openrc-run
description="abide, a process supervisor"
supervisor="supervise-daemon"
command=` + shellQuote(abide) + `
command_args="daemon --attach"
respawn_delay=1
respawn_max=0
extra_started_commands="reload"

depend() {
	need localmount
	after bootmisc
}

reload() {
	ebegin "Reading abide's definitions again"
	` + shellQuote(abide) + ` apply
	eend $?
}

stop() {
	ebegin "Stopping abide and its services"
	` + shellQuote(abide) + ` shutdown && default_stop
	eend $?
}
`
}

func sysvScript(abide string, _ bool) string {
	return `#!/bin/sh
### BEGIN INIT INFO
# Provides:          abide
# Required-Start:    $local_fs
# Required-Stop:     $local_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: abide, a process supervisor
### END INIT INFO

abide=` + shellQuote(abide) + `

case $1 in
start)
	"$abide" --system status >/dev/null 2>&1
	test $? -ne 6 && exit 0
	setsid "$abide" --system daemon --attach </dev/null >>/var/log/abide.log 2>&1 &
	tries=50
	while test $tries -gt 0; do
		"$abide" --system status >/dev/null 2>&1
		test $? -ne 6 && exit 0
		sleep 0.1
		tries=$((tries - 1))
	done
	echo "abide does not answer, see /var/log/abide.log" >&2
	exit 1
	;;
stop)
	"$abide" --system shutdown
	code=$?
	test $code -eq 6 && exit 0
	exit $code
	;;
restart)
	"$0" stop && "$0" start
	;;
reload|force-reload)
	"$abide" --system apply
	;;
status)
	"$abide" --system status
	test $? -ne 6 || exit 3
	;;
*)
	echo "usage: $0 start|stop|restart|reload|status" >&2
	exit 2
	;;
esac
`
}

func runitScript(abide string, _ bool) string {
	return `#!/bin/sh
exec 2>&1
exec ` + shellQuote(abide) + ` daemon --attach
`
}

// runitFinish is given the exit code, -1 if killed, and the status, runsv(8).
func runitFinish(string) string {
	return `#!/bin/sh
# After "abide shutdown" it stays down until "sv up abide". When runsv has been told
# to stop it or to end, nothing is left to say.
case $(cat supervise/stat) in
*"want down"* | *"want exit"*) exit 0 ;;
esac
test "$1" != 0 || exec sv d .
`
}

// runitTerm is run in place of TERM, runsv(8), CUSTOMIZE CONTROL.
func runitTerm(string) string {
	return `#!/bin/sh
# "sv restart abide" replaces abide's process and leaves its services alone: it gets
# KILL. "sv down abide" and the end of runsv stop them all: TERM goes through.
case $(cat supervise/stat) in
*"want down"* | *"want exit"*) exit 1 ;;
esac
exec kill -KILL "$(cat supervise/pid)"
`
}

func s6Script(abide string, _ bool) string {
	return `#!/bin/sh
exec 2>&1
exec ` + shellQuote(abide) + ` daemon --attach
`
}

// s6Finish is given the exit code, 256 if killed, s6-supervise(8).
func s6Finish(abide string) string {
	return `#!/bin/sh
# "s6-svc -r" replaces abide's process and leaves its services alone: it gets KILL, see
# down-signal. "s6-svc -d" and the end of s6-supervise stop them all, here. After
# "abide shutdown" it stays down until "s6-svc -u".
abide=` + shellQuote(abide) + `
test "$1" -ne 0 || exit 125
test "$(s6-svstat -o wantedup .)" = false || exit 0
"$abide" daemon --attach & # there may be nobody who could stop them
tries=100
until "$abide" shutdown; do
	test $? -eq 6 && test $tries -gt 0 || exit 1
	tries=$((tries - 1))
	sleep 0.1
done 2>/dev/null
wait
`
}

func s6DownSignal(string) string { return "KILL\n" }

// s6FinishTimeout is how long finish may take, in milliseconds.
func s6FinishTimeout(string) string { return "120000\n" }

func supervisordProgram(abide string, _ bool) string {
	return `; supervisord cannot tell a program whether it is restarted or stopped: both are
; KILL here, which leaves abide's services alone. "abide shutdown" stops them, and
; abide stays ended until "supervisorctl start abide". Where supervisord is process 1
; of a container and its end is to stop the services, use stopsignal=TERM and
; stopwaitsecs=100.
[program:abide]
command=` + strings.ReplaceAll(shellQuote(abide), "%", "%%") + ` daemon --attach
directory=/
autorestart=unexpected
exitcodes=0
startsecs=0
stopsignal=KILL
redirect_stderr=true
`
}

func inittabLine(abide string, _ bool) string {
	return "ab:2345:respawn:" + shellQuote(abide) + " daemon --attach\n"
}

func launchdPlist(abide string, _ bool) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>org.abide.abide</string>
	<key>ProgramArguments</key>
	<array>
		<string>` + xmlText(abide) + `</string>
		<string>daemon</string>
		<string>--attach</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>AbandonProcessGroup</key>
	<true/>
	<key>ExitTimeOut</key>
	<integer>120</integer>
</dict>
</plist>
`
}

// cronLine is a line of a crontab; the system's names the user it runs as.
func cronLine(abide string, user bool) string {
	who := "root "
	if user {
		who = ""
	}
	return "@reboot " + who + shellQuote(abide) + " daemon --attach >/dev/null 2>&1\n"
}
