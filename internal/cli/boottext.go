package cli

// The texts that start abide under another init. Each runs `daemon --attach`, so
// that an init which starts it again finds the instance that still lives.

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
Restart=always
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
	<true/>
	<key>AbandonProcessGroup</key>
	<true/>
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
