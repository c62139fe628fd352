package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// savedLimit is the most that a saved plan may hold.
const savedLimit = 64 << 20

// Write writes a saved plan.
func (s *Saved) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return nil
}

// ReadSaved reads a saved plan.
func ReadSaved(r io.Reader) (*Saved, error) {
	text, err := io.ReadAll(io.LimitReader(r, savedLimit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the plan: %w", err)
	case len(text) > savedLimit:
		return nil, fmt.Errorf("this is no saved plan: it is larger than %d MB", savedLimit>>20)
	}
	var s Saved
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // as file.Load leaves numbers
	// The decoder's own error may quote the file, which may be anything.
	if err := d.Decode(&s); err != nil || s.Version == 0 || s.Digest == "" {
		return nil, errors.New("this is no saved plan, which plan --out makes; a file to apply is given with -f")
	}
	return &s, nil
}
