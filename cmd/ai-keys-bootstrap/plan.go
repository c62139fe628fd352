package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

// validate reads the file, and asks no server.
func (p *program) validate(context.Context, []string) error {
	d, err := p.load()
	if err != nil {
		if !p.flags.json {
			return err
		}
		if err := p.document(validateDocument{head: p.head(), foot: foot{p.diags, faultOf(err)}}); err != nil {
			return err
		}
		return outcome(exitError)
	}
	if err := p.found(d.Doubts()); err != nil {
		return err
	}
	if p.flags.json {
		return p.document(validateDocument{p.head(), true, len(d.Objects), p.foot()})
	}
	p.say().Valid(d)
	return nil
}

// plan compares, and writes nothing to the server.
func (p *program) plan(ctx context.Context, _ []string) error {
	d, err := p.load()
	if err != nil {
		return err
	}
	s, err := p.session(ctx, d, p.options())
	if err != nil {
		return err
	}
	if p.flags.out != "" && slices.ContainsFunc(d.Files, func(f string) bool { return sameFile(f, p.flags.out) }) {
		return usageError{fmt.Errorf("--out %s is the file itself: name another for the plan", p.flags.out)}
	}
	s.LoadQuietly(ctx, d, nil)
	plan, err := s.Plan(ctx, d)
	if err != nil {
		return err
	}
	unread := s.Unread(d)
	if p.flags.out != "" {
		saved, err := bootstrap.Save(p.server, s.Options, d, plan)
		if err != nil {
			return err
		}
		for _, u := range unread {
			saved.Unread = append(saved.Unread, u.Secret)
		}
		if err := writeWhole(p.flags.out, saved); err != nil {
			return err
		}
	}
	if p.flags.json {
		if err := p.document(planDocument{p.head(), plan.View(unread), p.foot()}); err != nil {
			return err
		}
	}
	say := p.say()
	say.Plan(plan)
	say.Unread(unread)
	if p.flags.out != "" {
		say.Line("The plan is in %s. To do it: %s apply %s", p.flags.out, p.name, p.flags.out)
	}
	if !plan.Empty() {
		return outcome(exitDifferences)
	}
	return nil
}

// sameFile tells whether two names are of one file that is there.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// options are what the flags ask for beyond the file.
func (p *program) options() bootstrap.Options {
	return bootstrap.Options{
		Targets: p.flags.targets, Prune: p.flags.prune,
		Resend: p.flags.resend, AllowLockout: p.flags.allowLockout,
	}
}

// writeWhole writes a plan so that nobody else can read it, and nobody reads
// half of it.
func writeWhole(name string, saved *bootstrap.Saved) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".plan-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("saving the plan: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := saved.Write(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("saving the plan: %w", err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("saving the plan: %w", err)
	}
	return nil
}
