// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// How often progress is shown: on a terminal one line that is written over, and
// else, as in a log, a line now and then.
const (
	showOnTerminal = 200 * time.Millisecond
	showInLog      = 15 * time.Second
)

// A progress tells how far something is.
type progress struct {
	w        io.Writer
	terminal bool
	open     bool // the terminal's line is not ended
	shown    time.Time
	held     string
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, shown: time.Now()}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// show tells how much is done of a total, with the pace per second and the time
// left where they are known; zero is unknown, and then the time left is taken from
// the pace.
func (p *progress) show(what string, done, total int, pace float64, left time.Duration) {
	every := showInLog
	if p.terminal {
		every = showOnTerminal
	}
	if now := time.Now(); now.Sub(p.shown) < every {
		return
	} else {
		p.shown = now
	}
	line := fmt.Sprintf("%s: %s van %s regels (%d %%)", what, thousands(done), thousands(total), 100*done/max(total, 1))
	if pace > 0 {
		line += fmt.Sprintf(", %s per seconde", thousands(max(int(pace+.5), 1)))
		if left == 0 {
			left = time.Duration(float64(total-done) / pace * float64(time.Second))
		}
	}
	if left > 0 && done < total {
		line += ", nog " + spell(left)
	}
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		p.open = true
		return
	}
	fmt.Fprintln(p.w, line)
}

// say tells something once.
func (p *progress) say(format string, args ...any) {
	p.end()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// hold tells what holds it up, when that is something else than it was; empty is
// nothing.
func (p *progress) hold(text string) {
	if text != p.held && text != "" {
		p.say("%s", text)
	}
	p.held = text
}

// end leaves the terminal's line.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
	}
	p.open = false
}

// thousands writes a number in the Dutch way: 1.234.567.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "." + s[i:]
	}
	return s
}

// spell writes a time about as long, in at most two parts.
func spell(d time.Duration) string {
	switch s := int(d.Seconds() + .5); {
	case s < 10:
		return strings.Replace(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".", ",", 1) + " s"
	case s < 90:
		return fmt.Sprintf("%d s", s)
	case s < 90*60:
		return fmt.Sprintf("%d min", (s+30)/60)
	case s < 48*3600:
		return fmt.Sprintf("%d u %02d min", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%d dagen", (s+12*3600)/(24*3600))
	}
}
