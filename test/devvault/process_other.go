//go:build !linux

package devvault

import "syscall"

// attributes keep an interrupt at the terminal from the server: the parent
// stops it in its own time.
func attributes(detached bool) *syscall.SysProcAttr {
	if detached {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true}
}
