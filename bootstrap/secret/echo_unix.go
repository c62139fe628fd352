//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// silence makes a terminal show nothing of what is typed.
func silence(fd int) error {
	settings, err := unix.IoctlGetTermios(fd, getSettings)
	if err == nil {
		settings.Lflag &^= unix.ECHO
		err = unix.IoctlSetTermios(fd, setSettings, settings)
	}
	if err != nil {
		return fmt.Errorf("setting the terminal up: %w", err)
	}
	return nil
}
