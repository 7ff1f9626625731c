package cli

import "github.com/spf13/pflag"

// verb is one line of the table that the parser, help, manual pages, completion
// and docs/cli.md are made from.
type verb struct {
	name    string
	aliases []string // silent
	args    string   // as the usage line shows them
	summary string   // one line, no full stop
	long    string
	example string
	group   string

	min, max int  // number of arguments; max -1: any
	dash     bool // what stands behind -- is a command
	complete completion
	flags    func(*pflag.FlagSet, *options)
	run      func(*app, []string) error
}

// completion says what arguments of a verb name.
type completion uint8

const (
	completeNothing completion = iota
	completeServices
	completeSignal // a signal, then services
	completeFiles
	completeShells
)

// The groups, in the order help shows them.
const (
	groupServices = "Services"
	groupLook     = "Looking"
	groupDefine   = "Definitions"
	groupAbide    = "Abide itself"
)

var groups = []string{groupServices, groupLook, groupDefine, groupAbide}

// verbs returns the table. It is made anew for each caller, because the functions
// in it reach the table themselves.
func verbs() []*verb {
	return []*verb{
		{name: "status", aliases: []string{"ps", "ls", "list"}, args: "[NAME...]", group: groupLook,
			summary: "show services: a line each, or one in full",
			long: `Without a name there is one line for each service, and the exit code is 0 when each
is as it is wanted, else 3. With one name the whole story of that service is told, and
the exit code is 3 when it does not run (a task that has finished counts as done).
abide without a verb is abide status.`,
			example: "abide status web", max: -1, complete: completeServices, flags: jsonFlag, run: (*app).status},
		{name: "start", args: "NAME...", group: groupServices,
			summary: "start services and wait until they run",
			long: `Reads the definition first and says when it has changed. Ends with 1 when the first run
ends before it is ready, with its exit and its last lines; abide goes on trying, and says so.`,
			example: "abide start web db", min: 1, max: -1, complete: completeServices, flags: actionFlags(onceFlag), run: action("start")},
		{name: "stop", args: "NAME...", group: groupServices,
			summary: "stop services and all they have started",
			long: `Returns when nothing of them is left, and says when KILL was needed. A stopped service
stays down until start, restart, enable --now or a reboot.`,
			example: "abide stop web", min: 1, max: -1, complete: completeServices, flags: actionFlags(), run: action("stop")},
		{name: "restart", args: "NAME...", group: groupServices,
			summary: "stop services, then start them with the definition as it is now",
			example: "abide restart web", min: 1, max: -1, complete: completeServices, flags: actionFlags(), run: action("restart")},
		{name: "roll", args: "NAME...", group: groupServices,
			summary: "replace the run of services by a next one that is ready first",
			long: `Starts the next run beside the present one, with the definition as it is now, waits until
it is ready, and only then ends the old one. When it ends, or is not ready in ready.timeout,
it is ended, the old one stays as it is, and the exit code is 1. A program that two of cannot
run side by side (both bind the same port, or lock the same file) cannot be rolled.`,
			example: "abide roll web", min: 1, max: -1, complete: completeServices, flags: actionFlags(), run: action("roll")},
		{name: "reload", args: "NAME...", group: groupServices,
			summary: "tell services to read their own configuration again",
			long: `Sends the signal or runs the command of [reload]. To make abide read its definitions
again, use abide apply.`,
			example: "abide reload nginx", max: -1, complete: completeServices, flags: actionFlags(), run: (*app).reload},
		{name: "enable", args: "NAME...", group: groupServices,
			summary: "let services be started at boot and by triggers",
			example: "abide enable --now web", min: 1, max: -1, complete: completeServices, flags: actionFlags(nowFlag("start them too")), run: action("enable")},
		{name: "disable", args: "NAME...", group: groupServices,
			summary: "keep services from being started, across reboots",
			long:    "A service that runs is not stopped, unless --now is given.",
			example: "abide disable --now web", min: 1, max: -1, complete: completeServices, flags: actionFlags(nowFlag("stop them too")), run: action("disable")},
		{name: "clear", args: "NAME...", group: groupServices,
			summary: "forget faults and delays; a wanted service starts at once",
			example: "abide clear web", min: 1, max: -1, complete: completeServices, flags: actionFlags(), run: action("clear")},
		{name: "signal", args: "SIGNAL NAME...", group: groupServices,
			summary: "send a signal to the main process of services",
			long:    "SIGNAL is a name with or without SIG (USR1, SIGHUP, RTMIN+3) or a number.",
			example: "abide signal USR1 web", min: 2, max: -1, complete: completeSignal, flags: actionFlags(), run: (*app).signal},
		{name: "pause", args: "NAME...", group: groupServices,
			summary: "freeze services where they stand",
			example: "abide pause web", min: 1, max: -1, complete: completeServices, flags: actionFlags(), run: action("pause")},
		{name: "resume", args: "NAME...", group: groupServices,
			summary: "let paused services go on",
			example: "abide resume web", min: 1, max: -1, complete: completeServices, flags: actionFlags(), run: action("resume")},
		{name: "run", args: "[--wait] -- COMMAND...", group: groupServices, dash: true,
			summary: "run a command once, as a service that is not kept",
			long: `The command runs in the working directory, with a clean environment to which --env adds.
With --wait its output is shown and its exit code is passed on (128+n for a signal);
125 means that abide could not run it, 126 that it is no program, 127 that it was not found.`,
			example: "abide run --wait -- /usr/bin/backup --full", min: 1, max: -1, flags: runFlags, run: (*app).runCommand},
		{name: "adopt", args: "PID --as NAME", group: groupServices,
			summary: "put a process that runs already under supervision, with no restart",
			long: `The process keeps its pid and does not notice. With a definition of that name it is its next
run; without one a service is made of what can be seen of it, which is not started again
when it ends. Its output comes into the log if it is a pipe that nobody else reads;
otherwise it stays where it goes, and status says where that is.`,
			example: "abide adopt 4711 --as nginx", min: 1, max: 1, flags: adoptFlags, run: (*app).adopt},
		{name: "release", args: "NAME...", group: groupServices,
			summary: "let the processes of services go on without abide",
			long: `The process keeps its pid, nothing is sent to it, and abide does not end it any more, not
even at its own end. What it writes goes on into its log. The service is stopped; while the
process lives it is not started, but abide adopt takes it back.`,
			example: "abide release redis", min: 1, max: -1, complete: completeServices, flags: actionFlags(), run: action("release")},
		{name: "wait", args: "NAME...", group: groupLook,
			summary: "wait until services reach a state, or end",
			long:    "Without --for it waits until the run of each has ended.",
			example: "abide wait web --for running --timeout 30s", min: 1, max: -1, complete: completeServices, flags: waitFlags, run: (*app).waitFor},
		{name: "log", aliases: []string{"logs"}, args: "[NAME...]", group: groupLook,
			summary: "show what services wrote, several merged by time",
			long: `Shows the last 100 lines unless -n or --since is given. --since takes a time ago (10m) or
a time (15:04, 2006-01-02, "2006-01-02 15:04:05", RFC 3339). -f goes on as lines come,
also when abide restarts meanwhile.`,
			example: "abide log -f -n 20 web", max: -1, complete: completeServices, flags: logFlags, run: (*app).logs},
		{name: "events", args: "", group: groupLook,
			summary: "show what happened: exits, starts, orders",
			long:    "--since takes the number an event is printed with by --json (cursor), and shows what came after it.",
			example: "abide events -f", flags: eventFlags, run: (*app).events},
		{name: "why", args: "NAME", group: groupLook,
			summary: "explain the state of a service: what it lacks and how it came to be",
			long: `Prints each condition that is not met, which services are down because of this one, and
the chain of events behind its state: what happened, what was decided, and what was done
about it ("-> start run 8"), the first cause first. It is read from the history, so it also
tells what happened before abide was started last.`,
			example: "abide why web", min: 1, max: 1, complete: completeServices, flags: whyFlags, run: (*app).why},
		{name: "graph", args: "[NAME...]", group: groupLook,
			summary: "show what services need, as a tree, for dot or for Mermaid",
			long: `Below each service stands what it requires, wants or follows, with its state. What stood
further up already is not unfolded again. With names only those and all they lead to.
--times shows the critical chain instead: what the service that was ready last (or each one
named) waited for last, what that waited for, and so on: @ is the time from the start of
the first of them to readiness, + how long it took itself.`,
			example: "abide graph --times web", max: -1, complete: completeServices, flags: graphFlags, run: (*app).graph},
		{name: "history", args: "NAME", group: groupLook,
			summary: "show the runs of a service: start, end, exit, cause, processor time, memory",
			long: `One line for each run that the history still knows, the newest last. The memory is that of
the largest process of the run, and together with the processor time it is known once the
run has ended.`,
			example: "abide history -n 20 web", min: 1, max: 1, complete: completeServices, flags: historyFlags, run: (*app).history},
		{name: "show", args: "NAME|PATH", group: groupDefine,
			summary: "show a definition as abide understands it, with the origin of each value",
			example: "abide show web", min: 1, max: 1, complete: completeServices, run: (*app).show},
		{name: "check", args: "PATH...", group: groupDefine,
			summary: "check definitions: files or folders, of any format abide reads",
			long:    "Prints file, line, column, the line itself and a hint for each finding; 1 when there is an error.",
			example: "abide check /etc/abide/services", min: 1, max: -1, complete: completeFiles, flags: jsonFlag, run: (*app).check},
		{name: "new", args: "NAME -- COMMAND...", group: groupDefine, dash: true,
			summary: "write the definition of a service: one line",
			long: `Writes NAME.toml to the folder of the system, of the user (not root, or with --user) or of
the project (one whose definitions stand in its folder abide/), and overwrites nothing.`,
			example: "abide new web -- /usr/sbin/nginx -g 'daemon off;'", min: 2, max: -1, run: (*app).newDefinition},
		{name: "plan", args: "[NAME...]", group: groupDefine,
			summary: "show what apply would do: start, stop, restart or merely change",
			long: `Reads the definitions and prints a line for each service that apply would do something
about, in the order in which it would begin. Nothing is changed. The exit code is 1 when a
file has an error: what runs by it would go on.`,
			example: "abide plan", max: -1, complete: completeServices, flags: jsonFlag, run: (*app).plan},
		{name: "apply", args: "[NAME...]", group: groupDefine,
			summary: "read the definitions again and act on what changed",
			long: `Does what abide plan shows. A file with an error leaves the running definition in force and
is named; the exit code is 1 then. A service that is pinned by abide rollback is passed over
until --unpin names it.`,
			example: "abide apply", max: -1, complete: completeServices, flags: actionFlags(unpinFlag), run: (*app).apply},
		{name: "rollback", args: "NAME [NUMBER]", group: groupDefine,
			summary: "go back to a definition that was in force before, and stay there",
			long: `Without NUMBER it lists the last 20 definitions that were in force: when, by whose order, and
which keys changed. With NUMBER that definition is in force again, and the service is restarted
if it has to be. It is pinned: its file is passed over, across reboots, until
abide apply --unpin NAME. A snapshot whose program is gone is refused before anything is stopped.`,
			example: "abide rollback web 3", min: 1, max: 2, complete: completeServices, flags: actionFlags(), run: (*app).rollback},
		{name: "scale", args: "NAME NUMBER", group: groupServices,
			summary: "run so many copies of a template",
			long: `Starts what is missing of NAME@1 to NAME@NUMBER, or stops what is too many, the last first.
0 runs none. The number is kept across reboots and wins over the file's scale until --reset.`,
			example: "abide scale web 4", min: 1, max: 2, complete: completeServices, flags: actionFlags(resetFlag), run: (*app).scale},
		{name: "up", args: "[NAME...]", group: groupAbide,
			summary: "run a project's programs as long as this command runs",
			long: `Looks from the working directory upwards for abide.toml, a folder abide/ or a Procfile,
reads .env beside it, and runs the programs with their output on this terminal. Ctrl-C
stops them; when this command dies in any way they are stopped too. -d puts it into the
background instead. Nothing is written into the project.`,
			example: "abide up", max: -1, flags: upFlags, run: (*app).up},
		{name: "down", args: "", group: groupAbide,
			summary: "stop a project's programs that run in the background",
			example: "abide down", flags: downFlags, run: (*app).down},
		{name: "daemon", args: "", group: groupAbide,
			summary: "the supervisor, in the foreground",
			long: `As root it serves the system, else the user. TERM and INT shut it down, a second one
hurries; HUP reads the definitions again. PATH is a folder of definitions or one file.
With --run and without --state or --log those folders stand below the run directory.
When one lives already it ends with 1 and says who; with --attach it stays as its proxy,
which passes these signals on. KILL to either ends a process and no service.`,
			example: "abide daemon --config ./services --run /run/my-abide", flags: daemonFlags, run: (*app).daemon},
		{name: "init", args: "[-- COMMAND...]", group: groupAbide, dash: true,
			summary: "the supervisor as the first process of a container",
			long: `COMMAND becomes the essential service main: when it ends for good the rest is stopped and
the container ends with its exit code. TERM, INT, QUIT and RTMIN+3 shut down.`,
			example: "abide init -- /usr/bin/myserver --port 80", max: -1, flags: initFlags, run: (*app).init},
		{name: "runlevel", args: "[N]", group: groupAbide,
			summary: "go to a runlevel, or show the one before and the present one",
			long: `Starts the target called N, runlevel-N or runlevelN and all that it pulls, and stops what
belongs to the targets of other runlevels only. Waits until both is done. Without N it
prints what runlevel(8) prints, "N 3": the level before, N for none, and the present one.
Only root and the user abide runs as may go to a runlevel.`,
			example: "abide runlevel 3", max: 1, flags: actionFlags(), run: (*app).runlevel},
		{name: "shutdown", args: "", group: groupAbide,
			summary: "stop all services in order, then abide",
			long:    "Asking a second time hurries.",
			example: "abide shutdown", flags: actionFlags(), run: (*app).shutdown},
		{name: "upgrade", args: "[DIR]", group: groupAbide,
			summary: "move the running abide to new program files; services do not notice",
			long: `DIR holds abide-keeper, abide-engine and abide-exec; without it they are taken from where
the present ones came from, which is what a package does after it has replaced the files.
The keeper becomes the new program in its own process, after that has proved on a copy of
the state that it understands it. Then the new engine takes over. Services, their pipes and
sockets stay as they are and no line is lost. What fails is undone, and the exit code is 1.`,
			example: "abide upgrade /opt/abide-2.1/libexec", max: 1, complete: completeFiles, flags: upgradeFlags, run: (*app).upgrade},
		{name: "boot", args: "", group: groupAbide,
			summary: "print or install what starts abide at boot under another init",
			long: `Without --init the init that is found here is taken. What is printed lets the init restart
abide without a service noticing, where it can tell a restart from a stop (runit, s6,
supervisord). Several files are printed each below its name.`,
			example: "abide boot --init systemd --write", flags: bootFlags, run: (*app).boot},
		{name: "completion", args: "bash|zsh|fish", group: groupAbide,
			summary: "print the shell's completion script",
			example: "abide completion bash > /etc/bash_completion.d/abide", min: 1, max: 1, complete: completeShells, run: (*app).completion},
		{name: "version", args: "", group: groupAbide,
			summary: "print the version",
			example: "abide version", flags: jsonFlag, run: (*app).version},
	}
}

// verbNames are all names and aliases.
func verbNames() []string {
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
		names = append(names, v.aliases...)
	}
	return append(names, "help")
}
