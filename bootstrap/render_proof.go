package bootstrap

import (
	"fmt"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
)

// A ProofView is a [Proof] as --json shows it.
type ProofView struct {
	Proof   string         `json:"proof"`
	At      *file.Position `json:"at,omitempty"`
	Outcome Outcome        `json:"outcome"`
	Did     string         `json:"did,omitempty"`
	Why     string         `json:"why,omitempty"`
	Seconds float64        `json:"seconds"`
}

// ProofViews are proofs for --json.
func ProofViews(proofs []Proof) []ProofView {
	out := make([]ProofView, 0, len(proofs))
	for _, proof := range proofs {
		v := ProofView{Proof: proof.Name, Outcome: proof.Outcome, Did: proof.Did, Why: proof.Why, Seconds: proof.Took.Seconds()}
		if at := proof.At; at.File != "" {
			v.At = &at
		}
		out = append(out, v)
	}
	return out
}

// proofIndent is where the text about a proof begins, if it takes a line of its own.
const proofIndent = 10

// Proof shows how a proof ended.
func (p *Printer) Proof(proof Proof) {
	word, color, text := "ok", green, proof.Did
	switch proof.Outcome {
	case Proved:
	case Failed:
		word, color, text = "FAILED", red, proof.Why
	case Skipped:
		word, color, text = "skipped", dim, proof.Why
	}
	line := "  " + p.paint(color, padded(word, proofIndent-2)) + visible(proof.Name)
	used := proofIndent + columns(visible(proof.Name)) + 2
	if at := place(proof.At); at != "" && proof.Outcome == Failed {
		line += "  " + p.paint(dim, at)
		used += columns(at) + 2
	}
	if text = strings.TrimPrefix(text, proof.Name+": "); text == "" {
		p.write(line + "\n")
		return
	}
	if !strings.Contains(text, "\n") && used+columns(text) <= p.style.Width {
		p.write(line + "  " + visible(text) + "\n")
		return
	}
	p.write(line + "\n" + strings.Join(p.wrapped(text, proofIndent), "\n") + "\n")
}

// Proofs shows how many proofs ended how.
func (p *Printer) Proofs(proofs []Proof) {
	if len(proofs) == 0 {
		return
	}
	failed, skipped := CountProofs(proofs, Failed), CountProofs(proofs, Skipped)
	text := counted(CountProofs(proofs, Proved), "proof") + " by use"
	if failed > 0 {
		text += p.paint(red, fmt.Sprintf(", %d failed", failed))
	}
	p.write(text + ifAny(skipped, ", %d skipped") + ".\n")
}
