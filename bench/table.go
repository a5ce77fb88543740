//go:build linux

package main

import (
	"fmt"
	"maps"
	"math"
	"strings"
)

// row is one line of a table.
type row struct {
	Name    string             `json:"name"`
	Figures map[string]float64 `json:"figures,omitempty"`
	Missing string             `json:"missing,omitempty"` // why there are no figures
}

// table is one part's result.
type table struct {
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    []row    `json:"rows"`
}

// keepFigures drops what was not measured, and ratios to it: JSON has neither
// infinities nor anything that is no number.
func (r *row) keepFigures() {
	if r.Missing != "" {
		r.Figures = nil
	}
	maps.DeleteFunc(r.Figures, func(_ string, v float64) bool { return math.IsInf(v, 0) || math.IsNaN(v) })
}

func (b *bench) print(t table) {
	for i := range t.Rows {
		t.Rows[i].keepFigures()
	}
	b.tables = append(b.tables, t)
	fmt.Printf("\n## %s\n\n| | %s |\n|---|%s\n", t.Title, strings.Join(t.Columns, " | "), strings.Repeat("---|", len(t.Columns)))
	for _, r := range t.Rows {
		if r.Missing != "" {
			fmt.Printf("| %s | *missing: %s* |%s\n", r.Name, r.Missing, strings.Repeat(" |", len(t.Columns)-1))
			continue
		}
		cells := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			if v, ok := r.Figures[c]; ok {
				cells[i] = number(v)
			}
		}
		fmt.Printf("| %s | %s |\n", r.Name, strings.Join(cells, " | "))
	}
}

// number prints three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
