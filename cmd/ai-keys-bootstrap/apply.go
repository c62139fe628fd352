package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

// apply makes the server as the file says.
func (p *program) apply(ctx context.Context, args []string) error {
	d, saved, err := p.wanted(args)
	if err != nil {
		return err
	}
	s, plan, err := p.prepare(ctx, d, saved)
	if err != nil {
		return err
	}
	p.say().Changes(plan)
	if plan.Empty() {
		if p.flags.json {
			return p.applied(plan, &bootstrap.Result{})
		}
		return nil
	}
	if err := s.Preflight(ctx, plan); err != nil {
		return err
	}
	if err := p.confirm(ctx, plan, saved != nil); err != nil {
		return err
	}
	p.say().Line("")
	started := time.Now()
	progress := p.say()
	if p.flags.json {
		progress = p.tell()
	}
	result, err := s.Apply(ctx, p.signals.stop, d, plan, process(), bootstrap.Watcher{
		Step: func(st bootstrap.Step) {
			p.signals.began()
			progress.Step(st)
		},
		Tell: func(text string) { p.tell().Line("%s", text) },
	})
	if err != nil {
		return err
	}
	p.say().Result(result, time.Since(started))
	if p.flags.json {
		if err := p.applied(plan, result); err != nil {
			return err
		}
	}
	if result.Err != nil {
		return outcome(exitStopped)
	}
	return nil
}

// wanted is what the file wants, or what it wanted when a plan was saved.
func (p *program) wanted(args []string) (*bootstrap.Desired, *bootstrap.Saved, error) {
	if len(args) == 0 {
		d, err := p.load()
		return d, nil, err
	}
	if f := p.flags; len(f.files)+len(f.targets)+len(f.resend) > 0 || f.prune || f.allowLockout {
		return nil, nil, usageError{errors.New("a saved plan holds its file and its flags: -f, --target, --prune, --resend-secret and --allow-lockout cannot be given with it")}
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("opening the saved plan: %w", err)}
	}
	defer f.Close() //nolint:errcheck // it was only read
	saved, err := bootstrap.ReadSaved(f)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("%s: %w", args[0], err)}
	}
	d, err := saved.Desired()
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("%s: %w", args[0], err)}
	}
	return d, saved, nil
}

// prepare makes the plan that is to be applied. A secret that has to be asked
// for at the terminal is asked for only if something is to be done with it,
// and the plan is made again with what it tells.
func (p *program) prepare(ctx context.Context, d *bootstrap.Desired, saved *bootstrap.Saved) (*bootstrap.Session, *bootstrap.Plan, error) {
	options, unread := p.options(), []string(nil)
	if saved != nil {
		options, unread = saved.Options, saved.Unread
	}
	s, err := p.session(ctx, d, options)
	if err != nil {
		return nil, nil, err
	}
	if saved != nil && saved.Server != p.server {
		return nil, nil, usageError{fmt.Errorf("the plan was made for %s, and this is %s", saved.Server, p.server)}
	}
	s.LoadQuietly(ctx, d, unread)
	plan, err := s.Plan(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	if saved != nil && plan.Digest() != saved.Digest {
		return nil, nil, bootstrap.ErrChanged
	}
	if s.LoadFor(ctx, plan) {
		if plan, err = s.Plan(ctx, d); err != nil {
			return nil, nil, err
		}
	}
	return s, plan, nil
}

// confirm asks whether the plan shall be applied. A saved plan was looked at
// when it was made.
func (p *program) confirm(ctx context.Context, plan *bootstrap.Plan, saved bool) error {
	if p.flags.autoApprove || saved {
		return nil
	}
	if p.flags.json || !p.terminal {
		return usageError{errors.New("there is nobody to ask whether this shall be done: give --auto-approve, or make a plan with plan --out and apply that")}
	}
	n := len(plan.Pending())
	question := fmt.Sprintf("\nApply these %d changes? (yes/no) ", n)
	if n == 1 {
		question = "\nApply this change? (yes/no) "
	}
	if _, err := io.WriteString(p.out, question); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	if err := p.out.Flush(); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(p.in).ReadString('\n') // nothing is no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		p.say().Line("")
		return ctx.Err()
	case line := <-answer:
		if line == "yes" || line == "y" {
			return nil
		}
		return errors.New("not applied: the answer was not yes; nothing was written")
	}
}

// applied prints apply's document.
func (p *program) applied(plan *bootstrap.Plan, r *bootstrap.Result) error {
	d := applyDocument{p.head(), r.View(plan), p.foot()}
	if r.Err != nil {
		d.Error = faultOf(r.Err)
		d.Error.Kind = "stopped"
	}
	return p.document(d)
}
