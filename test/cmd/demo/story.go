package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// grace is long enough to see two keys work, and short enough to wait for.
const grace = 3 * time.Second

// A claimError is a step that did not do what it says.
type claimError struct{ claim, want, got string }

func (f *claimError) Error() string {
	return fmt.Sprintf("this did not hold: %s\n  expected: %s\n  came:     %s", f.claim, f.want, f.got)
}

// A teller tells the story; the first failure ends it.
type teller struct {
	*page
	*stage

	secrets []string // shown by their beginnings only
	err     error
}

// tell is the story. Each of its steps proves what it says.
func tell(ctx context.Context, p *page, s *stage) error {
	t := &teller{page: p, stage: s}
	t.say("\nSecrets are shown by their first characters only.")
	for _, part := range []func(context.Context){t.setup, t.static, t.rotation, t.lease, t.leak, t.drift, t.storage, t.status} {
		if part(ctx); t.err != nil {
			return t.err
		}
	}
	t.say("\nEvery step did what it says.")
	return nil
}

func (t *teller) static(ctx context.Context) {
	t.section("2. A key that many share")
	key := t.read(ctx, "ai-keys/creds/app")
	t.expect(ctx, "the provider accepts the key", key, http.StatusOK)
}

func (t *teller) rotation(ctx context.Context) {
	t.section("3. It is rotated, and nobody notices")
	old := t.quietly(ctx, "read", "-field=api_key", "ai-keys/creds/app")
	t.run(ctx, "write", "-f", "ai-keys/rotate-role/app")
	fresh := t.read(ctx, "ai-keys/creds/app", "api_key", "version", "ttl")
	t.claim("it is another key", "two keys", "one", fresh["api_key"] != old["api_key"])
	t.expect(ctx, "the new key works", fresh, http.StatusOK)
	t.expect(ctx, "the old key works too, for "+grace.String(), old, http.StatusOK)
	t.expect(ctx, "then it is dead", old, http.StatusUnauthorized)
	t.expect(ctx, "the new key still works", fresh, http.StatusOK)
}

func (t *teller) lease(ctx context.Context) {
	t.section("4. A key of your own, on a lease")
	key := t.read(ctx, "ai-keys/creds/ci", "lease_id", "lease_duration", "api_key", "key_id", "expires_at")
	t.expect(ctx, "the provider accepts the key", key, http.StatusOK)
	t.run(ctx, "lease", "revoke", "-sync", key["lease_id"])
	t.expect(ctx, "with its lease the key is gone", key, http.StatusUnauthorized)
}

func (t *teller) leak(ctx context.Context) {
	t.section("5. A key has leaked")
	leaked := t.quietly(ctx, "read", "-field=api_key", "ai-keys/creds/app")
	t.expect(ctx, "whoever found the key of app can use it", leaked, http.StatusOK)
	t.run(ctx, "write", "-f", "ai-keys/revoke/app")
	t.expect(ctx, "it is dead", leaked, http.StatusUnauthorized)
	t.refused(ctx, "readers are told", "was withdrawn", "read", "ai-keys/creds/app")
	t.run(ctx, "write", "-f", "ai-keys/rotate-role/app")
	t.expect(ctx, "there is a new key, and it works", t.quietly(ctx, "read", "-field=api_key", "ai-keys/creds/app"), http.StatusOK)
}

func (t *teller) storage(ctx context.Context) {
	t.section("7. What storage holds")
	t.say("  Behind Vault's own encryption there is a second one, by transit:")
	uuid := t.quietly(ctx, "read", "-field=uuid", "sys/mounts/ai-keys")["api_key"]
	if t.err != nil {
		return
	}
	t.run(ctx, "read", "-field=value", "sys/raw/logical/"+uuid+"/key/app")
	raw, err := t.vault.RawStorage(ctx, "logical/"+uuid+"/")
	if err != nil {
		t.err = err
		return
	}
	found := ""
	for path, value := range raw {
		if slices.ContainsFunc(t.secrets, func(s string) bool { return bytes.Contains(value, []byte(s)) }) {
			found = path
		}
	}
	what := fmt.Sprintf("none of the %d entries of the engine holds a key or the admin key", len(raw))
	t.claim(what, "no secret, in more than five entries", fmt.Sprintf("%d entries, a secret at %q", len(raw), found), found == "" && len(raw) > 5)
}

func (t *teller) status(ctx context.Context) {
	t.section("8. How it stands")
	got := t.read(ctx, "ai-keys/status")
	t.claim("nothing to do", "healthy true", "healthy "+got["healthy"], got["healthy"] == "true")
}

// run shows a command, runs it, and shows what it answered.
func (t *teller) run(ctx context.Context, args ...string) {
	if t.err != nil {
		return
	}
	line := "vault " + strings.Join(args, " ")
	t.command(line)
	out, err := t.vaultCLI(ctx, args...)
	t.answer(t.masked(out))
	if err != nil {
		t.err = &claimError{line, "success", t.masked(out)}
	}
}

// refused runs a command that must fail with a reason.
func (t *teller) refused(ctx context.Context, claim, reason string, args ...string) {
	if t.err != nil {
		return
	}
	t.command("vault " + strings.Join(args, " "))
	out, err := t.vaultCLI(ctx, args...)
	_, text, _ := strings.Cut(t.masked(out), "occurred:")
	t.answer(text)
	t.claim(claim, "a refusal that says "+reason, t.masked(out), err != nil && strings.Contains(out, reason))
}

// read shows a read and its answer: all of it, or some fields.
func (t *teller) read(ctx context.Context, path string, only ...string) map[string]string {
	if t.err != nil {
		return nil
	}
	t.command("vault read " + path)
	out, err := t.vaultCLI(ctx, "read", path)
	if err != nil {
		t.err = &claimError{"vault read " + path, "success", t.masked(out)}
		return nil
	}
	fields := map[string]string{}
	var shown strings.Builder
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		fields[name] = strings.TrimSpace(value)
		if len(only) == 0 || slices.Contains(only, name) {
			shown.WriteString(line)
		}
	}
	if key := fields["api_key"]; key != "" {
		t.secrets = append(t.secrets, key)
	}
	t.answer(t.masked(shown.String()))
	if len(only) > 0 {
		t.answer("…")
	}
	return fields
}

// quietly reads one value, as api_key, without showing it.
func (t *teller) quietly(ctx context.Context, args ...string) map[string]string {
	if t.err != nil {
		return nil
	}
	out, err := t.vaultCLI(ctx, args...)
	if err != nil {
		t.err = &claimError{"vault " + strings.Join(args, " "), "success", t.masked(out)}
	} else if strings.HasPrefix(out, "sk-") {
		t.secrets = append(t.secrets, out)
	}
	return map[string]string{"api_key": out}
}

func (t *teller) vaultCLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, t.vault.Vault, args...) //nolint:gosec // the commands of this file
	cmd.Env = append(t.vault.Environment(t.vault.RootToken), "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// masked shows secrets by their beginnings.
func (t *teller) masked(text string) string {
	for _, s := range t.secrets {
		text = strings.ReplaceAll(text, s, s[:min(14, len(s)/3)]+"…")
	}
	return text
}

func (t *teller) claim(claim, want, got string, holds bool) {
	switch {
	case t.err != nil:
	case holds:
		t.done(claim)
	default:
		t.failed(claim)
		t.err = &claimError{claim, want, got}
	}
}

// expect asks the provider something with a key until it answers as it should;
// a key that is to die may take its grace and a little more.
func (t *teller) expect(ctx context.Context, claim string, key map[string]string, want int) {
	if t.err != nil {
		return
	}
	const address = "/chat/completions"
	patience := time.Now().Add(grace + 10*time.Second)
	for {
		got, err := t.use(ctx, t.fakes.OpenAI.BaseURL+address, key["api_key"])
		if err != nil {
			t.err = err
			return
		}
		if got == want || want == http.StatusOK || time.Now().After(patience) {
			what := fmt.Sprintf("%s (POST %s with it: %d)", claim, address, got)
			t.claim(what, strconv.Itoa(want), strconv.Itoa(got), got == want)
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.err = errors.New("interrupted")
			return
		}
	}
}

func (t *teller) use(ctx context.Context, address, key string) (int, error) {
	body := strings.NewReader(`{"model":"gpt-fake","messages":[{"role":"user","content":"hello"}]}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return 0, fmt.Errorf("asking the provider: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking the provider: %w", err)
	}
	return resp.StatusCode, resp.Body.Close()
}
