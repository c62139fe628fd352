package backend

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// An askedSystem counts how often Vault is asked about itself.
type askedSystem struct {
	logical.StaticSystemView

	asked atomic.Int64
	away  bool // it answers as the plugin's client does when Vault does not
}

func (s *askedSystem) ReplicationState() consts.ReplicationState {
	s.asked.Add(1)
	if s.away {
		return consts.ReplicationUnknown
	}
	return s.StaticSystemView.ReplicationState()
}

func (s *askedSystem) DefaultLeaseTTL() time.Duration {
	s.asked.Add(1)
	if s.away {
		return 0
	}
	return s.StaticSystemView.DefaultLeaseTTL()
}

func (s *askedSystem) MaxLeaseTTL() time.Duration {
	s.asked.Add(1)
	if s.away {
		return 0
	}
	return s.StaticSystemView.MaxLeaseTTL()
}

// What Vault says of itself is remembered for a second, and no longer.
func TestSystemIsRemembered(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("roles/ci", dynamicFields)
		w.pass(time.Minute)
		w.read("creds/app")
		w.read("creds/ci")
		before := w.system.asked.Load()
		for range 100 {
			w.read("creds/app")
		}
		w.read("creds/ci")
		if n := w.system.asked.Load() - before; n > 0 {
			t.Errorf("Vault was asked %d times within a second", n)
		}

		w.system.MaxLeaseTTLVal = 10 * time.Minute // tuned
		w.pass(systemFor)
		w.read("creds/ci")
		if l := w.b.ledger.filter(func(l *line) bool {
			return l.Kind == lineKey && l.Deadline.Sub(l.Created) == 10*time.Minute+leaseMargin
		}); len(l) != 1 {
			t.Errorf("%d keys know the new max_lease_ttl, want 1", len(l))
		}

		w.system.ReplicationStateVal = consts.ReplicationPerformanceStandby
		w.pass(systemFor)
		if _, err := w.call(logical.UpdateOperation, "rotate-role/app", nil); err == nil {
			t.Error("a standby did not pass a write on")
		}
		w.read("creds/app")
	})
}

// An answer that is none is not kept.
func TestSystemThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	v := &askedSystem{StaticSystemView: logical.StaticSystemView{MaxLeaseTTLVal: time.Hour}, away: true}
	s := &system{SystemView: v}
	if d := s.MaxLeaseTTL(); d != 0 {
		t.Errorf("%s from a Vault that does not answer", d)
	}
	v.away = false
	if d := s.MaxLeaseTTL(); d != time.Hour {
		t.Errorf("%s, want what Vault says now", d)
	}
}
