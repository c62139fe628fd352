package bootstrap

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// Two applies at once do not fight: the second waits for the first. The lock is
// an entry of the record mount, taken by check-and-set, and its holder beats:
// it writes the entry again every heartbeat. Whoever waits watches the entry's
// version; when that has stood still for lockPatience the holder is taken for
// dead, whatever the clocks of the two machines say. A holder on the waiting
// machine itself is asked for directly, so that after a crash nobody waits.
const (
	lockPath     = recordMount + "/data/lock"
	heartbeat    = 3 * time.Second
	lockPatience = 15 * time.Second
)

// A Holder is who has the lock.
type Holder struct {
	// ID tells one holding from another.
	ID string `json:"id"`
	// Host is for people.
	Host string `json:"host"`
	// Place is where process ids mean the same: one boot of a kernel, one PID
	// namespace. Empty: not known. PID is the process there, and Began when that
	// was started, because ids are used again.
	Place string    `json:"place,omitempty"`
	PID   int       `json:"pid"`
	Began string    `json:"began,omitempty"`
	Since time.Time `json:"since"`
	// Free: nobody has it any more.
	Free bool `json:"free,omitempty"`
}

// A Process tells the lock about the machine it runs on.
type Process struct {
	Holder
	// Alive tells whether a process of this place, begun then, is running.
	Alive func(pid int, began string) bool
}

// lock takes the lock, and returns how to give it back. The context that it
// returns ends when the lock is lost, which can only happen when the process
// was held up for longer than lockPatience.
func (s *Session) lock(ctx context.Context, me Process, tell func(string)) (context.Context, func(), error) {
	if err := s.record.mountKV(ctx); err != nil {
		return nil, nil, err
	}
	me.ID, me.Since = rand.Text(), time.Now().UTC()
	version, err := s.acquire(ctx, me, tell)
	if err != nil {
		return nil, nil, err
	}
	held, lost := context.WithCancelCause(ctx)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.beat(held, me.Holder, version, stop, lost)
	}()
	return held, func() { close(stop); <-done; lost(nil) }, nil
}

// acquire waits until the lock is free or its holder dead, and takes it.
func (s *Session) acquire(ctx context.Context, me Process, tell func(string)) (int64, error) {
	var (
		seen  int64 = -1
		since time.Time
	)
	for {
		holder, version, err := s.holder(ctx)
		if err != nil || holder.ID == me.ID { // ours: it was taken, and the answer was lost
			return version, err
		}
		free := holder.Free || me.knowsDead(holder)
		if seen < 0 && !free {
			tell(fmt.Sprintf("another apply is under way (process %d on %s, since %s); waiting for it", holder.PID, holder.Host, holder.Since.Format(time.TimeOnly)))
		}
		if version != seen {
			seen, since = version, time.Now()
		}
		if free || time.Since(since) > lockPatience {
			taken, err := s.writeLock(ctx, me.Holder, version)
			if err == nil || vault.StatusOf(err) != 400 && !errors.Is(err, vault.ErrUnknownOutcome) {
				return taken, err
			}
			// Somebody else was faster, or it is ours and the answer was lost.
		}
		if err := pause(ctx, time.Second); err != nil {
			return 0, err
		}
	}
}

// knowsDead tells whether a holder was a process of this place that has ended.
func (p *Process) knowsDead(h Holder) bool {
	return h.Place != "" && h.Place == p.Place && !p.Alive(h.PID, h.Began)
}

// beat keeps the lock until it is told to stop, and then gives it back.
func (s *Session) beat(ctx context.Context, me Holder, version int64, stop <-chan struct{}, lost context.CancelCauseFunc) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			me.Free = true
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeat)
			_, _ = s.writeLock(ctx, me, version) // the next one waits a little longer
			cancel()
			return
		case <-ctx.Done():
			<-stop
			return
		case <-tick.C:
			next, err := s.writeLock(ctx, me, version)
			if err == nil {
				version = next
				continue
			}
			// Refused, or nobody knows: an answer may have been lost, and the
			// version be ours all the same. What cannot be read is tried again.
			holder, now, err := s.holder(ctx)
			switch {
			case err != nil:
			case holder.ID == me.ID:
				version = now
			default:
				lost(fmt.Errorf("the lock was lost to another apply (process %d on %s): it saw no sign of life of this one for %s", holder.PID, holder.Host, lockPatience))
			}
		}
	}
}

// holder reads the lock. Where there is none, a second look tells which version
// is to be written; should another apply have taken the lock in between, that
// version is theirs, and the lock not free.
func (s *Session) holder(ctx context.Context) (Holder, int64, error) {
	for {
		answer, err := s.Vault.Read(ctx, lockPath)
		if err != nil {
			return Holder{}, 0, fmt.Errorf("looking at the lock: %w", err)
		}
		if data, ok := answer["data"].(map[string]any); ok {
			return holderOf(answer, data)
		}
		meta, err := s.Vault.Read(ctx, recordMount+"/metadata/lock")
		if err != nil {
			return Holder{}, 0, fmt.Errorf("looking at the lock: %w", err)
		}
		version := number(meta["current_version"])
		latest, _ := dig(meta, fmt.Sprintf("versions.%d", version)).(map[string]any)
		if version == 0 || latest == nil || textOf(latest, "deletion_time") != "" || latest["destroyed"] == true {
			return Holder{Free: true}, version, nil // there never was one, or somebody deleted it
		}
	}
}

// holderOf takes an answer of Vault's apart.
func holderOf(answer, data map[string]any) (Holder, int64, error) {
	var h Holder
	text, err := json.Marshal(data)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		return Holder{}, 0, fmt.Errorf("the lock at %s cannot be read (delete it if no apply is running): %w", lockPath, err)
	}
	meta, _ := answer["metadata"].(map[string]any)
	return h, number(meta["version"]), nil
}

// writeLock writes the lock if it is still of that version.
func (s *Session) writeLock(ctx context.Context, h Holder, version int64) (int64, error) {
	answer, err := s.Vault.Write(ctx, lockPath, map[string]any{"data": h, "options": map[string]any{"cas": version}})
	if err != nil {
		return 0, err
	}
	return number(answer.Data["version"]), nil
}

func number(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

// pause waits, unless the context ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
