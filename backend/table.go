package backend

import (
	"context"
	"slices"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/vault/sdk/logical"
)

// cacheSize bounds each in-memory table, in entries. An entry is about 1 KiB.
const cacheSize = 16384

// A table is one storage prefix with a cache of decoded entries before it. The
// entries it hands out are shared: a caller who wants to change one copies it.
type table[T any] struct {
	prefix string
	name   func(*T, string) // tells a decoded entry its name
	// watch is told of every entry that is written, deleted (nil) or read anew,
	// in that order, and must not call back.
	watch func(name string, v *T, wrote bool)

	cache *lru.Cache[string, *T]
	mu    sync.Mutex // orders fills of the cache against writes
	gen   uint64     // counts writes and invalidations
}

func newTable[T any](prefix string, name func(*T, string)) *table[T] {
	cache, err := lru.New[string, *T](cacheSize)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &table[T]{prefix: prefix, name: name, cache: cache, watch: func(string, *T, bool) {}}
}

// get returns the entry, or nil if there is none.
func (t *table[T]) get(ctx context.Context, s logical.Storage, name string) (*T, error) {
	v, _, err := t.lookup(ctx, s, name)
	return v, err
}

// lookup is get, and says whether the entry was in memory.
func (t *table[T]) lookup(ctx context.Context, s logical.Storage, name string) (v *T, cached bool, err error) {
	if v, ok := t.cache.Get(name); ok {
		return v, true, nil
	}
	v, err = t.fetch(ctx, s, name)
	return v, false, err
}

func (t *table[T]) fetch(ctx context.Context, s logical.Storage, name string) (*T, error) {
	if !nameShape.MatchString(name) || strings.Contains(name, "..") {
		return nil, nil //nolint:nilnil // never stored; storage would refuse the path
	}
	t.mu.Lock()
	gen := t.gen
	t.mu.Unlock()

	v, err := load[T](ctx, s, t.prefix+name)
	if err != nil {
		return nil, err
	}
	if v != nil {
		t.name(v, name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if gen != t.gen { // something was written while we read: v may be stale
		return v, nil
	}
	if v != nil {
		t.cache.Add(name, v)
	}
	t.watch(name, v, false)
	return v, nil
}

func (t *table[T]) put(ctx context.Context, s logical.Storage, name string, v *T) error {
	t.name(v, name)
	err := save(ctx, s, t.prefix+name, v)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	if err != nil { // it may have been written all the same: ask storage next time
		t.cache.Remove(name)
		return err
	}
	t.cache.Add(name, v)
	t.watch(name, v, true)
	return nil
}

func (t *table[T]) delete(ctx context.Context, s logical.Storage, name string) error {
	err := remove(ctx, s, t.prefix+name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	t.cache.Remove(name)
	if err == nil {
		t.watch(name, nil, true)
	}
	return err
}

func (t *table[T]) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	t.cache.Remove(name)
}

// invalidate drops what another node changed; it reports whether key is ours.
func (t *table[T]) invalidate(key string) bool {
	name, ok := strings.CutPrefix(key, t.prefix)
	if ok {
		t.forget(name)
	}
	return ok
}

// list returns all names in order.
func (t *table[T]) list(ctx context.Context, s logical.Storage) ([]string, error) {
	names, err := s.List(ctx, t.prefix)
	if err != nil {
		return nil, storageFault("listing "+t.prefix, err)
	}
	slices.Sort(names)
	return names, nil
}
