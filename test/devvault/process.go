package devvault

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Process is a child whose end can be waited for by many.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Spawn starts a child. It ends with its parent, however that ends (on Linux),
// unless it is detached. An interrupt at the terminal does not reach it: the
// parent ends it in its own time. Of the attributes that cmd has already, the
// credential is kept.
func Spawn(cmd *exec.Cmd, detached bool) (*Process, error) {
	attr := attributes(detached)
	if cmd.SysProcAttr != nil {
		attr.Credential = cmd.SysProcAttr.Credential
	}
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

// PID is the child's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// End sends a signal and waits. What does not end is killed, which is an error.
// A process that has ended already is none.
func (p *Process) End(signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending process %d: %w", p.PID(), err)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing process %d: %w", p.PID(), err)
	}
	<-p.done
	return fmt.Errorf("process %d did not end within %s and was killed", p.PID(), patience)
}

// PluginProcesses finds the engine's processes among the server's children. It
// is an [errors.ErrUnsupported] where there is no /proc.
func (s *Server) PluginProcesses() ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("finding the plugin's process: %w", errors.ErrUnsupported)
	}
	var pids []int
	for _, f := range files {
		stat, err := os.ReadFile(f) //nolint:gosec // below /proc
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state parent …; the name may hold anything.
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil || len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(s.PID()) {
			continue
		}
		if exe, err := os.Readlink(filepath.Join(filepath.Dir(f), "exe")); err == nil && filepath.Base(exe) == pluginName {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// KillPlugin ends the engine's processes in the middle of whatever they do, and
// returns how many there were.
func (s *Server) KillPlugin() (int, error) {
	pids, err := s.PluginProcesses()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return 0, fmt.Errorf("killing the plugin: %w", err)
		}
	}
	return len(pids), nil
}
