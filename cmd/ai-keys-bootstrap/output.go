package main

import (
	"encoding/json"
	"fmt"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
)

// The documents of --json, one for each command. Their names are an interface:
// they may be added to, and not changed.
type (
	head struct {
		Command string `json:"command,omitempty"`
		Server  string `json:"server,omitempty"`
	}
	foot struct {
		Diagnostics file.Diagnostics `json:"diagnostics,omitempty"`
		Error       *fault           `json:"error,omitempty"`
	}
	validateDocument struct {
		head
		Valid   bool `json:"valid"`
		Objects int  `json:"objects"`
		foot
	}
	planDocument struct {
		head
		bootstrap.PlanView
		foot
	}
	verifyDocument struct {
		head
		bootstrap.PlanView
		Proofs []bootstrap.ProofView `json:"proofs"`
		foot
	}
	applyDocument struct {
		head
		bootstrap.ResultView
		Proofs []bootstrap.ProofView `json:"proofs"`
		foot
	}
	destroyDocument struct {
		head
		bootstrap.ResultView
		foot
	}
	policyDocument struct {
		head
		Policy string           `json:"policy"`
		Paths  bootstrap.Rights `json:"paths"`
		foot
	}
	// An errorDocument takes the place of another.
	errorDocument struct {
		head
		foot
	}
)

func (p *program) head() head { return head{Command: p.task, Server: p.server} }
func (p *program) foot() foot { return foot{Diagnostics: p.diags} }

// document prints a document.
func (p *program) document(d any) error {
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}
