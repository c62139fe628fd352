package secret

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// mask stands for a secret that has no name, and for several that overlap.
const mask = "***"

var errTooShort = fmt.Errorf("it is shorter than %d bytes, too short to be masked in what is printed", ShortestSecret)

// A Redactor masks secrets in text. It is safe for concurrent use.
type Redactor struct {
	mu sync.RWMutex
	// patterns are by their first bytes, the longest first.
	patterns map[lead][]pattern
	// first are the bytes that patterns begin with: most text has none.
	first [256]bool
	known map[string]bool
}

// A lead is how a pattern begins.
type lead [ShortestSecret]byte

// A pattern is one form of a secret, and what is printed in its place.
type pattern struct {
	text, mask string
}

// NewRedactor makes a redactor that knows no secret yet.
func NewRedactor() *Redactor {
	return &Redactor{patterns: make(map[lead][]pattern), known: make(map[string]bool)}
}

// Format shows nothing of the secrets, whatever the verb.
func (r *Redactor) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(redactor)") }

// Add makes a secret without a name known: a token, say. The error is for one
// that is too short.
func (r *Redactor) Add(secret string) error { return r.add(secret, mask) }

// AddNamed makes the secret of a name known.
func (r *Redactor) AddNamed(name, secret string) error {
	return r.add(secret, "(secret "+name+")")
}

func (r *Redactor) add(secret, instead string) error {
	if len(secret) < ShortestSecret {
		return errTooShort
	}
	if strings.Contains(instead, secret) {
		instead = mask
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, form := range forms(secret) {
		if r.known[form] {
			continue
		}
		r.known[form], r.first[form[0]] = true, true
		p := pattern{text: form, mask: instead}
		list := r.patterns[lead([]byte(form))]
		at, _ := slices.BinarySearchFunc(list, p, func(a, b pattern) int { return cmp.Compare(len(b.text), len(a.text)) })
		r.patterns[lead([]byte(form))] = slices.Insert(list, at, p)
	}
	return nil
}

// String is the text with every secret masked.
func (r *Redactor) String(s string) string {
	out, _ := r.redact([]byte(s), true)
	return string(out)
}

// A span is a part of a text that is masked. Secrets that overlap are one span:
// masking one of them alone would show the rest of the other.
type span struct {
	from, to int
	mask     string
}

// redact masks what is certain and returns what has to wait: the beginning of
// what may turn out to be a secret. At the end nothing waits.
func (r *Redactor) redact(text []byte, end bool) (out, waiting []byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var spans []span
	settled := len(text)
	for i := range text {
		if !r.first[text[i]] {
			continue
		}
		if !end && r.mayBegin(text[i:]) {
			settled = i
			if last := len(spans) - 1; last >= 0 && spans[last].to > i {
				settled = spans[last].from
				spans = spans[:last]
			}
			break
		}
		if p, found := r.longest(text[i:]); found {
			spans = extend(spans, span{from: i, to: i + len(p.text), mask: p.mask})
		}
	}
	at := 0
	for _, s := range spans {
		out = append(out, text[at:s.from]...)
		out = append(out, s.mask...)
		at = s.to
	}
	return append(out, text[at:settled]...), text[settled:]
}

// extend adds a span that begins after all others.
func extend(spans []span, s span) []span {
	if len(spans) == 0 || spans[len(spans)-1].to <= s.from {
		return append(spans, s)
	}
	last := &spans[len(spans)-1]
	if s.to > last.to {
		last.to = s.to
		if s.mask != last.mask {
			last.mask = mask
		}
	}
	return spans
}

// longest finds the longest pattern that the text begins with.
func (r *Redactor) longest(text []byte) (pattern, bool) {
	if len(text) < ShortestSecret {
		return pattern{}, false
	}
	for _, p := range r.patterns[lead(text)] {
		if len(text) >= len(p.text) && string(text[:len(p.text)]) == p.text {
			return p, true
		}
	}
	return pattern{}, false
}

// mayBegin tells whether more text could make a pattern, or a longer one, of
// this.
func (r *Redactor) mayBegin(text []byte) bool {
	if len(text) < ShortestSecret {
		for l := range r.patterns {
			if string(l[:len(text)]) == string(text) {
				return true
			}
		}
		return false
	}
	for _, p := range r.patterns[lead(text)] {
		if len(p.text) <= len(text) {
			return false // the rest are shorter still
		}
		if p.text[:len(text)] == string(text) {
			return true
		}
	}
	return false
}

// A Writer masks secrets in what is written through it. It is safe for
// concurrent use.
type Writer struct {
	redactor *Redactor
	mu       sync.Mutex
	to       io.Writer
	waiting  []byte
}

// Writer masks secrets in what is written to w.
func (r *Redactor) Writer(w io.Writer) *Writer { return &Writer{redactor: r, to: w} }

// Format shows nothing of what is held back, whatever the verb.
func (w *Writer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(redacting writer)") }

// Write passes on everything that cannot be the beginning of a secret. The
// number is of bytes taken, which is all of them unless the writer behind it
// has an error.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.pass(slices.Concat(w.waiting, p), false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what was held back. A secret that goes on afterwards is not
// recognised any more.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pass(w.waiting, true)
}

// Close is Flush. The writer behind stays open.
func (w *Writer) Close() error { return w.Flush() }

func (w *Writer) pass(text []byte, end bool) error {
	out, waiting := w.redactor.redact(text, end)
	w.waiting = slices.Clone(waiting)
	if len(out) == 0 {
		return nil
	}
	_, err := w.to.Write(out)
	return err
}
