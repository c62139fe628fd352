package provider_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// The contract of a provider, run over all of them. A new provider adds no
// test code: it adds a line in all.go and testdata/<name>.txtar.

// An operation is one method of the provider's interfaces, called with what
// the fixture says. It reports a wrong answer to t and returns the error.
type operation func(t *testing.T, ctx context.Context, e env) error

func (e env) keys() provider.Keys     { return e.def.Open(e.client, e.account()) }
func (e env) owners() provider.Owners { return e.def.Owner.Open(e.client, e.account()) }
func (e env) roots() provider.Rooter  { return e.def.Root.Open(e.client, e.account()) }
func (e env) scope() provider.Scope   { return e.fields("scope") }
func (e env) id() provider.KeyID      { return provider.KeyID(e.head("id")) }
func (e env) secret() provider.Secret { return provider.NewSecret(e.head("secret")) }
func (e env) tag() provider.Tag       { return provider.Tag(e.head("tag")) }

// same reports a key that is not the fixture's.
func (e env) same(t *testing.T, got provider.Key) {
	t.Helper()
	want := provider.Key{ID: e.id(), Secret: e.secret(), Base: e.head("base")}
	if raw := e.head("expires"); raw != "" && !got.Expires.IsZero() {
		at, err := time.Parse(time.RFC3339, raw)
		if err != nil {
			t.Fatal(err)
		}
		want.Expires = at
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("key (-want +got):\n%s", diff)
	}
}

func operations(def provider.Definition) map[string]operation {
	ops := map[string]operation{
		"check":    func(_ *testing.T, ctx context.Context, e env) error { return e.keys().Check(ctx) },
		"verify":   verify,
		"identify": identify,
		"revoke": func(_ *testing.T, ctx context.Context, e env) error {
			return e.keys().Revoke(ctx, e.scope(), e.id())
		},
	}
	switch def.Life() {
	case provider.LifeMint:
		ops["mint"], ops["find"] = mint, find
	case provider.LifeTwoSlot:
		ops["read"], ops["regenerate"] = read, regenerate
	case provider.LifeImport:
	}
	if def.Root != nil {
		ops["root.self"], ops["root.mint"], ops["root.find"] = rootSelf, rootMint, rootFind
		ops["root.revoke"] = func(_ *testing.T, ctx context.Context, e env) error {
			return e.roots().Revoke(ctx, provider.KeyID(e.head("root")))
		}
	}
	if def.Inventory != nil {
		ops["inventory"] = inventory
	}
	if def.Owner != nil {
		ops["owner.create"], ops["owner.find"], ops["owner.delete"] = ownerCreate, ownerFind, ownerDelete
	}
	return ops
}

func verify(_ *testing.T, ctx context.Context, e env) error {
	return e.keys().Verify(ctx, e.scope(), e.secret())
}

func identify(t *testing.T, ctx context.Context, e env) error {
	m, err := e.keys().Identify(ctx, e.scope(), e.secret())
	key := m.Key
	if err == nil && m.Listed == nil {
		t.Error("Identify does not say what is listed")
	}
	if err == nil && e.variant == "none" {
		if diff := cmp.Diff(provider.Key{}, key); diff != "" {
			t.Errorf("Identify found a key that is not there: %s", diff)
		}
	} else if err == nil {
		e.same(t, key)
		if m.Listed[key.ID] != provider.Fits {
			t.Errorf("Identify finds %s, and lists %v", key.ID, m.Listed)
		}
	}
	return err
}

func mint(t *testing.T, ctx context.Context, e env) error {
	order := provider.Order{Tag: e.tag(), Scope: e.scope(), Lifetime: e.lifetime(t)}
	key, err := e.def.Mint(e.client, e.account()).Mint(ctx, order)
	if err == nil {
		e.same(t, key)
		if (e.def.Expiry != nil && order.Lifetime > 0) != !key.Expires.IsZero() {
			t.Errorf("Mint says that the key expires %v", key.Expires)
		}
	}
	return err
}

func find(t *testing.T, ctx context.Context, e env) error {
	ids, err := e.def.Mint(e.client, e.account()).Find(ctx, e.scope(), e.tag())
	var want []provider.KeyID
	if e.variant != "none" {
		want = []provider.KeyID{e.id()}
	}
	if err == nil && !slices.Equal(ids, want) {
		t.Errorf("Find = %q, want %q", ids, want)
	}
	return err
}

func read(t *testing.T, ctx context.Context, e env) error {
	key, err := e.def.TwoSlot(e.client, e.account()).Read(ctx, e.scope(), e.id())
	if err == nil {
		e.same(t, key)
	}
	return err
}

func regenerate(t *testing.T, ctx context.Context, e env) error {
	key, err := e.def.TwoSlot(e.client, e.account()).Regenerate(ctx, e.scope(), e.id())
	if err == nil {
		e.same(t, key)
	}
	return err
}

func ownerCreate(t *testing.T, ctx context.Context, e env) error {
	id, err := e.owners().Create(ctx, e.scope(), e.tag())
	if err == nil && id != e.head("owner") {
		t.Errorf("Create = %q, want %q", id, e.head("owner"))
	}
	return err
}

func ownerFind(t *testing.T, ctx context.Context, e env) error {
	ids, err := e.owners().Find(ctx, e.scope(), e.tag())
	if err == nil && !slices.Equal(ids, []string{e.head("owner")}) {
		t.Errorf("Find = %q, want %q", ids, e.head("owner"))
	}
	return err
}

func ownerDelete(_ *testing.T, ctx context.Context, e env) error {
	return e.owners().Delete(ctx, e.scope(), e.head("owner"))
}

func rootSelf(t *testing.T, ctx context.Context, e env) error {
	id, err := e.roots().Self(ctx)
	want := provider.KeyID(e.head("root"))
	if e.variant != "" {
		want = ""
	}
	if err == nil && id != want {
		t.Errorf("Self = %q, want %q", id, want)
	}
	return err
}

func rootMint(t *testing.T, ctx context.Context, e env) error {
	key, err := e.roots().Mint(ctx, e.tag())
	want := provider.Key{ID: provider.KeyID(e.head("root")), Secret: e.account().Secrets[e.def.Root.Field]}
	if diff := cmp.Diff(want, key); err == nil && diff != "" {
		t.Errorf("key (-want +got):\n%s", diff)
	}
	return err
}

func rootFind(t *testing.T, ctx context.Context, e env) error {
	ids, err := e.roots().Find(ctx, e.tag())
	var want []provider.KeyID
	if e.variant != "none" {
		want = []provider.KeyID{provider.KeyID(e.head("root"))}
	}
	if err == nil && !slices.Equal(ids, want) {
		t.Errorf("Find = %q, want %q", ids, want)
	}
	return err
}

// inventory compares what is found with the head's line "found", one thing an
// element: kind id name owner scope created used ended, "-" for none.
func inventory(t *testing.T, ctx context.Context, e env) error {
	found, err := e.def.Inventory(e.client, e.account()).List(ctx, []provider.Scope{e.scope(), e.scope()}, e.variant != "known")
	if err != nil {
		return err
	}
	var got []string
	for _, f := range found {
		var scope []string
		for k, v := range f.Scope {
			scope = append(scope, k+"="+v)
		}
		line := []string{string(f.Kind), f.ID, f.Name, f.Owner, strings.Join(scope, "&"), stamp(f.Created), stamp(f.LastUsed), ""}
		if f.Ended {
			line[7] = "ended"
		}
		for i := range line {
			line[i] = dashed(line[i])
		}
		got = append(got, strings.Join(line, " "))
	}
	var want []string
	for line := range strings.SplitSeq(e.head("found"), ";") {
		if fields := strings.Fields(line); len(fields) > 0 {
			want = append(want, strings.Join(fields, " "))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	return nil
}

func dashed(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// always lists the variants that a provider's fixture has to have besides the
// plain operation. What is withdrawn may be gone, which a list confirms; a
// variant that begins with "unconfirmed" is a 404 that nothing confirms.
var always = map[string][]string{
	"verify": {"dead"}, "identify": {"none"}, "find": {"none"},
	"revoke":       {"gone", "unconfirmed-listed", "unconfirmed-no-list"},
	"owner.delete": {"gone", "unconfirmed-listed", "unconfirmed-no-list"},
	"root.self":    {"ambiguous", "none"}, "root.find": {"none"},
	"root.revoke": {"gone", "unconfirmed-listed", "unconfirmed-no-list"},
	"inventory":   {"empty"},
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, def := range provider.All {
		t.Run(def.Name, func(t *testing.T) {
			t.Parallel()
			f := load(t, def.Name)
			ops := operations(def)
			for op := range ops {
				for _, v := range append([]string{""}, always[op]...) {
					if name := strings.TrimSuffix(op+"/"+v, "/"); f.steps[name] == nil {
						t.Errorf("the fixture has no %q", name)
					}
				}
			}
			for scenario := range f.steps {
				op, _, _ := strings.Cut(scenario, "/")
				if ops[op] == nil {
					t.Errorf("section %q is of no operation that this provider has", scenario)
					continue
				}
				t.Run(scenario, func(t *testing.T) {
					t.Parallel()
					replay(t, def, f, scenario, ops[op])
				})
			}
		})
	}
}

// replay runs a scenario as it is recorded, and then with each fault at each step.
func replay(t *testing.T, def provider.Definition, f *fixture, scenario string, call operation) {
	op, variant, _ := strings.Cut(scenario, "/")
	t.Run("as recorded", func(t *testing.T) {
		t.Parallel()
		r := &replayer{t: t, f: f, steps: f.steps[scenario]}
		e := env{def: def, f: f, variant: variant}
		e.server, e.client = serve(t, def, r)
		var want error
		switch {
		case op == "verify" && variant == "dead":
			want = provider.ErrDead
		case strings.HasPrefix(variant, "unconfirmed"):
			want = provider.ErrUnknown
		}
		judge(t, call(t, t.Context(), e), want)
		r.done()
	})
	changed := false // or may be: a 404 tells nothing
	for i, s := range f.steps[scenario] {
		last := i == len(f.steps[scenario])-1
		for _, fault := range faults {
			want, onward := fault.want, false
			switch {
			case scenario == "check":
				want = fault.check
			case strings.HasPrefix(scenario, "verify") && last:
				want = fault.verify
			case fault.name == "nothing there" && s.status == http.StatusNotFound:
				continue // that is the scenario
			case fault.name == "nothing there" && (s.method == http.MethodDelete || op == "revoke" && !changed):
				want, onward = provider.ErrUnknown, true // 404 everywhere is a wrong base URL, and not gone
			case changed: // what came before has taken effect
				want = provider.ErrUnknown
			}
			t.Run(fmt.Sprintf("step %d %s", i+1, fault.name), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := &replayer{t: t, f: f, steps: f.steps[scenario], at: i, fault: fault.handler(t, cancel), onward: onward}
				e := env{def: def, f: f, variant: variant}
				e.server, e.client = serve(t, def, r)
				err := call(t, ctx, e)
				judge(t, err, want)
				if want != nil && strings.HasPrefix(fault.name, "throttled") && provider.RetryAfter(err) != 17*time.Second {
					t.Errorf("RetryAfter = %v, want 17s", provider.RetryAfter(err))
				}
			})
		}
		changed = changed || s.method != http.MethodGet || s.status == http.StatusNotFound
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		const closed = "https://127.0.0.1:1"
		c, err := provider.NewClient(provider.Options{BaseURL: closed})
		if err != nil {
			t.Fatal(err)
		}
		e := env{def: def, f: f, variant: variant, client: c, server: closed}
		judge(t, call(t, t.Context(), e), provider.ErrUnreachable)
	})
}

// kinds is all that a caller can be told; a call tells one of them.
var kinds = []error{
	provider.ErrRejected, provider.ErrThrottled, provider.ErrUnreachable, provider.ErrUnknown,
	provider.ErrDead, provider.ErrUnsupported, provider.ErrUnproven,
}

func judge(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("err = %v, want %v", err, want)
	}
	for _, kind := range kinds {
		if errors.Is(err, kind) && !errors.Is(want, kind) {
			t.Errorf("err = %v, which is also %q", err, kind)
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if s := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(s, "CANARY") {
			t.Errorf("the error carries a secret or a body: %s", s)
		}
	}
}

// A fault is what can be wrong with one reply, and what each kind of call has
// to make of it.
type fault struct {
	name                string
	want, check, verify error
	handler             func(t *testing.T, hangUp func()) http.Handler
}

const jsonType = "application/json"

var faults = []fault{
	{"denied", provider.ErrRejected, provider.ErrRejected, nil, answer(403, jsonType, `{"error":{"message":"BODY-CANARY"}}`)},
	{"not signed in", provider.ErrRejected, provider.ErrRejected, provider.ErrDead, answer(401, jsonType, `{"error":{"message":"BODY-CANARY"}}`)},
	{"nothing there", provider.ErrRejected, provider.ErrUnproven, provider.ErrUnknown, answer(404, jsonType, `{"error":{"message":"BODY-CANARY"}}`)},
	{"nothing there, says a proxy", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, answer(404, "text/html; charset=utf-8", `<p>BODY-CANARY`)},
	{"nothing there, in plain words", provider.ErrUnknown, provider.ErrUnproven, provider.ErrUnknown, answer(404, "text/plain", `404 page not found`)},
	{"denied by a proxy", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, answer(403, "text/html", `<p>BODY-CANARY`)},
	{"throttled", provider.ErrThrottled, provider.ErrThrottled, nil, answer(429, jsonType, `{"error":"BODY-CANARY"}`)},
	{"too slow", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, answer(408, jsonType, `{}`)},
	{"broken", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, answer(503, jsonType, `BODY-CANARY`)},
	{"another 2xx", provider.ErrUnknown, nil, nil, answer(206, jsonType, `{"id":"BODY-CANARY","key1":"BODY-CANARY","key2":"BODY-CANARY"}`)},
	{"nothing in it", provider.ErrUnknown, nil, nil, answer(200, jsonType, `{}`)},
	{"not JSON", provider.ErrUnknown, nil, nil, answer(200, "text/plain", `BODY-CANARY`)},
	{"HTML", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, answer(200, "text/html", `<p>BODY-CANARY`)},
	{"cut short", provider.ErrUnknown, nil, nil, answer(200, jsonType, `{"value":"BODY-CANARY`)},
	{"too long", provider.ErrUnknown, nil, nil, answer(200, jsonType, `{"data":[],"deleted":true,"pad":"`+strings.Repeat("BODY-CANARY", 2<<20/11)+`"}`)},
	{"redirect", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, redirect},
	{"hangs up", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, hangUp},
	{"hangs up in between", provider.ErrUnknown, nil, nil, hangUpInBetween},
	{"never answers", provider.ErrUnknown, provider.ErrUnknown, provider.ErrUnknown, neverAnswers},
}

func answer(status int, contentType, body string) func(*testing.T, func()) http.Handler {
	return func(*testing.T, func()) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
}

// redirect is a provider telling us to take our admin key somewhere else.
func redirect(*testing.T, func()) http.Handler {
	return http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect) // the replayer refuses to be asked again
}

func hangUp(*testing.T, func()) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

func hangUpInBetween(*testing.T, func()) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"data":[],"deleted":true,"value":"BODY-CANARY"`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

func neverAnswers(_ *testing.T, cancel func()) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
}

var (
	name    = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	field   = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	engines = map[string][]string{ // names that the engine's own paths use
		"account": strings.Fields("name provider allowed_roles verify_connection base_url ca_cert requests_per_second " +
			"rotation_period rotation_schedule rotation_window disabled cas force credential_version credential_id " +
			"last_vault_rotation next_rotation last_error attempts version"),
		"role": strings.Fields("name account type ttl max_ttl max_active rotation_period rotation_schedule " +
			"rotation_window grace_period key_name_template metadata wrap_ttl disabled cas"),
	}
)

func TestDefinitions(t *testing.T) {
	t.Parallel()
	if !slices.IsSortedFunc(provider.All, func(a, b provider.Definition) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("All is not sorted by name")
	}
	names := map[string]bool{}
	for _, def := range provider.All {
		if names[def.Name] {
			t.Errorf("two providers are called %q", def.Name)
		}
		names[def.Name] = true
		t.Run(def.Name, func(t *testing.T) {
			t.Parallel()
			testDefinition(t, def)
			testFields(t, "account", def.Account)
			testFields(t, "role", def.Role)
			testScope(t, def)
		})
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(names)), fixtureNames(t)); diff != "" {
		t.Errorf("providers and fixtures (-want +got):\n%s", diff)
	}
	if _, ok := provider.Lookup("nobody"); ok {
		t.Error("Lookup found a provider that is not there")
	}
}

func testDefinition(t *testing.T, def provider.Definition) {
	if got, ok := provider.Lookup(def.Name); !ok || got.Name != def.Name {
		t.Errorf("Lookup(%q) = %q, %v", def.Name, got.Name, ok)
	}
	if !name.MatchString(def.Name) || def.Title == "" {
		t.Errorf("name %q, title %q", def.Name, def.Title)
	}
	for _, raw := range []string{def.Docs, def.BaseURL} {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("%q is not an https address", raw)
		}
	}
	if _, err := provider.NewClient(provider.Options{BaseURL: def.BaseURL}); err != nil {
		t.Error(err)
	}
	lives := 0
	for _, set := range []bool{def.Mint != nil, def.TwoSlot != nil, def.Import != nil} {
		if set {
			lives++
		}
	}
	if lives != 1 {
		t.Errorf("%d lives are set, want 1", lives)
	}
	minted, slots := def.Life() == provider.LifeMint, def.Life() == provider.LifeTwoSlot
	if minted != (def.MaxName > 0) || !minted && (def.Expiry != nil || def.Owner != nil) {
		t.Error("MaxName goes with minting, Expiry and Owner only with it")
	}
	if e := def.Expiry; e != nil && (e.Min <= 0 || e.Max < e.Min) {
		t.Errorf("expiry %v is no range", *e)
	}
	if slots != (def.Resource != nil) || slots != (def.Slots[0] != "") || slots != (def.Slots[0] != def.Slots[1]) {
		t.Error("Resource and two different Slots go with two-slot, and only with it")
	}
	if def.Root != nil && !slices.ContainsFunc(def.Account, func(f provider.Field) bool {
		return f.Name == def.Root.Field && f.Secret
	}) {
		t.Errorf("the admin credential's field %q is not a secret field of an account", def.Root.Field)
	}
	if def.Owner != nil && !slices.ContainsFunc(def.Role, func(f provider.Field) bool {
		return f.Name == def.Owner.Field && f.Optional && f.Fixed
	}) {
		t.Errorf("the owner's field %q is not an optional, fixed field of a role", def.Owner.Field)
	}
}

func testFields(t *testing.T, of string, fields []provider.Field) {
	seen := map[string]bool{}
	for _, f := range fields {
		switch {
		case !field.MatchString(f.Name):
			t.Errorf("%s field %q is not snake_case", of, f.Name)
		case seen[f.Name], slices.Contains(engines[of], f.Name):
			t.Errorf("%s field %q is taken", of, f.Name)
		case f.Secret && of == "role", f.Secret && f.Default != "", f.Default != "" && !f.Optional:
			t.Errorf("%s field %q: a secret belongs to an account, a default to an optional field", of, f.Name)
		case len(f.Help) < 10 || !strings.HasSuffix(f.Help, "."):
			t.Errorf("%s field %q has no help text that ends with a period", of, f.Name)
		}
		seen[f.Name] = true
	}
}

// testScope checks that the fixture fills the fields, and that all secrets in
// it are canaries.
func testScope(t *testing.T, def provider.Definition) {
	f := load(t, def.Name)
	e := env{def: def, f: f, server: "https://h"}
	a := e.account()
	for _, d := range def.Account {
		switch {
		case d.Secret && !strings.Contains(a.Secrets[d.Name].Reveal(), "CANARY"):
			t.Errorf("the fixture's %s is not a canary", d.Name)
		case !d.Secret && a.Fields[d.Name] == "":
			t.Errorf("the fixture's account leaves %s out", d.Name)
		}
	}
	scope := e.scope()
	for _, d := range def.Role {
		if scope[d.Name] == "" {
			t.Errorf("the fixture's scope leaves %s out", d.Name)
		}
	}
	if len(scope) != len(def.Role) || len(a.Fields)+len(a.Secrets) != len(def.Account) {
		t.Error("the fixture has fields that the provider has not")
	}
	if !strings.Contains(f.head["secret"], "CANARY") {
		t.Error("the fixture's key is not a canary")
	}
	if def.Resource != nil {
		if got, want := def.Resource(a, scope), f.head["resource"]; got != want {
			t.Errorf("Resource = %q, want %q", got, want)
		}
	}
}
