package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupts are SIGINT and SIGTERM. While nothing is being written the first
// one ends everything. While something is, it lets the object finish that is
// under way, and the second ends everything.
type interrupts struct {
	caught chan os.Signal
	done   chan struct{}
	// stop ends when no further object is to be begun.
	stop    context.Context //nolint:containedctx // it is a signal, and belongs to no call
	mu      sync.Mutex
	writing bool
}

func catch(cancel context.CancelFunc, first func()) *interrupts {
	stop, halt := context.WithCancel(context.Background())
	i := &interrupts{caught: make(chan os.Signal, 2), done: make(chan struct{}), stop: stop}
	signal.Notify(i.caught, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer halt()
		select {
		case <-i.done:
			return
		case <-i.caught:
		}
		halt()
		if i.isWriting() {
			first()
			select {
			case <-i.done:
				return
			case <-i.caught:
			}
		}
		// Whatever does not listen to the context is ended by the next signal.
		signal.Stop(i.caught)
		cancel()
	}()
	return i
}

// began notes that something is being written from now on.
func (i *interrupts) began() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.writing = true
}

func (i *interrupts) isWriting() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.writing
}

func (i *interrupts) release() {
	signal.Stop(i.caught)
	close(i.done)
}
