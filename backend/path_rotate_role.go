package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func pathsRotateRole(b *Backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "rotate-role/" + namePattern("role"),
		Fields: map[string]*framework.FieldSchema{
			"role":         text("Name of a static role."),
			"grace_period": seconds("How long the previous key goes on working, this time only; 0 kills it as soon as the new one is stored. Default: the role's."),
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: forwarded(b.rotateRole, "Rotate a static role now.", responds("The new key's number.", map[string]*framework.FieldSchema{
				"version":          number("Number of the new key."),
				"key_id":           text("The provider's name for the new key."),
				"previous_key_id":  text("The key it replaces, while that still works."),
				"previous_expires": moment("When that one is withdrawn."),
			})),
		},
		HelpSynopsis: "Give a static role a new key now.",
		HelpDescription: `
The new key is minted, verified at the provider and stored; only then does the
grace of the previous one begin. If a rotation is in its grace already, the elder
of its two keys is given up to be withdrawn at once.

503: the provider could not be reached, throttles, or did not say what it did.
Nothing is lost. In the last case the engine looks for what may have been made,
withdraws it, and rotates then; status/<role> shows it. Where keys are two fixed
slots, that waits until the call can no longer take effect: provider_timeout and
settle_after of config.
`,
	}}
}

func (b *Backend) rotateRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("role"))
	return b.onKey(ctx, req.Storage, name, "rotate-role", func(ctx context.Context, h *holder, e *keyEntry) (*logical.Response, error) {
		if h.def.Life() == provider.LifeImport {
			return nil, errBrought
		}
		if e.Request == req.ID && req.ID != "" && (e.Phase == phaseStable || e.Phase == phaseOverlap) {
			return rotated(e), nil // this very request, sent again: its rotation is done
		}
		grace, err := takeGrace(data, h.role)
		if err != nil {
			return nil, err
		}
		elder := e.Previous
		if err := h.renew(ctx, h.rotation(), e, req.ID, grace); err != nil {
			if errors.Is(err, provider.ErrUnknown) {
				err = fmt.Errorf("%w; the engine looks for the key that may have been made, withdraws it, and rotates then: see status/%s", err, name)
			}
			return nil, fmt.Errorf("rotating role %q: %w", name, err)
		}
		resp := rotated(e)
		if elder != nil {
			resp.AddWarning("the key before last (" + elder.describe() + ") was still in its grace, which ended now")
		}
		return resp, nil
	})
}

// takeGrace is the grace period of this rotation only; nil: the role's.
func takeGrace(data *framework.FieldData, role *roleEntry) (*time.Duration, error) {
	if _, given := data.GetOk("grace_period"); !given {
		return nil, nil //nolint:nilnil // not given is an answer
	}
	grace := new(time.Duration)
	takeDuration(data, "grace_period", grace)
	if role.RotationPeriod > 0 && *grace >= role.RotationPeriod {
		return nil, invalidf("grace_period: %s must be shorter than the role's rotation_period, %s", *grace, role.RotationPeriod)
	}
	return grace, nil
}

// rotated is the answer to rotate-role and import.
func rotated(e *keyEntry) *logical.Response {
	answer := map[string]any{"version": e.Version, "key_id": ""}
	if e.Current != nil {
		answer["key_id"] = string(e.Current.ID)
	}
	describePrevious(answer, e)
	resp := &logical.Response{Data: answer}
	if e.LastError != "" {
		resp.AddWarning("the new key is in service. About the previous one: " + e.LastError)
	}
	return resp
}

func describePrevious(answer map[string]any, e *keyEntry) {
	if e.Previous != nil {
		answer["previous_key_id"] = string(e.Previous.ID)
		answer["previous_expires"] = e.Until.Format(time.RFC3339)
	}
}
