//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package secret

// silence is left to the reading of the line here, a moment after the question.
func silence(int) error { return nil }
