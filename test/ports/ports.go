// Package ports hands out ports on loopback to servers that open their own
// sockets. Between the moment when a port is found to be free and the one when
// its server listens, nobody else may get it: not another test of this process,
// nor one of another, nor an outgoing connection.
package ports

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The range lies below the one from which systems take ports for outgoing
// connections.
const first, last = 10_000, 29_999

var (
	mu sync.Mutex
	// held keeps the lock files open: a lock ends with its process.
	held []*os.File
)

// Take returns the first of n free ports in a row. They stay reserved until the
// process ends.
func Take(ctx context.Context, n int) (int, error) {
	mu.Lock()
	defer mu.Unlock()
	dir := filepath.Join(os.TempDir(), "ai-keys-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("making a place for locks: %w", err)
	}
	start := first + rand.IntN(last-first) //nolint:gosec // spreads load, and no more
	for i := range last - first {
		port := first + (start-first+i)%(last-first)
		if port+n > last {
			continue
		}
		locks, err := reserve(ctx, dir, port, n)
		if err != nil {
			return 0, err
		}
		if locks != nil {
			held = append(held, locks...)
			return port, nil
		}
	}
	return 0, fmt.Errorf("there are no %d free ports in a row between %d and %d", n, first, last)
}

// reserve locks n ports from port on, if all of them are free; else nil.
func reserve(ctx context.Context, dir string, port, n int) (locks []*os.File, err error) {
	defer func() {
		if len(locks) < n {
			for _, f := range locks {
				err = errors.Join(err, f.Close())
			}
			locks = nil
		}
	}()
	for p := port; p < port+n; p++ {
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(p)), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a name of our own
		if err != nil {
			return locks, fmt.Errorf("locking port %d: %w", p, err)
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !free(ctx, p) {
			return locks, f.Close()
		}
		locks = append(locks, f)
	}
	return locks, nil
}

// free tells whether nobody listens on a port.
func free(ctx context.Context, port int) bool {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && l.Close() == nil
}
