package main

import (
	"fmt"

	"github.com/agnivade/levenshtein"
)

// meant is a suggestion for a name that is not known, or ""; before stands
// before each name.
func meant(name, before string, known []string) string {
	best, least := "", min(max(1, len(name)/3), 3)
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, k); d <= least {
			best, least = k, d-1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s%s?)", before, best)
}
