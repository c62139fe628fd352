package file

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// pin separates a file's name in a [hcl.Range] from the place that really is
// meant: inside a YAML or JSON string HCL counts lines of its own. Nothing
// after it: the line is right, the column is not.
const pin = "\x00"

// pinned is a file name that leads every range with it to one place.
func pinned(name string, p hcl.Pos) string {
	return name + pin + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// position is where a range begins.
func position(r hcl.Range) Position {
	name, place, found := strings.Cut(r.Filename, pin)
	if !found {
		return Position{File: name, Line: r.Start.Line, Column: r.Start.Column}
	}
	if place == "" {
		return Position{File: name, Line: r.Start.Line}
	}
	line, column, _ := strings.Cut(place, ":")
	p := Position{File: name}
	p.Line, _ = strconv.Atoi(line)
	p.Column, _ = strconv.Atoi(column)
	return p
}

// isHCL tells whether the file is in HCL's own syntax, to show the way out in
// the syntax that the reader writes.
func isHCL(name string) bool { return filepath.Ext(name) == ".hcl" }

// reference is how the file at p refers to something.
func reference(p Position, what string) string {
	if isHCL(p.File) {
		return what
	}
	return `"${` + what + `}"`
}
