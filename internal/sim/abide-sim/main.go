//go:build abide_sim && linux

// Command abide-sim is the simulation of package sim, one or many seeds of it. It
// is built by package sim, with the overlay that puts the simulated kernel and
// clock below the real code.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/abide-project/abide/internal/sim/sched"
)

func main() {
	seed := flag.Uint64("seed", 1, "the first seed")
	seeds := flag.Uint64("seeds", 0, "how many seeds, 0: as many as time allows")
	limit := flag.Duration("for", time.Second, "how long to go on, by the real clock")
	hours := flag.Float64("hours", 0, "stop after this many simulated hours")
	rounds := flag.Int("rounds", 6, "how often the faults of one seed stop")
	verbose := flag.Bool("v", false, "print every step")
	flag.Parse()
	began := time.Now()
	var simulated time.Duration
	var total counters
	n, steps := uint64(0), 0
	digest := uint64(0)
	for ; ; n++ {
		if *seeds != 0 && n >= *seeds || *seeds == 0 && time.Since(began) > *limit || *hours != 0 && simulated.Hours() > *hours {
			break
		}
		w := live(*seed+n, *rounds, *verbose)
		simulated += time.Duration(w.s.Boottime() - sched.Epoch)
		steps += w.steps
		digest = digest*31 + w.digest
		total.add(w.counts)
		if w.failed != "" {
			fmt.Printf("abide-sim: seed %d step %d: %s\n%s", *seed+n, w.steps, w.failed, w.tail())
			os.Exit(1)
		}
	}
	took := time.Since(began)
	fmt.Printf("abide-sim: %d seeds, %d steps, %.0f simulated hours in %v (%.0f hours a second), digest %016x\n%+v\n",
		n, steps, simulated.Hours(), took.Round(time.Millisecond), simulated.Hours()/took.Seconds(), digest, total)
}

// live is one run of the world.
func live(seed uint64, rounds int, verbose bool) (w *world) {
	w = newWorld(seed)
	if verbose {
		w.say = func(line string) { fmt.Println(line) }
	}
	defer func() {
		if r := recover(); r != nil {
			d, ours := r.(sched.Defect)
			if !ours {
				panic(r)
			}
			w.violation("panic: %s\n%s", d.What, d.Stack)
		}
		w.calm = true
		w.end()
	}()
	for range rounds {
		w.run(w.between(time.Minute, 10*time.Hour))
		if w.failed != "" {
			return w
		}
		w.settle()
		if w.failed != "" {
			return w
		}
	}
	return w
}

// end takes the world apart.
func (w *world) end() {
	for _, p := range w.k.Procs() {
		p.Abandon()
	}
	w.s.Close()
	w.k.Dispose()
}

func (c *counters) add(o counters) {
	c.Spawns += o.Spawns
	c.Exits += o.Exits
	c.EngineDeaths += o.EngineDeaths
	c.KeeperDeaths += o.KeeperDeaths
	c.Hangs += o.Hangs
	c.Requests += o.Requests
	c.Lines += o.Lines
	c.Quiets += o.Quiets
	c.Unknown += o.Unknown
	c.Lost += o.Lost
	c.Shutdowns += o.Shutdowns
	c.Refused += o.Refused
	c.Handovers += o.Handovers
}
