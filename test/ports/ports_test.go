package ports

import (
	"net"
	"strconv"
	"testing"
)

func TestNoPortIsHandedOutTwice(t *testing.T) {
	t.Parallel()
	seen := make(map[int]bool)
	for range 200 {
		port, err := Take(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || seen[port+1] || port < first || port+1 > last {
			t.Fatalf("port %d was handed out before, or is out of range", port)
		}
		seen[port], seen[port+1] = true, true
	}
}

func TestAPortInUseIsPassedOver(t *testing.T) {
	t.Parallel()
	port, err := Take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if locks, err := reserve(t.Context(), t.TempDir(), port, 1); locks != nil || err != nil {
		t.Errorf("a port that somebody listens on was reserved (%v)", err)
	}
}
