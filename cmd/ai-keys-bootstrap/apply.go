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

// attempts is how many plans an apply makes when others change the server
// meanwhile: another apply, most likely, that it has waited for.
const attempts = 3

// apply makes the server as the file says.
func (p *program) apply(ctx context.Context, args []string) error {
	d, saved, err := p.wanted(args)
	if err != nil {
		return err
	}
	options, unread := p.options(), []string(nil)
	if saved != nil {
		options, unread = saved.Options, saved.Unread
	}
	s, err := p.session(ctx, d, options)
	if err != nil {
		return err
	}
	if saved != nil && saved.Server != p.server {
		return usageError{fmt.Errorf("the plan was made for %s, and this is %s", saved.Server, p.server)}
	}
	s.LoadQuietly(ctx, d, unread)
	for attempt := 1; ; attempt++ {
		err := p.attempt(ctx, s, d, saved)
		if !errors.Is(err, bootstrap.ErrChanged) || saved != nil || attempt == attempts {
			return err
		}
		p.tell().Line("the server has changed meanwhile: this is a new plan")
	}
}

// attempt makes a plan and applies it.
func (p *program) attempt(ctx context.Context, s *bootstrap.Session, d *bootstrap.Desired, saved *bootstrap.Saved) error {
	plan, err := prepare(ctx, s, d, saved)
	if err != nil {
		return s.NameAll(ctx, d, err)
	}
	p.say().Changes(plan)
	if plan.Empty() {
		return p.applied(plan, &bootstrap.Result{}, nil)
	}
	if err := s.Preflight(ctx, plan); err != nil {
		return err
	}
	if err := p.confirm(ctx, plan, saved != nil); err != nil {
		return err
	}
	return p.perform(ctx, s, d, plan)
}

// perform makes the changes, and proves by use that they work.
func (p *program) perform(ctx context.Context, s *bootstrap.Session, d *bootstrap.Desired, plan *bootstrap.Plan) error {
	p.say().Line("")
	started, watcher := time.Now(), p.watcher()
	result, err := s.Apply(ctx, p.signals.stop, d, plan, process(), watcher)
	if err != nil {
		return err
	}
	p.say().Result(result, time.Since(started))
	if result.Err != nil {
		if err := p.applied(plan, result, nil); err != nil {
			return err
		}
		return outcome(exitStopped)
	}
	var proofs []bootstrap.Proof
	if !p.flags.noChecks {
		if proofs, err = s.Prove(ctx, p.signals.stop, d, nil, watcher); err != nil {
			return err
		}
	}
	p.say().Proofs(proofs)
	if err := p.applied(plan, result, proofs); err != nil {
		return err
	}
	switch {
	case bootstrap.CountProofs(proofs, bootstrap.Failed) > 0:
		return outcome(exitChecks)
	case p.signals.stop.Err() != nil && bootstrap.CountProofs(proofs, bootstrap.Skipped) > 0:
		p.tell().Line("interrupted: everything was applied, and not everything proved; %s verify does that", p.name)
		return outcome(exitStopped)
	}
	return nil
}

// watcher shows how an apply goes on.
func (p *program) watcher() bootstrap.Watcher {
	progress := p.say()
	if p.flags.json {
		progress = p.tell()
	}
	return bootstrap.Watcher{
		Step: func(st bootstrap.Step) {
			p.signals.began()
			progress.Step(st)
		},
		Tell:  func(text string) { p.tell().Line("%s", text) },
		Proof: progress.Proof,
	}
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
func prepare(ctx context.Context, s *bootstrap.Session, d *bootstrap.Desired, saved *bootstrap.Saved) (*bootstrap.Plan, error) {
	plan, err := s.Plan(ctx, d)
	if err != nil {
		return nil, err
	}
	if saved != nil && plan.Digest() != saved.Digest {
		return nil, bootstrap.ErrChanged
	}
	if !s.LoadFor(ctx, plan) {
		return plan, nil
	}
	full, err := s.Plan(ctx, d)
	if err == nil && saved != nil && !full.SameObjects(plan) {
		return nil, bootstrap.ErrChanged // what was not read at the time has changed since
	}
	return full, err
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
	line, err := p.ask(ctx, question)
	if err != nil {
		return err
	}
	if line = strings.ToLower(line); line == "yes" || line == "y" {
		return nil
	}
	return errors.New("not applied: the answer was not yes; nothing was written")
}

// ask asks at the terminal. No answer is "".
func (p *program) ask(ctx context.Context, question string) (string, error) {
	if _, err := io.WriteString(p.out, question); err != nil {
		return "", fmt.Errorf("asking: %w", err)
	}
	if err := p.out.Flush(); err != nil {
		return "", fmt.Errorf("asking: %w", err)
	}
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(p.in).ReadString('\n') // nothing is no
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		p.say().Line("")
		return "", ctx.Err()
	case line := <-answer:
		return line, nil
	}
}

// applied prints apply's document, if that is wanted.
func (p *program) applied(plan *bootstrap.Plan, r *bootstrap.Result, proofs []bootstrap.Proof) error {
	if !p.flags.json {
		return nil
	}
	d := applyDocument{p.head(), r.View(plan), bootstrap.ProofViews(proofs), p.foot()}
	if r.Err != nil {
		d.Error = faultOf(r.Err)
		d.Error.Kind = "stopped"
	}
	return p.document(d)
}
