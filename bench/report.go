package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// floor is the name of the baseline that supervisors are divided by.
const floor = "C"

// measure is one table: what was measured, in which unit, for whom.
type measure struct {
	Name         string        `json:"name"`
	Unit         string        `json:"unit"`
	Goal         string        `json:"goal,omitempty"`
	HigherBetter bool          `json:"higher_is_better,omitempty"`
	Single       bool          `json:"single,omitempty"` // one value each, no distribution
	Floor        string        `json:"floor"`            // the row that every other is divided by; "" compares nobody
	Rows         []*measureRow `json:"rows"`
}

// measureRow is what one supervisor did.
type measureRow struct {
	Who     string  `json:"who"`
	Samples int     `json:"samples"`
	P10     float64 `json:"p10"`
	P50     float64 `json:"p50"`
	P90     float64 `json:"p90"`
	XFloor  float64 `json:"x_floor,omitempty"`
	XPeer   float64 `json:"x_best_peer,omitempty"`
	Note    string  `json:"note,omitempty"`

	values samples
}

// report collects measures in the order in which they are first named.
type report struct {
	Machine  map[string]string `json:"machine"`
	Measures []*measure        `json:"measures"`
	Faults   []string          `json:"faults"` // what did not work
}

// fault records that something did not work; the run goes on without it.
func (r *report) fault(format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	fmt.Fprintln(os.Stderr, "bench:", text)
	r.Faults = append(r.Faults, text)
}

// measure returns the table with that name and makes it when it is new.
func (r *report) measure(name, unit, goal string) *measure {
	for _, m := range r.Measures {
		if m.Name == name {
			return m
		}
	}
	m := &measure{Name: name, Unit: unit, Goal: goal, Floor: floor}
	r.Measures = append(r.Measures, m)
	return m
}

// row returns the line of a supervisor and makes it when it is new.
func (m *measure) row(who string) *measureRow {
	for _, row := range m.Rows {
		if row.Who == who {
			return row
		}
	}
	row := &measureRow{Who: who}
	m.Rows = append(m.Rows, row)
	return row
}

// add gives a supervisor one more sample.
func (m *measure) add(who string, value float64) {
	row := m.row(who)
	row.values = append(row.values, value)
}

// finish works out the quantiles and the ratios of every table, and puts its
// rows into the given order; who is not named there comes behind.
func (r *report) finish(order []string) {
	rank := func(row *measureRow) int {
		if at := slices.Index(order, row.Who); at >= 0 {
			return at
		}
		return len(order)
	}
	for _, m := range r.Measures {
		slices.SortStableFunc(m.Rows, func(a, b *measureRow) int { return rank(a) - rank(b) })
		for _, row := range m.Rows {
			row.Samples = len(row.values)
			row.P10, row.P50, row.P90 = row.values.at(0.1), row.values.at(0.5), row.values.at(0.9)
		}
		if m.Floor == "" {
			continue
		}
		base, best := m.floor(), m.bestPeer()
		for _, row := range m.Rows {
			row.XFloor = ratio(row.P50, base)
			row.XPeer = ratio(row.P50, best)
		}
	}
}

func (m *measure) floor() float64 {
	for _, row := range m.Rows {
		if row.Who == m.Floor {
			return row.P50
		}
	}
	return 0
}

// bestPeer is the best median of those that are neither the floor nor ours.
func (m *measure) bestPeer() float64 {
	best := 0.0
	for _, row := range m.Rows {
		if row.Who == m.Floor || strings.HasPrefix(row.Who, "abide") || row.Samples == 0 {
			continue
		}
		if best == 0 || (row.P50 < best) != m.HigherBetter {
			best = row.P50
		}
	}
	return best
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return math.Round(a/b*1000) / 1000
}

// print writes the tables for a reader.
func (r *report) print(w io.Writer) {
	for _, m := range r.Measures {
		fmt.Fprintf(w, "\n%s", m.Name)
		if m.Unit != "" {
			fmt.Fprintf(w, " [%s]", m.Unit)
		}
		if m.Goal != "" {
			fmt.Fprintf(w, "   to reach: %s", m.Goal)
		}
		fmt.Fprintln(w)
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		if m.Floor == "" {
			for _, row := range m.Rows {
				fmt.Fprintf(table, "%s\t%s\t%s\n", row.Who, number(row.P50), note(row.Note))
			}
			table.Flush()
			continue
		}
		if m.Single {
			fmt.Fprintf(table, "\tvalue\tx %s\tx best peer\t\n", m.Floor)
		} else {
			fmt.Fprintf(table, "\tn\tp10\tp50\tp90\tx %s\tx best peer\t\n", m.Floor)
		}
		for _, row := range m.Rows {
			if m.Single {
				fmt.Fprintf(table, "%s\t%s\t", row.Who, number(row.P50))
			} else {
				fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t", row.Who, row.Samples, number(row.P10), number(row.P50), number(row.P90))
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", times(row.XFloor), times(row.XPeer), note(row.Note))
		}
		table.Flush()
	}
	for _, text := range r.Faults {
		fmt.Fprintln(w, "\ndid not work:", text)
	}
}

func note(text string) string {
	if text == "" {
		return ""
	}
	return "  " + text
}

func times(x float64) string {
	if x == 0 {
		return "-"
	}
	return number(x)
}

// number prints three significant digits, or the whole number when it is large.
func number(x float64) string {
	switch {
	case x == math.Trunc(x) || math.Abs(x) >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case math.Abs(x) >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

// save writes the whole report as JSON and makes the folder it belongs in.
func (r *report) save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
