package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/abide-project/abide/internal/model"
)

// options are the flags of all verbs; each verb binds its own.
type options struct {
	// which instance
	run    string
	user   string // "" own, else a name or number; valid when userSet
	system bool

	json    bool
	help    bool
	once    bool
	now     bool
	noWait  bool
	timeout time.Duration

	follow              bool
	lines               int
	since               string
	utc                 bool
	dot, mermaid, times bool
	state               string // of wait --for, of daemon --state

	unpin bool
	reset bool

	wait bool
	name string
	env  []string
	dir  string
	as   string // of adopt

	config        []string
	log           string
	attach        bool
	file          string
	detach        bool
	exitOnFailure bool

	bootInit string
	write    bool
	all      bool
	remove   bool
}

// ownUser is what --user without a name stands for.
const ownUser = "\x00own"

func globalFlags(f *pflag.FlagSet, o *options) {
	f.StringVar(&o.run, "run", "", "the run `DIR` of the instance to talk to (also ABIDE_RUN)")
	f.StringVar(&o.user, "user", "", "the instance of a user, --user=`NAME`, or one's own")
	f.Lookup("user").NoOptDefVal = ownUser
	f.BoolVar(&o.system, "system", false, "the system's instance")
	f.BoolVarP(&o.help, "help", "h", false, "show help")
}

func jsonFlag(f *pflag.FlagSet, o *options) { f.BoolVar(&o.json, "json", false, "print JSON") }

func actionFlags(more ...func(*pflag.FlagSet, *options)) func(*pflag.FlagSet, *options) {
	return func(f *pflag.FlagSet, o *options) {
		f.BoolVar(&o.noWait, "no-wait", false, "return as soon as the order is taken")
		f.Var((*durationValue)(&o.timeout), "timeout", "wait at most this `TIME`; the work goes on then")
		jsonFlag(f, o)
		for _, add := range more {
			add(f, o)
		}
	}
}

func onceFlag(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.once, "once", false, "do not restart it afterwards")
}

func nowFlag(text string) func(*pflag.FlagSet, *options) {
	return func(f *pflag.FlagSet, o *options) { f.BoolVar(&o.now, "now", false, text) }
}

func unpinFlag(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.unpin, "unpin", false, "take the files of pinned services again")
}

func resetFlag(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.reset, "reset", false, "as many copies as the file says")
}

func waitFlags(f *pflag.FlagSet, o *options) {
	f.StringVar(&o.state, "for", "", "the `STATE` to wait for: running, stopped, finished, failed")
	f.Var((*durationValue)(&o.timeout), "timeout", "wait at most this `TIME`")
	jsonFlag(f, o)
}

func logFlags(f *pflag.FlagSet, o *options) {
	f.BoolVarP(&o.follow, "follow", "f", false, "go on as lines come")
	f.IntVarP(&o.lines, "lines", "n", 100, "the last `N` lines; -1: all")
	f.StringVar(&o.since, "since", "", "lines of this `TIME` and later")
	f.BoolVar(&o.utc, "utc", false, "show times in UTC")
	jsonFlag(f, o)
}

func eventFlags(f *pflag.FlagSet, o *options) {
	f.BoolVarP(&o.follow, "follow", "f", false, "go on as events come")
	f.StringVar(&o.since, "since", "", "what came after the event `CURSOR`")
	f.BoolVar(&o.utc, "utc", false, "show times in UTC")
	jsonFlag(f, o)
}

func whyFlags(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.utc, "utc", false, "show times in UTC")
	jsonFlag(f, o)
}

func graphFlags(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.dot, "dot", false, "as a graph for dot of Graphviz")
	f.BoolVar(&o.mermaid, "mermaid", false, "as a diagram for Mermaid")
	f.BoolVar(&o.times, "times", false, "what each start waited for last, with times")
	jsonFlag(f, o)
}

func historyFlags(f *pflag.FlagSet, o *options) {
	f.IntVarP(&o.lines, "lines", "n", 0, "the last `N` runs; 0: all")
	whyFlags(f, o)
}

func runFlags(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.wait, "wait", false, "show its output and pass its exit code on")
	f.StringVar(&o.name, "name", "", "the `NAME` of the service")
	f.StringArrayVarP(&o.env, "env", "e", nil, "`NAME=VALUE` for its environment; NAME alone takes the value from here")
	f.StringVarP(&o.dir, "directory", "C", "", "the `DIR` it runs in")
	jsonFlag(f, o)
}

func configFlags(f *pflag.FlagSet, o *options) {
	f.StringArrayVar(&o.config, "config", nil, "a folder of definitions or one file, `PATH`; may be repeated")
	f.StringVar(&o.state, "state", "", "the `DIR` for what must outlive a reboot")
	f.StringVar(&o.log, "log", "", "the `DIR` for logs")
}

func daemonFlags(f *pflag.FlagSet, o *options) {
	configFlags(f, o)
	f.BoolVar(&o.attach, "attach", false, "stay as the proxy of an instance that lives already")
}

func initFlags(f *pflag.FlagSet, o *options) { configFlags(f, o) }

func projectFlag(f *pflag.FlagSet, o *options) {
	f.StringVarP(&o.file, "file", "f", "", "the project: a file or a folder, `PATH`")
}

func upFlags(f *pflag.FlagSet, o *options) {
	projectFlag(f, o)
	f.BoolVarP(&o.detach, "detach", "d", false, "run in the background")
	f.BoolVar(&o.exitOnFailure, "exit-on-failure", false, "end at the first failure, with its code")
}

func downFlags(f *pflag.FlagSet, o *options) {
	projectFlag(f, o)
	f.Var((*durationValue)(&o.timeout), "timeout", "wait at most this `TIME`; the work goes on then")
}

func bootFlags(f *pflag.FlagSet, o *options) {
	f.StringVar(&o.bootInit, "init", "", "`INIT`: "+bootInitList())
	f.BoolVar(&o.write, "write", false, "install it")
	f.BoolVar(&o.remove, "remove", false, "take it away again")
}

// durationValue reads abide's durations, which know days and want a unit.
type durationValue time.Duration

func (d *durationValue) Set(text string) error {
	v, err := model.ParseDuration(text)
	*d = durationValue(v)
	return err
}

func (d *durationValue) String() string {
	if *d == 0 {
		return ""
	}
	return model.FormatDuration(time.Duration(*d))
}

func (d *durationValue) Type() string { return "duration" }
