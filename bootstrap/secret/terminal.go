package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/term"
)

// Terminal returns what asks for a secret at the terminal of the process,
// wherever its input and output go; nil when there is none.
func Terminal() func(ctx context.Context, text string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	_ = tty.Close()
	return func(ctx context.Context, text string) (string, error) {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return "", fmt.Errorf("opening the terminal: %w", err)
		}
		defer func() { _ = tty.Close() }()
		return ask(ctx, tty, text)
	}
}

// ask reads a line that is not shown. Whatever ends the process meanwhile must
// not leave a terminal that shows nothing, so signals are caught as well.
func ask(ctx context.Context, tty *os.File, text string) (string, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("setting the terminal up: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	defer func() { _ = term.Restore(fd, before) }()
	// Before the question: whoever answers at once, as a script does, is not shown either.
	if err := silence(fd); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(tty, "%s: ", strings.Map(visible, text)); err != nil {
		return "", fmt.Errorf("writing to the terminal: %w", err)
	}
	line, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	_ = term.Restore(fd, before)
	_, _ = fmt.Fprintln(tty)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("asking for it was interrupted: %w", context.Cause(ctx))
	case err != nil:
		return "", fmt.Errorf("reading from the terminal: %w", err)
	case len(line) == 0:
		return "", errors.New("nothing was typed")
	}
	return string(line), nil
}

// visible drops what a terminal would obey.
func visible(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}
