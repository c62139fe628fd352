package okta

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// direct calls a handler without a socket, so that time can be a bubble's.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// A caller speaks to an organisation as Vault does.
type caller struct {
	t     *testing.T
	http  *http.Client
	base  string
	token string // empty: none is sent
}

func newCaller(t *testing.T, o *Org, token string) caller {
	t.Helper()
	return caller{t, &http.Client{Transport: direct{o}}, "https://acme.okta.com", token}
}

// any sends a request and decodes the answer.
func (c caller) any(method, path string, body, into any) int {
	c.t.Helper()
	sent, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	if body == nil {
		sent = nil
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(string(sent)))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "SSWS "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(got, into); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, got)
	}
	return resp.StatusCode
}

// An answer is what tests look at in a reply that is one object.
type answer struct {
	ErrorCode    string
	ErrorLink    string
	ErrorID      string
	ErrorCauses  []struct{ ErrorSummary string }
	Status       string
	StateToken   string
	FactorResult string
	SessionToken string
	Embedded     struct {
		User    struct{ ID string }
		Factor  struct{ ID string }
		Factors []struct{ ID, FactorType, Provider string }
	} `json:"_embedded"`
	Links map[string]json.RawMessage `json:"_links"`
}

func (c caller) one(method, path string, body any) (int, answer) {
	c.t.Helper()
	var a answer
	status := c.any(method, path, body, &a)
	return status, a
}

// expect sends a request that is refused with an error code, or (empty) is not.
func (c caller) expect(status int, code, method, path string, body any) answer {
	c.t.Helper()
	got, a := c.one(method, path, body)
	if got != status || a.ErrorCode != code {
		c.t.Errorf("%s %s: %d %q, want %d %q", method, path, got, a.ErrorCode, status, code)
	}
	if code != "" && (a.ErrorLink != code || a.ErrorID == "" || a.ErrorCauses == nil) {
		c.t.Errorf("%s %s: the error is not in Okta's shape: %+v", method, path, a)
	}
	return a
}

func password(login, password string) map[string]string {
	return map[string]string{"username": login, "password": password}
}

const (
	alice  = "alice@acme.com"
	secret = "correct horse"
)

// acme has alice in it, in one group.
func acme(t *testing.T, o Options) (*Org, string) {
	t.Helper()
	org := New(o)
	id, err := org.AddUser(User{Login: alice, Password: secret, Groups: []string{"AI-Developers"}})
	if err != nil {
		t.Fatal(err)
	}
	return org, id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
