package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// A page is where the demo writes. Colour is for a terminal, and for people who
// have not set NO_COLOR.
type page struct {
	w                           io.Writer
	bold, dim, green, red, none string
}

func newPage(f *os.File) *page {
	p := &page{w: f}
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	if terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		p.bold, p.dim, p.green, p.red, p.none = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
	}
	return p
}

// say writes a line. That a reader has gone away does not matter.
func (p *page) say(line string) {
	_, _ = fmt.Fprintln(p.w, line)
}

func (p *page) section(title string) { p.say("\n" + p.bold + title + p.none) }

func (p *page) done(what string) { p.say(p.green + "  ✓ " + p.none + what) }

func (p *page) failed(what string) { p.say(p.red + "  ✗ " + p.none + what) }

func (p *page) command(line string) { p.say("  " + p.bold + "$ " + line + p.none) }

// answer shows what a command wrote, without its empty lines.
func (p *page) answer(text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \n"); line != "" && !strings.HasPrefix(line, "---") {
			p.say(p.dim + "    " + strings.ReplaceAll(line, "\t", "  ") + p.none)
		}
	}
}
