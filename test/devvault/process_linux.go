package devvault

import "syscall"

// attributes tie the server to the process that started it, so that a test
// which dies without cleaning up leaves nothing behind; or let it go.
func attributes(detached bool) *syscall.SysProcAttr {
	if detached {
		return &syscall.SysProcAttr{Setsid: true}
	}
	// A group of its own: an interrupt at the terminal is for the parent, which
	// stops the server in its own time.
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
