package provider_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// A fixture is testdata/<provider>.txtar: what the vendor's own description
// says goes over the wire. Its head holds
//
//	source:    where the exchanges were taken from
//	account:   fields of the account, as name=value
//	scope:     fields of the role
//	id:        the key (or slot) that the exchanges are about
//	secret:    its value
//	tag:, lifetime:, expires:, owner:, base:, resource:  where a life has them
//	root:      the id of the admin credential that the account holds
//	found:     what the inventory holds, things parted by ";"
//	ambient:   exchanges that may come before any other (signing in)
//
// A line such as scope/plain: holds for the variant plain alone.
// and its sections are exchanges: <op>, or <op>/<variant>, or a further step
// <op>.2, each with its .reply. {server} stands for the server's address.
type fixture struct {
	head  map[string]string
	steps map[string][]step // by scenario: op or op/variant
	sign  []step
}

// A step is one exchange.
type step struct {
	method string
	url    *url.URL
	header http.Header
	body   string
	status int
	reply  http.Header
	answer string
}

func load(t *testing.T, name string) *fixture {
	t.Helper()
	ar, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatalf("provider %s has no fixture: %v", name, err)
	}
	f := &fixture{head: map[string]string{}, steps: map[string][]step{}}
	for line := range strings.Lines(string(ar.Comment)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			f.head[k] = strings.TrimSpace(v)
		}
	}
	if f.head["source"] == "" {
		t.Fatalf("%s.txtar does not say where it comes from", name)
	}
	ambient := strings.Fields(f.head["ambient"])
	for i := 0; i+1 < len(ar.Files); i += 2 {
		request, reply := ar.Files[i], ar.Files[i+1]
		if reply.Name != request.Name+".reply" {
			t.Fatalf("%s.txtar: section %q is not followed by its reply", name, request.Name)
		}
		s := parseStep(t, string(request.Data), string(reply.Data))
		if slices.Contains(ambient, request.Name) {
			f.sign = append(f.sign, s)
			continue
		}
		scenario := f.scenarioOf(request.Name)
		f.steps[scenario] = append(f.steps[scenario], s)
	}
	if len(ar.Files)%2 != 0 {
		t.Fatalf("%s.txtar ends with half an exchange", name)
	}
	return f
}

// scenarioOf cuts a step's number off, which is there from the second step on.
func (f *fixture) scenarioOf(section string) string {
	i := strings.LastIndexByte(section, '.')
	if i >= 0 {
		if n, err := strconv.Atoi(section[i+1:]); err == nil && n == len(f.steps[section[:i]])+1 {
			return section[:i]
		}
	}
	return section
}

func parseStep(t *testing.T, request, reply string) step {
	t.Helper()
	head, body, _ := strings.Cut(request, "\n\n")
	line, rest, _ := strings.Cut(head, "\n")
	method, target, _ := strings.Cut(strings.TrimSpace(line), " ")
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	answerHead, answer, _ := strings.Cut(reply, "\n\n")
	status, answerRest, _ := strings.Cut(answerHead, "\n")
	code, err := strconv.Atoi(strings.TrimSpace(status))
	if err != nil {
		t.Fatalf("reply of %s: %v", line, err)
	}
	return step{method, u, headers(rest), strings.TrimSpace(body), code, headers(answerRest), strings.TrimSpace(answer)}
}

func headers(lines string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(lines) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			h.Set(k, strings.TrimSpace(v)) // an empty one must be absent
		}
	}
	return h
}

// An env is a provider opened against a server that replays the fixture.
type env struct {
	def     provider.Definition
	f       *fixture
	variant string
	server  string
	client  *provider.Client
}

// head is a line of the fixture's head, the variant's own if it has one.
func (e env) head(name string) string {
	v, ok := e.f.head[name+"/"+e.variant]
	if !ok {
		v = e.f.head[name]
	}
	return strings.ReplaceAll(v, "{server}", e.server)
}

// fields reads "name=value name=value".
func (e env) fields(name string) map[string]string {
	m := map[string]string{}
	for p := range strings.FieldsSeq(e.head(name)) {
		k, v, _ := strings.Cut(p, "=")
		m[k] = v
	}
	return m
}

func (e env) account() provider.Account {
	a := provider.Account{Fields: e.fields("account"), Secrets: map[string]provider.Secret{}}
	for _, field := range e.def.Account {
		if field.Secret {
			a.Secrets[field.Name] = provider.NewSecret(a.Fields[field.Name])
			delete(a.Fields, field.Name)
		}
	}
	return a
}

func (e env) lifetime(t *testing.T) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(e.head("lifetime"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A replayer answers a scenario step by step, and fails the test if a request
// is not the recorded one. If fault is set it answers step number at instead,
// and every later request if onward.
type replayer struct {
	t     *testing.T
	f     *fixture
	steps []step
	at    int
	fault http.Handler

	onward bool

	mu   sync.Mutex
	next int
}

func (r *replayer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	server := "https://" + req.Host
	for _, s := range r.f.sign {
		if req.Method == s.method && req.URL.Path == s.url.Path {
			s.expect(r.t, req, server)
			s.serve(w, server)
			return
		}
	}
	r.mu.Lock()
	n := r.next
	r.next++
	r.mu.Unlock()
	// net/http sends a GET again when a used connection breaks; that is harmless.
	again := n > r.at && req.Method == http.MethodGet && r.at < len(r.steps) && req.URL.Path == r.steps[r.at].url.Path
	if r.fault != nil && (n == r.at || again || r.onward && n > r.at) {
		r.fault.ServeHTTP(w, req)
		return
	}
	if n >= len(r.steps) || r.fault != nil && n > r.at {
		r.t.Errorf("request number %d is one too many: %s %s", n+1, req.Method, req.URL.Path)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	r.steps[n].expect(r.t, req, server)
	r.steps[n].serve(w, server)
}

// done fails the test if steps were left out.
func (r *replayer) done() {
	r.t.Helper()
	if r.next != len(r.steps) {
		r.t.Errorf("%d requests, want %d", r.next, len(r.steps))
	}
}

func (s step) expect(t *testing.T, req *http.Request, server string) {
	if req.Method != s.method || req.URL.Path != s.url.Path {
		t.Errorf("request %s %s, want %s %s", req.Method, req.URL.Path, s.method, s.url.Path)
	}
	if diff := cmp.Diff(s.url.Query(), req.URL.Query()); diff != "" {
		t.Errorf("%s %s: query (-want +got):\n%s", s.method, s.url.Path, diff)
	}
	for k := range s.header {
		if got, want := req.Header.Get(k), s.header.Get(k); got != want {
			t.Errorf("%s %s: header %s = %q, want %q", s.method, s.url.Path, k, got, want)
		}
	}
	for k := range req.Header { // a credential where none belongs
		if v := req.Header.Get(k); strings.Contains(v, "CANARY") && s.header.Get(k) != v {
			t.Errorf("%s %s: header %s must not carry %q", s.method, s.url.Path, k, v)
		}
	}
	if got := req.Header.Get("User-Agent"); got != "vault-plugin-secrets-ai-keys" {
		t.Errorf("%s %s: User-Agent %q", s.method, s.url.Path, got)
	}
	got, err := io.ReadAll(req.Body)
	if err != nil {
		t.Error(err)
	}
	want := strings.ReplaceAll(s.body, "{server}", server)
	if diff := cmp.Diff(decode(t, want), decode(t, string(got))); diff != "" {
		t.Errorf("%s %s: body (-want +got):\n%s", s.method, s.url.Path, diff)
	}
}

// decode reads JSON or a form, so that order and spaces do not matter.
func decode(t *testing.T, body string) any {
	t.Helper()
	var v any
	if body == "" || json.Unmarshal([]byte(body), &v) == nil {
		return v
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		t.Errorf("body is neither JSON nor a form: %v", err)
	}
	return form
}

func (s step) serve(w http.ResponseWriter, server string) {
	w.Header().Set("Content-Type", "application/json")
	for k := range s.reply {
		w.Header().Set(k, strings.ReplaceAll(s.reply.Get(k), "{server}", server))
	}
	w.WriteHeader(s.status)
	fmt.Fprint(w, strings.ReplaceAll(s.answer, "{server}", server))
}

// serve runs h behind TLS and returns its address and a client that trusts it.
func serve(t *testing.T, def provider.Definition, h http.Handler) (server string, c *provider.Client) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	base, err := url.Parse(def.BaseURL)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	c, err = provider.NewClient(provider.Options{BaseURL: srv.URL + base.Path, CACert: string(ca)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return srv.URL, c
}

func fixtureNames(t *testing.T) []string {
	t.Helper()
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".txtar"); ok {
			names = append(names, name)
		}
	}
	return names
}
