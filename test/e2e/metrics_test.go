package e2e

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// TestMetrics: what Prometheus gets from a real Vault is its own text format.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/dyn", s.dynamic("main", nil))
	s.write("roles/sta", s.static("main", nil))
	s.creds("dyn")
	for range 3 {
		s.creds("sta")
	}
	s.write("rotate-role/sta", nil)
	s.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: http.StatusForbidden, Method: http.MethodPost, Path: "/api_keys", Times: 1})
	s.refused(http.StatusBadRequest, http.MethodGet, "creds/dyn", nil, "rejected")

	var text string
	line := func(want string) bool {
		return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(want) + `$`).MatchString(text)
	}
	s.until("every role has been looked at", func() bool { text = s.metrics(); return line("ai_keys_schedule_complete 1") })
	for _, want := range []string{
		`# TYPE ai_keys_mints_total counter`,
		`ai_keys_reads_total{type="dynamic"} 1`,
		`ai_keys_reads_total{type="static"} 3`,
		`ai_keys_mints_total{account="main",provider="openai"} 3`,
		`ai_keys_rotations_total{account="main",kind="role",provider="openai"} 1`,
		`ai_keys_failures_total{account="main",class="rejected",provider="openai"} 1`,
		`ai_keys_roles{account="main",provider="openai",type="static"} 1`,
		`ai_keys_overdue_roles{account="main",provider="openai"} 0`,
		`ai_keys_provider_call_duration_seconds_count{operation="mint",provider="openai"} 4`,
	} {
		if !line(want) {
			t.Errorf("no line %s", want)
		}
	}
	if !strings.Contains(text, `ai_keys_build_info{go_version="go`) {
		t.Error("no build_info")
	}
	for _, bad := range append(marks(), `"sta"`, `"dyn"`, "vault-sta") {
		if strings.Contains(text, bad) {
			t.Errorf("the metrics hold %q", bad)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// metrics scrapes the mount, as Prometheus does.
func (s *story) metrics() string {
	s.Helper()
	resp, err := s.client.Logical().ReadRawWithContext(s.Context(), s.engine.Path+"/metrics")
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		s.Fatalf("status %d, Content-Type %q", resp.StatusCode, ct)
	}
	return string(body)
}

// TestLeakSwitchWhileProviderIsHeldBack: an account whose provider went silent is
// left alone, other accounts and the leak switch are not held up.
func TestLeakSwitchWhileProviderIsHeldBack(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/dyn", s.dynamic("main", nil))
	k := s.creds("dyn")
	s.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: http.StatusBadGateway})
	s.until("calls are held back", func() bool {
		a := s.try(http.MethodGet, "creds/dyn", nil)
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.text, "held back, since the provider did not answer")
	})
	start := time.Now()
	if held := s.read("status")["held_back"].(map[string]any); held["main"] == nil {
		t.Errorf("status: held_back = %v", held)
	}
	s.cloud.ClearFaults()
	s.write("revoke/dyn", nil)
	s.dies(k, "a leaked key")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("that took %s", took)
	}
	s.works(s.creds("dyn"), "a key of a provider that answers again")
}
