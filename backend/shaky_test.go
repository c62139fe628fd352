package backend

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/vault/sdk/logical"
)

var errStorage = errors.New("storage is away")

// shakyStorage is storage in memory whose n-th write fails, before or after it
// took effect, as a full disk, a lost answer or a crash would make it.
type shakyStorage struct {
	logical.InmemStorage

	dead  atomic.Bool // the process that uses it is gone
	reads atomic.Int64
	onGet func(path string) // called before each read

	mu     sync.Mutex
	onPut  func(path string)   // called before each write
	onList func(prefix string) // called before each list of names
	writes int
	bad    int // which write fails; 0: none
	after  bool
	// down keeps failing after the first failure, as a crashed process does.
	down    bool
	spared  bool
	failing bool
}

// die takes the storage away from the process that uses it, unless it was spared.
func (s *shakyStorage) die() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.spared {
		s.dead.Store(true)
	}
	return !s.spared
}

// spare ends the time in which the process may die.
func (s *shakyStorage) spare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spared = true
}

// copy is another storage with the same content.
func (s *shakyStorage) copy() *shakyStorage {
	ctx, fresh := context.Background(), &shakyStorage{}
	paths, err := logical.CollectKeys(ctx, &s.InmemStorage)
	for _, path := range paths {
		entry, getErr := s.InmemStorage.Get(ctx, path)
		err = errors.Join(err, getErr, fresh.InmemStorage.Put(ctx, entry))
	}
	if err != nil {
		panic(err) // memory does not fail
	}
	return fresh
}

func (s *shakyStorage) plan(bad int, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes, s.bad, s.after, s.failing = 0, bad, after, false
}

// reached reports whether the planned failure has happened.
func (s *shakyStorage) reached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad > 0 && s.writes >= s.bad
}

func (s *shakyStorage) act(do func() error) error {
	if s.dead.Load() {
		return errStorage
	}
	s.mu.Lock()
	s.writes++
	hit := s.bad > 0 && s.writes == s.bad
	if hit && s.down {
		s.failing = true
	}
	late := s.after
	failing := s.failing && !hit
	s.mu.Unlock()
	if failing || hit && !late {
		return errStorage
	}
	if err := do(); err != nil {
		return err
	}
	if hit {
		return errStorage
	}
	return nil
}

func (s *shakyStorage) Get(ctx context.Context, path string) (*logical.StorageEntry, error) {
	s.reads.Add(1)
	if s.onGet != nil {
		s.onGet(path)
	}
	return s.InmemStorage.Get(ctx, path)
}

// beforePut has f called before each write; nil: nothing.
func (s *shakyStorage) beforePut(f func(path string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPut = f
}

// beforeList has f called before each list of names; nil: nothing.
func (s *shakyStorage) beforeList(f func(prefix string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onList = f
}

func (s *shakyStorage) List(ctx context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	before := s.onList
	s.mu.Unlock()
	if before != nil {
		before(prefix)
	}
	return s.InmemStorage.List(ctx, prefix)
}

func (s *shakyStorage) Put(ctx context.Context, e *logical.StorageEntry) error {
	s.mu.Lock()
	before := s.onPut
	s.mu.Unlock()
	if before != nil {
		before(e.Key)
	}
	return s.act(func() error { return s.InmemStorage.Put(ctx, e) })
}

func (s *shakyStorage) Delete(ctx context.Context, path string) error {
	return s.act(func() error { return s.InmemStorage.Delete(ctx, path) })
}
