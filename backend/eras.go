package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// An era is a time in which one process makes keys on this mount's storage. Its
// mark is part of every name made in it, and storage says until when it lasts,
// before the first of them: so a copy of the mount, which has the same id and
// began with the same storage, makes names of eras that this storage lacks, or
// that had ended here by then. Only reconcile asks: it must not take the keys
// that a copy serves for leftovers of its own.
type eras struct {
	mu    sync.Mutex
	mark  string // of this process; "" before its first name
	until time.Time
}

// eraBook is stored at "eras": until when each era may make names. Owner: eras.go.
type eraBook struct {
	Until map[string]time.Time `json:"until"`
}

const (
	// eraLength is how far ahead an era is stored. What a copy makes in the rest
	// of that time after the copying cannot be told from our own.
	eraLength = 15 * time.Minute
	// eraMargin is how much of it a new name must have left: for the calls until
	// the provider makes the key, and for its clock.
	eraMargin = 5 * time.Minute
	// mostEras bounds the entry. Keys of an era that fell out count as a copy's.
	mostEras = 1000

	eraMarkLength = 6
)

// era is the mark of the present era. It costs a write every ten minutes in
// which names are made.
func (b *Backend) era(ctx context.Context, s logical.Storage) (string, error) {
	b.eras.mu.Lock()
	defer b.eras.mu.Unlock()
	now := time.Now().UTC()
	if now.Add(eraMargin).Before(b.eras.until) {
		return b.eras.mark, nil
	}
	book, err := b.eraBook(ctx, s)
	if errors.Is(err, errDamaged) { // it only keeps reconcile from doing more: no reason to make no keys
		b.Logger().Error("the eras cannot be read and begin anew: reconcile will take earlier keys for a copy's", "error", err)
		book, err = &eraBook{Until: map[string]time.Time{}}, nil
	}
	if err != nil {
		return "", err
	}
	mark, until := cmp.Or(b.eras.mark, randomMark(eraMarkLength)), now.Add(eraLength)
	book.Until[mark] = until
	book.prune()
	if err := save(ctx, s, erasPath, book); err != nil {
		return "", err
	}
	b.eras.mark, b.eras.until = mark, until
	return mark, nil
}

func (b *Backend) eraBook(ctx context.Context, s logical.Storage) (*eraBook, error) {
	book, err := load[eraBook](ctx, s, erasPath)
	if err != nil {
		return nil, err
	}
	if book == nil {
		book = &eraBook{}
	}
	if book.Until == nil {
		book.Until = map[string]time.Time{}
	}
	return book, nil
}

// prune drops the eras that ended first.
func (k *eraBook) prune() {
	marks := slices.SortedFunc(maps.Keys(k.Until), func(a, b string) int { return k.Until[b].Compare(k.Until[a]) })
	for _, mark := range marks[min(mostEras, len(marks)):] {
		delete(k.Until, mark)
	}
}

// covers reports whether a key was made in an era that this storage knows of,
// before that ended here.
func (k *eraBook) covers(mark string, made time.Time) bool {
	until, ok := k.Until[mark]
	return ok && !made.After(until)
}

// randomMark is random text of the letters that names end with.
func randomMark(length int) string { return strings.ToLower(rand.Text()[:length]) }

// uniqueLength is the random end of a name, the mark of its era included.
const uniqueLength = 16

var markedName = regexp.MustCompile(`^[A-Za-z0-9_.-]*-([0-9a-f]{8})-([a-z2-7]{16})$`)

// marked reports whether a name is one that this mount, or a copy of it, gives,
// and of which era.
func (b *Backend) marked(name string) (tag provider.Tag, era string, ok bool) {
	m := markedName.FindStringSubmatch(name)
	if m == nil || m[1] != mountMark(b.uuid) {
		return "", "", false
	}
	return provider.Tag(name), m[2][:eraMarkLength], true
}
