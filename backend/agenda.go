package backend

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// The agenda says when each role is due, so that a start finds what is due without
// reading every role first. It is stored at "agenda/<n>", in pages, since Vault
// bounds an entry. It only ever costs time: whatever it says, a role's own entry
// decides, and the background goes through all of them after the start. Owner:
// this file.
type agendaPage struct {
	// Pages is how many there are; in the first one only.
	Pages int `json:"pages,omitempty"`
	// Due are Unix seconds, by account and role.
	Due map[string]map[string]int64 `json:"due"`
}

// agenda is what this process knows of the stored one.
type agenda struct {
	sync.Mutex
	pages int
	state int // of the queue, see [queue.dueRoles]
}

const (
	// agendaEvery is how often it is stored, if anything has changed.
	agendaEvery = 10 * time.Minute
	// agendaPageSize bounds a page, in bytes, well below what Vault takes.
	agendaPageSize = 256 << 10
	// agendaPatience bounds the last write, for which Vault waits.
	agendaPatience = 2 * time.Second
)

func agendaPath(n int) string { return agendaPrefix + strconv.Itoa(n) }

// keepAgenda stores the agenda now and then, until ctx ends.
func (b *Backend) keepAgenda(ctx context.Context, s logical.Storage) {
	tick := time.NewTicker(agendaEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := b.storeAgenda(ctx, s); err != nil {
			b.Logger().Warn("the agenda is not stored: a start would find what is due more slowly", "error", err)
		}
	}
}

// closeAgenda stores it for the next start. The mount is ending: that it cannot be
// stored any more is nothing to tell.
func (b *Backend) closeAgenda(ctx context.Context, s logical.Storage) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), agendaPatience)
	defer cancel()
	_ = b.storeAgenda(ctx, s)
}

// storeAgenda writes what the queue knows, if it knows everything and the stored
// agenda does not say it already.
func (b *Backend) storeAgenda(ctx context.Context, s logical.Storage) error {
	b.agenda.Lock()
	defer b.agenda.Unlock()
	if !b.surveyed.Load() {
		return nil
	}
	due, state := b.queue.dueRoles()
	if state == b.agenda.state {
		return nil
	}
	pages := pagesOf(due)
	for n, page := range pages {
		entry, err := logical.StorageEntryJSON(agendaPath(n), page)
		if err != nil {
			return fmt.Errorf("encoding the agenda: %w", err)
		}
		if err := s.Put(ctx, entry); err != nil {
			return storageFault("writing the agenda", err)
		}
	}
	for n := len(pages); n < b.agenda.pages; n++ {
		if err := s.Delete(ctx, agendaPath(n)); err != nil {
			return storageFault("deleting what is left of the agenda", err)
		}
	}
	b.agenda.pages, b.agenda.state = len(pages), state
	return nil
}

// pagesOf cuts an agenda into pages; none, if nothing is on it.
func pagesOf(due map[string]map[string]time.Time) []*agendaPage {
	var pages []*agendaPage
	size := agendaPageSize
	for _, account := range sortedNames(due) {
		for _, role := range sortedNames(due[account]) {
			if size += len(role) + 16; size > agendaPageSize {
				pages = append(pages, &agendaPage{Due: map[string]map[string]int64{}})
				size = 0
			}
			page := pages[len(pages)-1]
			if page.Due[account] == nil {
				page.Due[account] = map[string]int64{}
				size += len(account) + 8
			}
			page.Due[account][role] = due[account][role].Unix()
		}
	}
	if len(pages) > 0 {
		pages[0].Pages = len(pages)
	}
	return pages
}

// recall puts the stored agenda into the queue. It reports whether there was one.
// What cannot be read is found by going through the roles.
func (b *Backend) recall(ctx context.Context, s logical.Storage) bool {
	b.agenda.Lock()
	defer b.agenda.Unlock()
	for n, pages := 0, 1; n < pages; n++ {
		page, err := load[agendaPage](ctx, s, agendaPath(n))
		if err != nil || page == nil {
			if err != nil || n > 0 {
				b.Logger().Info("the agenda cannot be read: what is due is found by going through all roles", "error", err)
			}
			b.agenda.pages = max(b.agenda.pages, n+1) // to be written over, or deleted
			return false
		}
		if n == 0 {
			pages = min(page.Pages, maxAgendaPages)
		}
		b.agenda.pages = max(b.agenda.pages, n+1)
		for account, roles := range page.Due {
			for role, at := range roles {
				b.queue.enter(roleItem(role), account, time.Unix(at, 0))
			}
		}
	}
	return true
}

// maxAgendaPages keeps a damaged count from being believed.
const maxAgendaPages = 1000
