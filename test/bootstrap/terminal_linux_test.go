package bootstrap_test

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A terminal is one with a program at it.
type terminal struct {
	*running
	keyboard *os.File
}

// atTerminal starts the program at a terminal of its own.
func (h *harness) atTerminal(args ...string) *terminal {
	h.t.Helper()
	master, slave := pty(h.t)
	cmd := h.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	screen := newLines()
	r := &running{h: h, cmd: cmd, out: screen, err: newLines(), done: make(chan error, 1)}
	go func() {
		_, _ = io.Copy(screen, master) // it ends with an error when the program does
		r.done <- cmd.Wait()
	}()
	if err := slave.Close(); err != nil {
		h.t.Fatal(err)
	}
	return &terminal{r, master}
}

// pty makes a terminal.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this machine has no terminals")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0), unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 60})); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// answers waits for a question, and types.
func (e *terminal) answers(question, answer string) {
	e.h.t.Helper()
	e.out.await(e.h.t, question)
	if _, err := e.keyboard.WriteString(answer); err != nil {
		e.h.t.Fatal(err)
	}
}

func TestAnOperatorIsAsked(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	no := h.atTerminal("apply", "-f", "vault.hcl")
	no.answers("Apply these 3 changes? (yes/no)", "no\n")
	r := no.end().exits(1).says("not applied: the answer was not yes; nothing was written")
	if !strings.Contains(r.stdout, "\x1b[32m+\x1b[0m") {
		t.Errorf("there are no colours on a terminal:\n%q", r.stdout)
	}
	h.env["NO_COLOR"] = "1"
	yes := h.atTerminal("apply", "-f", "vault.hcl")
	yes.answers("Apply these 3 changes? (yes/no)", "yes\n")
	if r := yes.end().exits(0).says("3 created in"); strings.Contains(r.stdout, "\x1b[") {
		t.Errorf("there are colours in spite of NO_COLOR:\n%q", r.stdout)
	}
	if r := h.atTerminal("plan", "-f", "vault.hcl", "--no-color").end().exits(0); strings.Contains(r.stdout, "\x1b[") {
		t.Errorf("there are colours in spite of --no-color:\n%q", r.stdout)
	}
}

func TestAnInterruptAtTheQuestion(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	at := h.atTerminal("apply", "-f", "vault.hcl")
	at.answers("Apply these 3 changes? (yes/no)", "\x03")
	at.end().exits(1).says("interrupted, before anything that the file says was written")
	h.plan("vault.hcl", creates("policy a"), creates("policy b"), creates("policy c"))
}

func TestASecretIsAskedForOnlyWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", strings.Replace(withSecret, "env:OKTA_API_TOKEN", "prompt:Okta's API token", 1))
	h.run("plan", "-f", "vault.hcl").exits(2).says(`secret "okta" was not read: it is asked for by apply, if it is needed`)
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says("secrets are missing", `secret "okta", for auth/okta config`, "no terminal")
	at := h.atTerminal("apply", "-f", "vault.hcl", "--auto-approve")
	at.answers("Okta's API token: ", h.canary()+"\n")
	at.end().exits(0).says("2 created in ")
	again := h.atTerminal("apply", "-f", "vault.hcl", "--auto-approve")
	again.end().exits(0).says("Nothing to do", "1 secret not compared").silent("API token: ")
}

func TestADestroyTakesAWord(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	h.apply("vault.hcl")
	for _, answer := range []string{"yes\n", "Destroy\n", "\n"} {
		no := h.atTerminal("destroy", "-f", "vault.hcl")
		no.answers("Type destroy: ", answer)
		no.end().exits(1).says("not destroyed", "nothing was deleted")
	}
	h.plan("vault.hcl")
	yes := h.atTerminal("destroy", "-f", "vault.hcl")
	yes.answers("Type destroy: ", "destroy\n")
	yes.end().exits(0).says("4 deleted in")
	h.plan("vault.hcl", creates("policy a"), creates("policy b"), creates("policy c"))
}
