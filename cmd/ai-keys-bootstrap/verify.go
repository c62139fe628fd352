package main

import (
	"context"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

// verify looks for drift, and proves by use what can be proved.
func (p *program) verify(ctx context.Context, _ []string) error {
	d, err := p.load()
	if err != nil {
		return err
	}
	s, err := p.session(ctx, d, p.options())
	if err != nil {
		return err
	}
	s.LoadQuietly(ctx, d, nil)
	unread, say := s.Unread(d), p.say()
	found, err := s.Verify(ctx, d, bootstrap.Watcher{
		Plan: func(plan *bootstrap.Plan) {
			say.Drift(plan)
			say.Unread(unread)
		},
		Proof: say.Proof,
	})
	if err != nil {
		return err
	}
	if p.flags.json {
		err := p.document(verifyDocument{p.head(), found.Plan.View(unread), bootstrap.ProofViews(found.Proofs), p.foot()})
		if err != nil {
			return err
		}
	}
	say.Proofs(found.Proofs)
	switch {
	case bootstrap.CountProofs(found.Proofs, bootstrap.Failed) > 0:
		return outcome(exitChecks)
	case !found.Plan.Empty():
		return outcome(exitDifferences)
	}
	return nil
}
