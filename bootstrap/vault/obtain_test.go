package vault

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestObtain(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/db/creds/app":
			if r.Method != http.MethodGet || r.URL.Query().Get("ttl") != "60" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			answer(w, 200, `{"request_id":"x","lease_id":"db/creds/app/1","lease_duration":60,"data":{"username":"u"}}`)
		case "/v1/ai-keys/creds/app":
			answer(w, 200, `{"request_id":"x","wrap_info":{"token":"hvs.wrapping","ttl":60}}`)
		case "/v1/sys/wrapping/unwrap":
			if got := r.Header.Get("X-Vault-Token"); got != "hvs.wrapping" {
				t.Errorf("unwrapped with %q", got)
			}
			answer(w, 200, `{"request_id":"x","lease_id":"ai-keys/creds/app/1","lease_duration":60,"data":{"api_key":"k"}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	for path, want := range map[string]*Answer{
		"db/creds/app":      {Data: map[string]any{"username": "u"}, Lease: "db/creds/app/1", LeaseDuration: time.Minute},
		"ai-keys/creds/app": {Data: map[string]any{"api_key": "k"}, Lease: "ai-keys/creds/app/1", LeaseDuration: time.Minute},
	} {
		got, err := c.Obtain(t.Context(), path, map[string][]string{"ttl": {"60"}})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", path, err, diff)
		}
	}
	if _, err := c.Obtain(t.Context(), "nothing", nil); StatusOf(err) != http.StatusNotFound {
		t.Errorf("of nothing: %v", err)
	}
}

// Each request would make another credential.
func TestObtainIsNotTriedAgain(t *testing.T) {
	requests := 0
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		refuse(w, 500, "the database is gone")
	})
	if _, err := c.Obtain(t.Context(), "db/creds/app", nil); !errors.Is(err, ErrUnknownOutcome) || requests != 1 {
		t.Errorf("%d requests: %v", requests, err)
	}
}

func TestALoginThatWantsMore(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"request_id":"x","auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"r","mfa_constraints":{
			"people":{"any":[{"type":"totp","id":"1","uses_passcode":true,"name":"phone"},{"type":"okta","id":"2","uses_passcode":false,"name":"push"}]}}}}}`)
	})
	got, err := c.WithoutToken().Write(t.Context(), "auth/okta/login/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Auth{MFARequest: "r", MFA: map[string][]MFAMethod{"people": {
		{ID: "1", Type: "totp", Name: "phone", Passcode: true}, {ID: "2", Type: "okta", Name: "push"},
	}}}
	if diff := cmp.Diff(want, got.Auth); diff != "" {
		t.Error(diff)
	}
}
