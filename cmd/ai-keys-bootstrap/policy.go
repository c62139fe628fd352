package main

import (
	"context"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

// policy prints what a token must be allowed for this file. No server is asked.
func (p *program) policy(context.Context, []string) error {
	d, err := p.load()
	if err != nil {
		return err
	}
	needs := bootstrap.Needs(d)
	if p.flags.json {
		return p.document(policyDocument{p.head(), needs.Policy(), needs, p.foot()})
	}
	p.say().Text(needs.Policy())
	return nil
}
