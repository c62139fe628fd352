package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A Step is told when an apply begins and ends with an object.
type Step struct {
	Number, Of int
	Change     *Change
	Took       time.Duration
	// Ended is false at the beginning.
	Ended bool
	Err   error
}

// A Watcher is told how an apply or a verification goes on. Its functions may
// be nil.
type Watcher struct {
	Step func(Step)
	Tell func(string)
	// Plan is told what a verification has compared, before it proves anything;
	// Proof is told each proof when it has ended.
	Plan  func(*Plan)
	Proof func(Proof)
}

func (w Watcher) step(st Step) {
	if w.Step != nil {
		w.Step(st)
	}
}

func (w Watcher) tell(text string) {
	if w.Tell != nil {
		w.Tell(text)
	}
}

// A Result is what an apply did.
type Result struct {
	Done []*Change
	// Failed is what it stopped at, and Err why; nil if it did not.
	Failed *Change
	Err    error
	// Left was not begun.
	Left []*Change
}

// ErrChanged says that the server is not as it was when the plan was made.
var ErrChanged = errors.New("the server has changed since the plan was made: nothing was written; make a new plan")

// Apply does what a plan says. Each object is read again after it was written:
// what Vault took and did not keep is an error. Stop, when it ends, lets the
// object finish that is under way; ctx ends everything at once.
//
// It can be killed at any point: the next apply compares anew and goes on.
func (s *Session) Apply(ctx, stop context.Context, d *Desired, p *Plan, me Process, w Watcher) (*Result, error) {
	return s.carryOut(ctx, stop, p, me, w, func(ctx context.Context) (*Plan, error) { return s.Plan(ctx, d) })
}

// carryOut takes the lock, plans again under it, and makes the changes if they are
// still those of the plan.
func (s *Session) carryOut(ctx, stop context.Context, p *Plan, me Process, w Watcher, again func(context.Context) (*Plan, error)) (*Result, error) {
	if p.Empty() {
		return &Result{}, nil
	}
	if err := s.Preflight(ctx, p); err != nil {
		return nil, err
	}
	held, release, err := s.lock(ctx, me, w.tell)
	if err != nil {
		return nil, err
	}
	defer release()
	now, err := again(held)
	if err != nil {
		return nil, err
	}
	if now.Digest() != p.Digest() {
		return nil, ErrChanged
	}
	return s.perform(held, stop, now.Pending(), w), nil
}

// perform makes the changes one after the other.
func (s *Session) perform(ctx, stop context.Context, pending []*Change, w Watcher) *Result {
	r := &Result{}
	for i, c := range pending {
		if stop.Err() != nil && r.Err == nil {
			r.Err = errors.New("interrupted")
		}
		if r.Err != nil {
			r.Left = append(r.Left, c)
			continue
		}
		step := Step{Number: i + 1, Of: len(pending), Change: c}
		w.step(step)
		started := time.Now()
		step.Err = s.change(ctx, c)
		if cause := context.Cause(ctx); step.Err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
			step.Err = cause
		}
		step.Took, step.Ended = time.Since(started), true
		w.step(step)
		if step.Err != nil {
			r.Failed, r.Err = c, fmt.Errorf("%s: %w", c.Object.Name(), step.Err)
			continue
		}
		r.Done = append(r.Done, c)
	}
	return r
}

// change makes one change, records what has to be known of it, and looks
// whether Vault has taken it.
func (s *Session) change(ctx context.Context, c *Change) error {
	defer s.forget()
	if c.Action == Delete {
		return s.delete(ctx, c.Object)
	}
	if err := s.prepareResend(ctx, c); err != nil {
		return err
	}
	write := s.write
	if c.Object.Kind.Write != nil {
		write = func(ctx context.Context, c *Change) error { return c.Object.Kind.Write(ctx, s, c) }
	}
	if err := write(ctx, c); err != nil {
		return err
	}
	s.forget()
	if err := s.keepFingerprints(ctx, c); err != nil {
		return err
	}
	return s.confirm(ctx, c)
}

// write is the default: one POST.
func (s *Session) write(ctx context.Context, c *Change) error {
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	_, err = s.Vault.Write(ctx, c.Object.Kind.Path(c.Object), body)
	return err
}

func (s *Session) delete(ctx context.Context, o *Object) error {
	if o.Kind.Delete != nil {
		if err := o.Kind.Delete(ctx, s, o); err != nil {
			return err
		}
	} else if err := s.Vault.Delete(ctx, o.Kind.Path(o)); err != nil {
		return err
	}
	s.forget()
	return s.record.drop(ctx, o)
}

// prepareResend takes back the record of a rotation before the secret is sent
// again. Should the process die in between, a kind that sees the rotation on the
// server itself goes on withholding, and the operator asks once more.
func (s *Session) prepareResend(ctx context.Context, c *Change) error {
	if !s.resends(c.Object) {
		return nil
	}
	e, err := s.Entry(ctx, c.Object)
	if err != nil || e.Rotation == nil {
		return err
	}
	e.Rotation, e.Fingerprints = nil, nil
	return s.Keep(ctx, c.Object, e)
}

// confirm reads the object again. Vault answers 200 or 204 to many a write
// that it does not, or not wholly, take.
func (s *Session) confirm(ctx context.Context, c *Change) error {
	st, err := s.Read(ctx, c.Object)
	if err != nil {
		return fmt.Errorf("written, but reading it again: %w", err)
	}
	if !st.Exists && c.Action != Rotate {
		return errors.New("the write was taken, and there is nothing there now")
	}
	now, err := s.compare(ctx, c.Object, st)
	if err != nil {
		return err
	}
	var ignored []string
	for _, f := range now.Fields {
		if !slices.Contains(c.Withheld, f.Field) {
			ignored = append(ignored, fmt.Sprintf("%s is %s, not %s", f.Field, schema.Shown(f.Old), schema.Shown(f.New)))
		}
	}
	if len(ignored) > 0 {
		return fmt.Errorf("the write was taken, and a part of it ignored: %s", strings.Join(ignored, "; "))
	}
	return nil
}
