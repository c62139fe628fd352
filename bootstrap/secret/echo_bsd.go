//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package secret

import "golang.org/x/sys/unix"

const getSettings, setSettings = unix.TIOCGETA, unix.TIOCSETA
