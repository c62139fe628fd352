package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
)

// An Outcome is how a proof ended.
type Outcome string

const (
	// Proved says that it works.
	Proved Outcome = "ok"
	// Failed says that it does not.
	Failed Outcome = "failed"
	// Skipped says that it was not tried.
	Skipped Outcome = "skipped"
)

// A Proof is one thing that was tried: a check of the file, or what a kind of
// object can prove by itself.
type Proof struct {
	// Name is that of the check or the object.
	Name string
	At   file.Position
	// Outcome is how it ended: Did says what was done, or Why why not.
	Outcome  Outcome
	Did, Why string
	Took     time.Duration
}

// A Verification is how the server stands against the file.
type Verification struct {
	Plan   *Plan
	Proofs []Proof
}

// proofsAtOnce is how many proofs are under way at once: each may make an
// account or log somebody in.
const proofsAtOnce = 4

// Verify compares the file with the server, as a plan does, and proves by use
// what can be proved. Proofs that fail are in the verification; an error is
// that it came to none.
func (s *Session) Verify(ctx context.Context, d *Desired, w Watcher) (*Verification, error) {
	p, err := s.Plan(ctx, d)
	if err != nil {
		return nil, err
	}
	if w.Plan != nil {
		w.Plan(p)
	}
	proofs, err := s.Prove(ctx, ctx, d, p, w)
	if err != nil {
		return nil, err
	}
	return &Verification{Plan: p, Proofs: proofs}, ctx.Err()
}

// A trial is a proof to be made.
type trial struct {
	Proof
	// lane: of those that share one, one is under way at a time.
	lane string
	do   func(ctx context.Context) (string, error)
}

// Prove makes the proofs of the objects and the checks, side by side, and
// returns them in the order of the file. What the plan says is not there is not
// tried; the plan may be nil. When stop ends, what is under way is finished.
func (s *Session) Prove(ctx, stop context.Context, d *Desired, p *Plan, w Watcher) ([]Proof, error) {
	trials, err := s.trials(d, p)
	if err != nil {
		return nil, err
	}
	var order []string
	lanes := make(map[string][]*trial)
	for _, t := range trials {
		if lanes[t.lane] == nil {
			order = append(order, t.lane)
		}
		lanes[t.lane] = append(lanes[t.lane], t)
	}
	var (
		group errgroup.Group
		mu    sync.Mutex
	)
	group.SetLimit(proofsAtOnce)
	for _, lane := range order {
		group.Go(func() error {
			for _, t := range lanes[lane] {
				t.make(ctx, stop)
				mu.Lock()
				if w.Proof != nil {
					w.Proof(t.Proof)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait() // a proof that fails does not stop the others
	proofs := make([]Proof, len(trials))
	for i, t := range trials {
		proofs[i] = t.Proof
	}
	return proofs, nil
}

// make makes the proof, unless it was settled already that it is not.
func (t *trial) make(ctx, stop context.Context) {
	switch {
	case t.Outcome != "":
		return
	case stop.Err() != nil:
		t.Outcome, t.Why = Skipped, "interrupted"
		return
	}
	started := time.Now()
	did, err := t.do(ctx)
	t.Took = time.Since(started)
	skip, untried := errors.AsType[*untriedError](err)
	switch {
	case err == nil:
		t.Outcome, t.Did = Proved, did
	case ctx.Err() != nil:
		t.Outcome, t.Why = Skipped, "interrupted"
	case untried:
		t.Outcome, t.Why = Skipped, skip.why
	default:
		t.Outcome, t.Why = Failed, err.Error()
	}
}

// trials are the proofs to be made.
func (s *Session) trials(d *Desired, p *Plan) ([]*trial, error) {
	objects, err := s.targets(d)
	if err != nil {
		return nil, err
	}
	missing := p.missing()
	var out []*trial
	for _, o := range objects {
		if o.Kind.Verify == nil {
			continue
		}
		t := &trial{Proof: Proof{Name: o.Name(), At: o.At}, lane: o.Name()}
		t.do = func(ctx context.Context) (string, error) { return o.Kind.Verify(ctx, s, o) }
		t.skipIf(missing[o])
		out = append(out, t)
	}
	for _, c := range d.Checks {
		about := c.about(d.Objects)
		if len(s.Options.Targets) > 0 && !about.concerns(objects) {
			continue
		}
		// One after the other in a mount: what is behind it may count requests,
		// and a one-time code is good for one login.
		t := &trial{Proof: Proof{Name: c.Name(), At: c.At}, lane: "check " + cmp.Or(about.mount, c.Name())}
		t.do = func(ctx context.Context) (string, error) { return about.typ.run(ctx, s, about) }
		t.skipIf(missing[about.in] || missing[about.object])
		out = append(out, t)
	}
	return out, nil
}

func (t *trial) skipIf(missing bool) {
	if missing {
		t.Outcome, t.Why = Skipped, "it is not there yet"
	}
}

// missing are the objects that are still to be made.
func (p *Plan) missing() map[*Object]bool {
	out := make(map[*Object]bool)
	if p == nil {
		return out
	}
	for _, c := range p.Changes {
		if c.Action == Create {
			out[c.Object] = true
		}
	}
	return out
}

// CountProofs is how many proofs ended so.
func CountProofs(proofs []Proof, o Outcome) int {
	n := 0
	for _, p := range proofs {
		if p.Outcome == o {
			n++
		}
	}
	return n
}
