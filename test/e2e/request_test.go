package e2e

import (
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"
)

// as makes a client with a token.
func (s *story) as(token string) *api.Client {
	s.Helper()
	c, err := s.vault.Client(token)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// An answer is what Vault said; status is 0 if it did what was asked.
type answer struct {
	*api.Secret

	status int
	text   string
}

// try sends a request to the mount.
func (s *story) try(method, path string, data any) answer {
	s.Helper()
	return s.tryAs(s.client, method, path, data)
}

func (s *story) tryAs(c *api.Client, method, path string, data any) answer {
	s.Helper()
	path, query, _ := strings.Cut(path, "?")
	req := c.NewRequest(method, "/v1/"+s.engine.Path+"/"+path)
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			req.Params.Set(name, value)
		}
	}
	if data != nil {
		if err := req.SetJSONBody(data); err != nil {
			s.Fatal(err)
		}
	}
	resp, err := c.RawRequestWithContext(s.Context(), req) //nolint:staticcheck // the Logical client cannot send every method
	if resp != nil {
		defer resp.Body.Close()
	}
	var refused *api.ResponseError
	switch {
	case errors.As(err, &refused):
		return answer{status: refused.StatusCode, text: strings.Join(refused.Errors, "; ")}
	case err != nil:
		return answer{status: -1, text: err.Error()}
	case resp.StatusCode == http.StatusNoContent:
		return answer{Secret: &api.Secret{}}
	}
	secret, err := api.ParseSecret(resp.Body)
	if err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
	if secret == nil {
		secret = &api.Secret{}
	}
	return answer{Secret: secret}
}

// do sends a request that must succeed.
func (s *story) do(method, path string, data any) *api.Secret {
	s.Helper()
	a := s.try(method, path, data)
	if a.status != 0 {
		s.Fatalf("%s %s: %d: %s", method, path, a.status, a.text)
	}
	return a.Secret
}

func (s *story) read(path string) fields {
	s.Helper()
	return s.do(http.MethodGet, path, nil).Data
}

func (s *story) write(path string, data fields) *api.Secret {
	s.Helper()
	return s.do(http.MethodPut, path, data)
}

func (s *story) remove(path string) *api.Secret {
	s.Helper()
	return s.do(http.MethodDelete, path, nil)
}

// list returns names; none if there are none.
func (s *story) list(path string) []string {
	s.Helper()
	a := s.try("LIST", path, nil)
	if a.status == http.StatusNotFound && a.text == "" {
		return nil
	}
	if a.status != 0 {
		s.Fatalf("LIST %s: %d: %s", path, a.status, a.text)
	}
	names := []string{}
	for _, n := range a.Data["keys"].([]any) {
		names = append(names, n.(string))
	}
	return names
}

// refused sends a request that must be refused with a status and a text that
// has all of these parts.
func (s *story) refused(status int, method, path string, data any, parts ...string) {
	s.Helper()
	a := s.try(method, path, data)
	s.check(a, status, method+" "+path, parts...)
}

func (s *story) check(a answer, status int, what string, parts ...string) {
	s.Helper()
	if a.status != status {
		s.Fatalf("%s: status %d (%s), want %d", what, a.status, a.text, status)
	}
	for _, p := range parts {
		if !strings.Contains(a.text, p) {
			s.Errorf("%s: the answer does not say %q: %s", what, p, a.text)
		}
	}
	for _, m := range marks() {
		if strings.Contains(a.text, m) {
			s.Errorf("%s: the answer holds a secret: %s", what, a.text)
		}
	}
}

// login makes a token that has one policy.
func (s *story) login(name, policy string) *api.Client {
	s.Helper()
	name += "-" + s.engine.Path
	if err := s.client.Sys().PutPolicy(name, strings.ReplaceAll(policy, "MOUNT", s.engine.Path)); err != nil {
		s.Fatal(err)
	}
	made, err := s.client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{name}, TTL: "10m"})
	if err != nil {
		s.Fatal(err)
	}
	return s.as(made.Auth.ClientToken)
}
