package secret

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// pseudoTerminal returns both sides of a new one.
func pseudoTerminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return settings.Lflag&unix.ECHO != 0
}

func TestWhatIsTypedIsNotShown(t *testing.T) {
	t.Parallel()
	keyboard, tty := pseudoTerminal(t)
	screen := bufio.NewReader(keyboard)
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := ask(t.Context(), tty, "Key of \x1b[31mClaude")
		done <- result{text, err}
	}()
	shown, err := screen.ReadString(' ')
	for err == nil && !strings.HasSuffix(shown, ": ") {
		var more string
		more, err = screen.ReadString(' ')
		shown += more
	}
	if echoes(t, tty) {
		t.Error("the question is there, and the terminal still shows what is typed")
	}
	if _, werr := keyboard.WriteString("canary\n"); err != nil || werr != nil {
		t.Fatal(err, werr)
	}
	if got := <-done; got.text != "canary" || got.err != nil {
		t.Errorf("%q, %v", got.text, got.err)
	}
	rest, err := screen.ReadString('\n')
	if shown += rest; err != nil || shown != "Key of [31mClaude: \r\n" {
		t.Errorf("shown: %q, %v", shown, err)
	}
	if !echoes(t, tty) {
		t.Error("the terminal shows nothing any more")
	}
}

func TestAnInterruptedPromptLeavesTheTerminalAsItWas(t *testing.T) {
	t.Parallel()
	keyboard, tty := pseudoTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := ask(ctx, tty, "Key")
		done <- err
	}()
	for echoes(t, tty) {
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !echoes(t, tty) {
		t.Error("the terminal shows nothing any more")
	}
	_, _ = keyboard.WriteString("\n") // lets the read end
}

func TestNothingTyped(t *testing.T) {
	t.Parallel()
	keyboard, tty := pseudoTerminal(t)
	if _, err := keyboard.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := ask(t.Context(), tty, "Key"); err == nil {
		t.Errorf("%q", text)
	}
}

func TestStdinThatShows(t *testing.T) {
	t.Parallel()
	_, tty := pseudoTerminal(t)
	if !term.IsTerminal(int(tty.Fd())) {
		t.Fatal("the pseudo-terminal is none")
	}
	s := NewStore(World{Stdin: tty}, NewRedactor())
	if err := s.Declare(Source{Name: "it", From: "stdin:"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context(), nil)["it"]; err == nil || !strings.Contains(err.Error(), "prompt:") {
		t.Errorf("%v", err)
	}
}
