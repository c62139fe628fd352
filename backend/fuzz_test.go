package backend

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// FuzzRequests sends any request to any path: never a panic, never a stored
// secret in an answer or in the log, and always a status that says whose
// mistake it was.
func FuzzRequests(f *testing.F) {
	for _, seed := range []struct{ op, path, body string }{
		{"update", "accounts/x", `{"provider":"openai","admin_key":"k","base_url":"http://127.0.0.1"}`},
		{"update", "roles/app", `{"account":"oa","type":"static","rotation_schedule":"0 0 * * *","grace_period":"1h"}`},
		{"update", "roles/x", `{"account":"oa","project_id":"proj_main","metadata":{"a":[1]},"key_name_template":"{{.RoleName | truncate 3}}"}`},
		{"read", "creds/app", `{"ttl":"-1"}`},
		{"list", "keys/oa/", `{"after":"x","limit":"9"}`},
		{"update", "rotate-role/app", `{"grace_period":99999999999999999999}`},
		{"update", "import/app", `{"api_key":{"a":"b"},"cas":1.5}`},
		{"update", "config", `{"workers":"many","encryption":null}`},
		{"update", "config/transit", `{"address":"https://[::1","token":["x"]}`},
		{"delete", "accounts/oa", `{"force":true}`},
		{"help", "creds/..", `{}`},
	} {
		f.Add(seed.op, seed.path, seed.body)
	}
	w := newWorld(f)
	w.openai()
	w.write("roles/app", staticFields)
	f.Cleanup(func() { w.t = f }) // for the world's own end, which comes after this
	f.Fuzz(func(t *testing.T, op, path, body string) {
		var data map[string]any
		if json.Unmarshal([]byte(body), &data) != nil {
			return
		}
		w.t = t
		_, err := w.send(&logical.Request{ID: "fuzz", Operation: logical.Operation(op), Path: path, Data: data})
		if err != nil && strings.Contains(err.Error(), providertest.DefaultMarker) {
			t.Errorf("the answer quotes a secret: %v", err)
		}
		if statusOf(err) == 500 {
			t.Errorf("internal error: %v\n%s", err, w.log.String())
		}
		if strings.Contains(w.log.String(), "panic") {
			t.Error(w.log.String())
		}
	})
}
