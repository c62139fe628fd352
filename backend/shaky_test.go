package backend

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/vault/sdk/logical"
)

var errStorage = errors.New("storage is away")

// shakyStorage is storage in memory whose n-th write or n-th read fails, a write
// before or after it took effect, as a full disk, a lost answer or a crash would
// make it. A list of names counts as a read, a deletion as a write.
type shakyStorage struct {
	logical.InmemStorage

	dead  atomic.Bool // the process that uses it is gone
	reads atomic.Int64
	onGet func(path string) // called before each read

	mu     sync.Mutex
	onPut  func(path string)   // called before each write
	onList func(prefix string) // called before each list of names
	acts   int                 // since plan: writes, or reads
	bad    int                 // which of them fails; 0: none
	onRead bool
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

// stays says whether storage goes on failing after the first failure, as for a
// process that has died.
func (s *shakyStorage) stays(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// plan has a write fail; 0: none.
func (s *shakyStorage) plan(bad int, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts, s.bad, s.onRead, s.after, s.failing = 0, bad, false, after, false
}

// planRead has a read fail.
func (s *shakyStorage) planRead(bad int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts, s.bad, s.onRead, s.after, s.failing = 0, bad, true, false, false
}

// reached reports whether the planned failure has happened.
func (s *shakyStorage) reached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad > 0 && s.acts >= s.bad
}

// act does a write or a read, unless it is to fail.
func (s *shakyStorage) act(reads bool, do func() error) error {
	if s.dead.Load() {
		return errStorage
	}
	s.mu.Lock()
	hit := false
	if reads == s.onRead {
		s.acts++
		hit = s.bad > 0 && s.acts == s.bad
	}
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

func (s *shakyStorage) Get(ctx context.Context, path string) (entry *logical.StorageEntry, err error) {
	s.reads.Add(1)
	if s.onGet != nil {
		s.onGet(path)
	}
	err = s.act(true, func() error {
		entry, err = s.InmemStorage.Get(ctx, path)
		return err
	})
	return entry, err
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

func (s *shakyStorage) List(ctx context.Context, prefix string) (names []string, err error) {
	s.mu.Lock()
	before := s.onList
	s.mu.Unlock()
	if before != nil {
		before(prefix)
	}
	err = s.act(true, func() error {
		names, err = s.InmemStorage.List(ctx, prefix)
		return err
	})
	return names, err
}

func (s *shakyStorage) Put(ctx context.Context, e *logical.StorageEntry) error {
	s.mu.Lock()
	before := s.onPut
	s.mu.Unlock()
	if before != nil {
		before(e.Key)
	}
	return s.act(false, func() error { return s.InmemStorage.Put(ctx, e) })
}

func (s *shakyStorage) Delete(ctx context.Context, path string) error {
	return s.act(false, func() error { return s.InmemStorage.Delete(ctx, path) })
}
