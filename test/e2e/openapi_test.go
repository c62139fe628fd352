package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestOpenAPI: Vault's own description of the engine hides what is secret, and
// every path has help.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := begin(t)
	req := s.client.NewRequest(http.MethodGet, "/v1/sys/internal/specs/openapi")
	resp, err := s.client.RawRequestWithContext(t.Context(), req) //nolint:staticcheck // the answer is no secret of Vault's shape
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var spec struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Display struct {
						Sensitive bool `json:"sensitive"`
					} `json:"x-vault-displayAttrs"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	raw := json.RawMessage{}
	if err := json.NewDecoder(resp.Body).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	for _, into := range []any{&spec, &doc} {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	secret := map[string]bool{"api_key": false, "admin_key": false, "client_secret": false, "secret_id": false, "token": false}
	for name, schema := range doc.Components.Schemas {
		if !strings.HasPrefix(name, "Ai") && !strings.Contains(strings.ToLower(name), "keys") {
			continue // another engine's
		}
		for field, p := range schema.Properties {
			if _, ok := secret[field]; !ok {
				continue
			}
			secret[field] = true
			if !p.Display.Sensitive {
				t.Errorf("%s of %s is not marked as sensitive", field, name)
			}
		}
	}
	for field, seen := range secret {
		if !seen {
			t.Errorf("%s is in none of the schemas", field)
		}
	}

	paths := 0
	for path := range spec.Paths {
		rest, ok := strings.CutPrefix(path, "/"+s.engine.Path+"/")
		if !ok {
			continue
		}
		paths++
		rest = strings.NewReplacer("{", "", "}", "").Replace(rest)
		help := s.do(http.MethodGet, rest+"?help=1", nil)
		if text, _ := help.Data["help"].(string); len(text) < 80 {
			t.Errorf("the help of %s is %q", rest, text)
		}
	}
	if paths < 15 {
		t.Errorf("there are %d paths", paths)
	}
}
