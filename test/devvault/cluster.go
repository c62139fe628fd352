package devvault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

// A Cluster is nodes on one raft, and an address in front of them that reaches
// whichever are up, as a load balancer does. A node that is a standby forwards.
// It is not safe for concurrent use, other than its clients.
type Cluster struct {
	Nodes []*Server
	// Addr is the URL in front of the nodes.
	Addr string

	front   net.Listener
	up      []atomic.Bool
	running sync.WaitGroup
}

// StartCluster runs so many nodes, each with a plugin directory of its own. The
// first leads. [Options].Dir is for all of them.
func StartCluster(ctx context.Context, o Options, nodes int) (_ *Cluster, err error) {
	c := &Cluster{up: make([]atomic.Bool, nodes)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	o.Persistent = true
	base := o.Dir
	for i := range nodes {
		o.Dir = filepath.Join(base, "node-"+strconv.Itoa(i))
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("making a node's directory: %w", err)
		}
		s, err := place(ctx, o, "node-"+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			s.joins, s.RootToken = c.Nodes[0], c.Nodes[0].RootToken
		}
		if err := s.begin(ctx); err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		c.Nodes = append(c.Nodes, s)
		c.up[i].Store(true)
	}
	if err := c.awaitVoters(ctx); err != nil {
		return nil, err
	}
	c.Nodes[0].joins = c.Nodes[0] // from now on it may be a standby as well
	if c.front, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listening in front of the nodes: %w", err)
	}
	c.Addr = "http://" + c.front.Addr().String()
	c.running.Go(c.serve)
	return c, nil
}

// awaitVoters waits until each node has a vote: before that, the others cannot
// do without the leader.
func (c *Cluster) awaitVoters(ctx context.Context) error {
	client, err := c.Nodes[0].Client(c.Nodes[0].RootToken)
	if err != nil {
		return err
	}
	_, err = client.Logical().WriteWithContext(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{"server_stabilization_time": "1s"})
	if err != nil {
		return fmt.Errorf("configuring autopilot: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := client.Sys().RaftAutopilotStateWithContext(ctx)
		if err == nil && state != nil && len(state.Voters) == len(c.Nodes) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the nodes did not all get a vote: %w", errors.Join(err, context.Cause(ctx)))
		}
	}
}

// serve takes connections until the cluster is closed.
func (c *Cluster) serve() {
	for {
		from, err := c.front.Accept()
		if err != nil {
			return
		}
		c.running.Go(func() { c.relay(from) })
	}
}

// relay connects a caller with a node that is up. Without one it hangs up.
func (c *Cluster) relay(from net.Conn) {
	defer from.Close() //nolint:errcheck // either end may have hung up
	for i, s := range c.Nodes {
		if !c.up[i].Load() {
			continue
		}
		to, err := (&net.Dialer{Timeout: patience}).Dial("tcp", s.host())
		if err != nil {
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(to, from) // the caller sees how it ends
			_ = to.Close()
		}()
		_, _ = io.Copy(from, to)
		_ = from.Close()
		_ = to.Close()
		<-done
		return
	}
}

// Client makes a client of whichever nodes are up.
func (c *Cluster) Client(token string) (*api.Client, error) {
	client, err := c.Nodes[0].Client(token)
	if err != nil {
		return nil, err
	}
	if err := client.SetAddress(c.Addr); err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	return client, nil
}

// Leader is the number of the node that leads; -1: none does at the moment.
func (c *Cluster) Leader(ctx context.Context) (int, error) {
	for i, s := range c.Nodes {
		if !c.up[i].Load() {
			continue
		}
		client, err := s.Client("")
		if err != nil {
			return -1, err
		}
		if l, err := client.Sys().LeaderWithContext(ctx); err == nil && l.IsSelf {
			return i, nil
		}
	}
	return -1, nil
}

// StepDown makes a node give up leading.
func (c *Cluster) StepDown(ctx context.Context, node int) error {
	client, err := c.Nodes[node].Client(c.Nodes[0].RootToken)
	if err != nil {
		return err
	}
	if err := client.Sys().StepDownWithContext(ctx); err != nil {
		return fmt.Errorf("stepping down: %w", err)
	}
	return nil
}

// Kill ends a node as a crash of its machine would.
func (c *Cluster) Kill(node int) error {
	c.up[node].Store(false)
	return c.Nodes[node].Kill()
}

// Restart starts a node again after [Cluster.Kill].
func (c *Cluster) Restart(ctx context.Context, node int) error {
	if err := c.Nodes[node].Restart(ctx); err != nil {
		return err
	}
	c.up[node].Store(true)
	return nil
}

// Close stops every node. Connections end with them.
func (c *Cluster) Close() error {
	var err error
	if c.front != nil {
		err = c.front.Close()
	}
	for i, s := range c.Nodes {
		c.up[i].Store(false)
		err = errors.Join(err, s.Stop())
	}
	c.running.Wait()
	return err
}

// join makes a new node part of the cluster of another.
func (s *Server) join(ctx context.Context, c *api.Client) error {
	_, err := c.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: s.joins.Addr})
	if err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	s.unsealKey = s.joins.unsealKey
	return nil
}
