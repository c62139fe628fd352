package vault

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPathsArriveAsTheyAre(t *testing.T) {
	var got string
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Path
		if r.URL.RawQuery != "" {
			t.Errorf("the path %q became a query %q", r.URL.Path, r.URL.RawQuery)
		}
		answer(w, 200, `{"data":{}}`)
	})
	for sent, want := range map[string]string{
		"auth/okta/config":      "/v1/auth/okta/config",
		"/sys/mounts/":          "/v1/sys/mounts",
		"kv/data/a?list=true":   "/v1/kv/data/a?list=true",
		"kv/data/a#b":           "/v1/kv/data/a#b",
		"kv/data/%2e%2e/x":      "/v1/kv/data/%2e%2e/x",
		"kv/data/a b+c;d&é…":    "/v1/kv/data/a b+c;d&é…",
		"kv/data/...":           "/v1/kv/data/...",
		"auth/okta/groups/a\\b": "/v1/auth/okta/groups/a\\b",
	} {
		if _, err := c.Read(t.Context(), sent); err != nil {
			t.Errorf("%q: %v", sent, err)
		}
		if got != want {
			t.Errorf("%q arrived as %q, want %q", sent, got, want)
		}
	}
}

func TestPathsThatReachElsewhereAreRefused(t *testing.T) {
	c := serve(t, Options{}, func(http.ResponseWriter, *http.Request) { t.Error("a request was made") })
	for _, path := range []string{
		"", "/", "..", "kv/../sys/mounts", "kv/./x", "kv//x", "//x", "kv/x/..", "kv/a\nb", "kv/\x00", "kv/\xff", "kv/\uE000secret:a\uE001",
	} {
		if _, err := c.Write(t.Context(), path, nil); err == nil {
			t.Errorf("%q: no error", path)
		}
	}
}

func TestRead(t *testing.T) {
	replies := map[string]func(http.ResponseWriter){
		"there":      func(w http.ResponseWriter) { answer(w, 200, `{"request_id":"x","data":{"n":12345678901234567890}}`) },
		"bare":       func(w http.ResponseWriter) { answer(w, 200, `{"sealed":false}`) },
		"empty":      func(w http.ResponseWriter) { answer(w, 200, `{"request_id":"x","data":null}`) },
		"absent":     func(w http.ResponseWriter) { refuse(w, 404) },
		"deleted":    func(w http.ResponseWriter) { answer(w, 404, `{"request_id":"x","data":{"data":null}}`) },
		"said":       func(w http.ResponseWriter) { refuse(w, 404, "no such thing") },
		"unmounted":  func(w http.ResponseWriter) { refuse(w, 404, `no handler for route "x". route entry not found.`) },
		"unmounted2": func(w http.ResponseWriter) { refuse(w, 400, "No secret engine mount at x/") },
		"unknown":    func(w http.ResponseWriter) { refuse(w, 404, "1 error occurred:\n\t* unsupported path\n\n") },
		"nothing":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
	}
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		replies[strings.TrimPrefix(r.URL.Path, "/v1/")](w)
	})
	for path, want := range map[string]map[string]any{
		"there":  {"n": json.Number("12345678901234567890")},
		"bare":   {"sealed": false},
		"empty":  {},
		"absent": nil, "deleted": nil, "said": nil, "nothing": nil,
	} {
		got, err := c.Read(t.Context(), path)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", path, err, diff)
		}
	}
	for path, want := range map[string]bool{"unmounted": true, "unmounted2": true, "unknown": false} {
		_, err := c.Read(t.Context(), path)
		if err == nil || IsAbsentMount(err) != want {
			t.Errorf("%s: IsAbsentMount(%v) is not %v", path, err, want)
		}
	}
	if got := StatusOf(fmt.Errorf("wrapped: %w", &Error{Status: 418})); got != 418 {
		t.Errorf("StatusOf a wrapped error is %d", got)
	}
}

func TestList(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.RawQuery != "list=true" {
			t.Errorf("listed by %s ?%s", r.Method, r.URL.RawQuery)
		}
		if r.URL.Path == "/v1/none" {
			refuse(w, 404)
			return
		}
		answer(w, 200, `{"data":{"keys":["a","b/"],"key_info":{"a":{"type":"totp"}}}}`)
	})
	keys, info, err := c.ListInfo(t.Context(), "some/")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b/"}, keys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"a": map[string]any{"type": "totp"}}, info); diff != "" {
		t.Error(diff)
	}
	if keys, err := c.List(t.Context(), "none"); keys != nil || err != nil {
		t.Errorf("an absent list: %v, %v", keys, err)
	}
}

func TestWriteWrapUnwrap(t *testing.T) {
	c := serve(t, Options{Namespace: "team", UserAgent: "test/1"}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		h := r.Header
		if h.Get("X-Vault-Namespace") != "team" || h.Get("User-Agent") != "test/1" || h.Get("X-Vault-Request") != "true" {
			t.Errorf("headers: %v", h)
		}
		what := strings.Join([]string{r.Method, r.URL.Path, h.Get("X-Vault-Token"), h.Get("X-Vault-Wrap-Ttl"), string(text)}, " ")
		switch what {
		case `POST /v1/auth/x/login  ` + ` {"a":"<b>"}`, `POST /v1/auth/x/login   {"a":"\u003cb\u003e"}`:
			answer(w, 200, `{"warnings":["be\u001b[31mware"],"auth":{"client_token":"t","accessor":"acc","policies":["p"],"entity_id":"e","lease_duration":60,"renewable":true}}`)
		case `POST /v1/lease ` + testToken + `  `:
			answer(w, 200, `{"request_id":"x","lease_id":"l","lease_duration":90,"data":{"password":"p"}}`)
		case `POST /v1/none ` + testToken + `  {}`:
			w.WriteHeader(http.StatusNoContent)
		case `POST /v1/secret-id ` + testToken + ` 2 {}`:
			answer(w, 200, `{"wrap_info":{"token":"w","accessor":"wa","ttl":2,"creation_path":"secret-id"}}`)
		case `POST /v1/sys/wrapping/unwrap w  `:
			answer(w, 200, `{"data":{"secret_id":"s"}}`)
		default:
			t.Errorf("unexpected: %s", what)
		}
	})
	login, err := c.WithoutToken().Write(t.Context(), "auth/x/login", map[string]any{"a": "<b>"})
	if err != nil {
		t.Fatal(err)
	}
	auth := *login.Auth
	if got := fmt.Sprint(auth.Token, auth.Accessor, auth.Policies, auth.EntityID, auth.LeaseDuration, auth.Renewable, login.Warnings); got != "tacc[p]e1m0s true [be[31mware]" {
		t.Error(got)
	}
	if lease, err := c.Write(t.Context(), "lease", nil); err != nil || lease.Lease != "l" || lease.LeaseDuration != 90*time.Second {
		t.Errorf("%v, %v", lease, err)
	}
	if none, err := c.Write(t.Context(), "none", map[string]any{}); err != nil || none == nil {
		t.Errorf("%v, %v", none, err)
	}
	w, err := c.Wrap(t.Context(), "secret-id", map[string]any{}, 1500*time.Millisecond)
	if err != nil || w.Token != "w" || w.Accessor != "wa" || w.TTL != 2*time.Second || w.CreationPath != "secret-id" {
		t.Fatalf("%v, %v", w, err)
	}
	if data, err := c.Unwrap(t.Context(), w.Token); err != nil || data["secret_id"] != "s" {
		t.Errorf("%v", err)
	}
	if _, err := c.Wrap(t.Context(), "secret-id", nil, 0); err == nil {
		t.Error("a wrapping that ends at once is no error")
	}
}

func TestWrapWithoutWrapping(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"data":{"secret_id":"canary"}}`)
	})
	if _, err := c.Wrap(t.Context(), "x", nil, time.Minute); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("an answer that is not wrapped: %v", err)
	}
}

func TestDeleteOfNothing(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete {
			t.Errorf("deleted by %s", r.Method)
		}
		refuse(w, 404)
	})
	if err := c.Delete(t.Context(), "x/y"); err != nil {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	text := `{"initialized":true,"sealed":true,"standby":true,"performance_standby":false,"version":"1.21.1","cluster_name":"n","cluster_id":"i","enterprise":true}`
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "" || r.URL.Query().Get("sealedcode") != "299" {
			t.Errorf("asked with %v ?%s", r.Header, r.URL.RawQuery)
		}
		answer(w, 299, text)
	})
	got, err := c.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Health{Initialised: true, Sealed: true, Standby: true, Enterprise: true, Version: "1.21.1", ClusterName: "n", ClusterID: "i"}
	if got != want {
		t.Errorf("got %+v", got)
	}
	text = `{"hello":"world"}`
	if _, err := c.Health(t.Context()); err == nil {
		t.Error("some other server's answer is no error")
	}
}

func TestParallelReadsShareConnections(t *testing.T) {
	var (
		requests    atomic.Int32
		mu          sync.Mutex
		connections = make(map[string]bool)
	)
	together := make(chan struct{})
	observed := make(chan Request, 64)
	c := serve(t, Options{Observe: func(r Request) { observed <- r }}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connections[r.RemoteAddr] = true
		mu.Unlock()
		if requests.Add(1)%32 == 0 {
			close(together)
		}
		<-together // so that 32 are needed at once
		answer(w, 200, `{"data":{}}`)
	})
	round := func() {
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if _, err := c.Read(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	round()
	together = make(chan struct{})
	round()
	if len(connections) != 32 {
		t.Errorf("%d connections for two rounds of 32 requests", len(connections))
	}
	for range 64 {
		if r := <-observed; r.Method != http.MethodGet || r.Path != "x" || r.Status != 200 || r.Attempt != 1 {
			t.Errorf("observed %+v", r)
		}
	}
}

// canaries are formatted in every way that prints values.
func TestNothingSecretIsPrinted(t *testing.T) {
	environment(t, "https://user:canary-password@127.0.0.1:1")
	c := connect(t, Options{})
	answer := Answer{Data: map[string]any{"password": "canary"}, Auth: &Auth{Token: "canary"}}
	wrapped := Wrapped{Token: "canary"}
	_, err := c.Read(t.Context(), "x")
	for _, v := range []any{c, answer, &answer, *answer.Auth, answer.Auth, wrapped, &wrapped, c.Address(), err} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "canary") || strings.Contains(got, "63616e617279") {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
}
