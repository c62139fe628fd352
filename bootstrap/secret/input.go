package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// inputLimit is more than any key or certificate takes.
const inputLimit = 1 << 20

// shared are the rights that nobody but the owner may have.
const shared fs.FileMode = 0o077

func (s *Store) fromFile(ctx context.Context, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.world.Dir, path)
	}
	// Opening a pipe waits for whoever writes.
	text, err := interruptible(ctx, func() ([]byte, error) { return readFile(path) })
	return withoutNewline(text), err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the file that names it is the operator's own
	if err != nil {
		return nil, fmt.Errorf("opening the file of the secret: %w", err)
	}
	defer func() { _ = f.Close() }()
	// Of what was opened, not of what stands at the path by now.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at the file of the secret: %w", err)
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		if mode.Perm()&shared != 0 && runtime.GOOS != "windows" { // which has no such rights
			return nil, fmt.Errorf("others than its owner have rights to %s (%#o): chmod 600 %s", path, mode.Perm(), path)
		}
	case mode&fs.ModeNamedPipe == 0:
		return nil, fmt.Errorf("%s is neither a file nor a pipe", path)
	}
	text, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return text, nil
}

// fromStdin returns all of standard input, or one field of it.
func (s *Store) fromStdin(ctx context.Context, field string) (string, error) {
	if !s.stdinRead {
		s.stdin, s.stdinErr = s.readStdin(ctx)
		s.stdinRead = true
	}
	if s.stdinErr != nil {
		return "", s.stdinErr
	}
	if field == "" {
		return withoutNewline(s.stdin), nil
	}
	var fields map[string]string
	d := json.NewDecoder(bytes.NewReader(s.stdin))
	// The decoder's errors quote what they stumble over.
	if d.Decode(&fields) != nil || !errors.Is(d.Decode(new(any)), io.EOF) {
		return "", errors.New("standard input is not one JSON object of strings")
	}
	value, ok := fields[field]
	if !ok {
		return "", fmt.Errorf("standard input has no field %s", field)
	}
	return value, nil
}

func (s *Store) readStdin(ctx context.Context) ([]byte, error) {
	if s.world.Stdin == nil {
		return nil, errors.New("there is no standard input")
	}
	if f, ok := s.world.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return nil, errors.New("standard input is a terminal, which would show the secret; prompt: does not")
	}
	text, err := interruptible(ctx, func() ([]byte, error) { return readAll(s.world.Stdin) })
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return text, nil
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, inputLimit+1))
	if err == nil && len(text) > inputLimit {
		return nil, errors.New("it is larger than 1 MB")
	}
	return text, err
}

func withoutNewline(text []byte) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
}

// interruptible returns when the context ends, although read cannot: a read of
// a pipe or of a terminal ends with the process.
func interruptible(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-done:
		return r.text, r.err
	}
}
