// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
)

// Measures of the chart, in pixels.
const (
	chartWidth = 920
	rowHeight  = 30
	chartTop   = 58
	labelWidth = 400
	barEnd     = 780 // behind it stands the figure
)

// chart draws each row's ratio to its aim on a logarithmic scale: a bar that
// reaches the line meets its aim. It follows the reader's light or dark theme.
func chart(rows []Row) []byte {
	var out bytes.Buffer
	height := chartTop + len(rows)*rowHeight + 40
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%d" role="img" aria-labelledby="t d">
<title id="t">Seinhuis beside what people would use instead</title>
<desc id="d">One bar a row: how far the figure is beyond its aim, which is the line. The table beside it has the figures.</desc>
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .faint { fill: #59636e; font-size: 12px }
  .met { fill: #1a7f64 } .missed { fill: #bc4c00 } .none { fill: #818b98 }
  .aim { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .faint { fill: #9198a1 }
    .met { fill: #3fb68b } .missed { fill: #f0883e } .none { fill: #6e7681 }
    .aim { stroke: #e6edf3 }
  }
</style>
`, chartWidth, height, height)

	most, least := 2.0, 0.5 // of what a bar is of its aim
	for _, row := range rows {
		if s := row.ofAim(); s > 0 {
			most, least = max(most, s), min(least, s)
		}
	}
	scale := (barEnd - labelWidth) / (math.Log(most) - math.Log(least))
	x := func(ofAim float64) float64 { return labelWidth + (math.Log(ofAim)-math.Log(least))*scale }

	fmt.Fprintf(&out, `<text x="8" y="22" font-weight="600">Each figure against its aim</text>
<text class="faint" x="8" y="42">work, against whom</text>
<text class="faint" x="%.0f" y="42" text-anchor="middle">← short of its aim · beyond it →</text>
<line class="aim" x1="%.1[1]f" x2="%.1[1]f" y1="48" y2="%[2]d"/>
`, x(1), height-30)
	for i, row := range rows {
		y := chartTop + i*rowHeight
		fmt.Fprintf(&out, `<text x="8" y="%d">%s</text>`, y+15, escape(row.Work))
		if row.Peer != "" {
			fmt.Fprintf(&out, `<text class="faint" x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-10, y+15, escape(row.Peer))
		}
		of := row.ofAim()
		class, from, to := "met", x(1), x(1)
		if of > 0 {
			to = x(of)
		}
		switch {
		case of == 0:
			class = "none"
		case of < 1:
			class = "missed"
		}
		from, to = min(from, to), max(from, to)
		fmt.Fprintf(&out, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="16" rx="2"/>`, class, from, y+3, max(to-from, 2))
		fmt.Fprintf(&out, `<text x="%d" y="%d">%s</text>`+"\n", barEnd+10, y+15, escape(row.told()))
	}
	if len(rows) > 0 {
		m := rows[0].On
		fmt.Fprintf(&out, `<text class="faint" x="8" y="%d">%s, %d cores, %s, commit %s</text>`+"\n",
			height-10, escape(m.CPU), m.Cores, escape(m.Go), escape(m.Commit))
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// ofAim is how many times as good as its aim a figure is; 0 where it cannot be said.
func (row Row) ofAim() float64 {
	measured := row.Ratio
	if row.Aim.OfOurs {
		measured = row.Ours
	}
	if measured <= 0 {
		return 0
	}
	if row.Aim.AtMost {
		return row.Aim.Bound / measured
	}
	return measured / row.Aim.Bound
}

// told is the figure at the end of a bar.
func (row Row) told() string {
	switch {
	case row.Aim.OfOurs:
		return fmt.Sprintf("%s %s (%s)", figure(row.Ours), row.Unit, row.Aim)
	case row.Ratio == 0:
		return "no peer"
	}
	return fmt.Sprintf("%s× (%s)", figure(row.Ratio), row.Aim)
}

func escape(s string) string {
	var out bytes.Buffer
	xml.EscapeText(&out, []byte(s)) // a bytes.Buffer takes all
	return out.String()
}
