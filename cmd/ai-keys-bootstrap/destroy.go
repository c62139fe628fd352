package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

// destroy takes away what the file has made. It needs none of its secrets.
func (p *program) destroy(ctx context.Context, _ []string) error {
	d, err := p.load()
	if err != nil {
		return err
	}
	s, err := p.session(ctx, d, p.options())
	if err != nil {
		return err
	}
	plan, err := s.PlanDestroy(ctx, d)
	if err != nil {
		return err
	}
	p.say().Destroy(plan)
	switch {
	case p.flags.dryRun:
		return p.wouldDestroy(plan)
	case plan.Empty():
		return p.destroyed(plan, &bootstrap.Result{})
	}
	if err := s.Preflight(ctx, plan); err != nil {
		return err
	}
	if err := p.confirmDestroy(ctx, len(plan.Pending())); err != nil {
		return err
	}
	p.say().Line("")
	started := time.Now()
	result, err := s.Destroy(ctx, p.signals.stop, d, plan, process(), p.watcher())
	if err != nil {
		return err
	}
	p.say().Result(result, time.Since(started))
	if err := p.destroyed(plan, result); err != nil {
		return err
	}
	if result.Err != nil {
		return outcome(exitStopped)
	}
	return nil
}

// wouldDestroy ends a dry run.
func (p *program) wouldDestroy(plan *bootstrap.Plan) error {
	if p.flags.json {
		if err := p.document(planDocument{p.head(), plan.View(nil), p.foot()}); err != nil {
			return err
		}
	}
	if !plan.Empty() {
		return outcome(exitDifferences)
	}
	return nil
}

// theWord is what has to be typed: a yes comes too easily.
const theWord = "destroy"

func (p *program) confirmDestroy(ctx context.Context, n int) error {
	if p.flags.autoApprove {
		return nil
	}
	if p.flags.json || !p.terminal {
		return usageError{errors.New("there is nobody to ask whether this shall be destroyed: give --auto-approve, or look with --dry-run first")}
	}
	answer, err := p.ask(ctx, fmt.Sprintf("\nThis cannot be undone. Delete what stands after each of the %d - above? Type %s: ", n, theWord))
	if err != nil {
		return err
	}
	if answer != theWord {
		return fmt.Errorf("not destroyed: the answer was not %q; nothing was deleted", theWord)
	}
	return nil
}

// destroyed prints destroy's document, if that is wanted.
func (p *program) destroyed(plan *bootstrap.Plan, r *bootstrap.Result) error {
	if !p.flags.json {
		return nil
	}
	d := destroyDocument{p.head(), r.View(plan), p.foot()}
	if r.Err != nil {
		d.Error = faultOf(r.Err)
		d.Error.Kind = "stopped"
	}
	return p.document(d)
}
