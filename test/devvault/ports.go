package devvault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// freePorts finds a port whose successor is free too: a dev server takes both.
// Another process may take them before Vault does; then it does not start.
func freePorts(ctx context.Context) (int, error) {
	var config net.ListenConfig
	for range 50 {
		first, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, fmt.Errorf("looking for a free port: %w", err)
		}
		port := first.Addr().(*net.TCPAddr).Port //nolint:errcheck,forcetypeassert // a tcp listener has no other address
		second, err := config.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port+1))
		if err == nil {
			return port, errors.Join(first.Close(), second.Close())
		}
		if err := first.Close(); err != nil {
			return 0, fmt.Errorf("looking for a free port: %w", err)
		}
	}
	return 0, errors.New("there are no two free ports in a row")
}
