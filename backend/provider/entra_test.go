package provider_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func lookup(t *testing.T, name string) provider.Definition {
	t.Helper()
	def, ok := provider.Lookup(name)
	if !ok {
		t.Fatalf("there is no provider %q", name)
	}
	return def
}

// TestSignInFailures: while signing in, nothing at the provider has changed, so
// no failure there may be of unknown outcome, which would stop a rotation.
func TestSignInFailures(t *testing.T) {
	t.Parallel()
	def := lookup(t, "azure-openai")
	for _, fault := range faults {
		want := fault.want
		switch fault.name {
		case "denied", "not signed in", "nothing there", "nothing there, in plain words":
			want = provider.ErrRejected
		case "throttled":
			want = provider.ErrThrottled
		default:
			want = provider.ErrUnreachable
		}
		if fault.name == "never answers" {
			continue // needs a cancelled context: see TestSignInCancelled
		}
		for i := range 2 { // the tenant's configuration, the token
			t.Run(fmt.Sprintf("step %d %s", i+1, fault.name), func(t *testing.T) {
				t.Parallel()
				f := load(t, def.Name)
				steps := slices.Clone(f.sign)
				f.sign = f.sign[:i]
				r := &replayer{t: t, f: f, steps: steps[i:], fault: fault.handler(t, func() {})}
				e := env{def: def, f: f}
				e.server, e.client = serve(t, def, r)
				for op, call := range operations(def) {
					if op == "regenerate" || op == "check" {
						r.next = 0
						judge(t, call(t, t.Context(), e), want)
					}
				}
			})
		}
	}
}

func TestSignInCancelled(t *testing.T) {
	t.Parallel()
	def := lookup(t, "azure-openai")
	f := load(t, def.Name)
	e := env{def: def, f: f}
	e.server, e.client = serve(t, def, http.NotFoundHandler())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	judge(t, regenerate(t, ctx, e), provider.ErrUnreachable)
}

func TestSignInSettings(t *testing.T) {
	t.Parallel()
	def := lookup(t, "azure-openai")
	for field, values := range map[string][]string{
		"authority_host": {"http://127.0.0.1", "https://user:CANARY@login.example.com", "login.example.com"},
		"tenant_id":      {"", "a/../b"},
		"resource_group": {"", "..", "a/b"},
	} {
		for _, v := range values {
			f := load(t, def.Name)
			r := &replayer{t: t, f: f}
			e := env{def: def, f: f}
			e.server, e.client = serve(t, def, r)
			account, scope := e.account(), e.scope()
			if _, ok := scope[field]; ok {
				scope[field] = v
			} else {
				account.Fields[field] = v
			}
			_, err := def.TwoSlot(e.client, account).Regenerate(t.Context(), scope, e.id())
			judge(t, err, provider.ErrRejected)
		}
	}
}

func TestUnknownSlot(t *testing.T) {
	t.Parallel()
	def := lookup(t, "azure-openai")
	f := load(t, def.Name)
	e := env{def: def, f: f}
	e.server, e.client = serve(t, def, &replayer{t: t, f: f})
	slots := def.TwoSlot(e.client, e.account())
	_, err := slots.Regenerate(t.Context(), e.scope(), "Key3")
	judge(t, err, provider.ErrRejected)
	_, err = slots.Read(t.Context(), e.scope(), "")
	judge(t, err, provider.ErrRejected)
	judge(t, slots.Revoke(t.Context(), e.scope(), "Key3"), provider.ErrRejected)
}

// TestTokenOverPlainHTTP: where tokens are had is the authority's word, but the
// client secret goes nowhere without TLS.
func TestTokenOverPlainHTTP(t *testing.T) {
	t.Parallel()
	def := lookup(t, "azure-openai")
	f := load(t, def.Name)
	f.sign[0].answer = strings.Replace(f.sign[0].answer, `"token_endpoint":"{server}`, `"token_endpoint":"http://127.0.0.1:1`, 1)
	e := env{def: def, f: f}
	e.server, e.client = serve(t, def, &replayer{t: t, f: f})
	judge(t, regenerate(t, t.Context(), e), provider.ErrUnreachable)
}
