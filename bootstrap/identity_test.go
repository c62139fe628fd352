package bootstrap

import (
	"slices"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

func group(name string, members ...string) *Object {
	o := &Object{Kind: groupKind, Labels: []string{name}}
	o.Set("member_groups", anys(members))
	o.refer("member_group_ids", "member_groups", schema.RefGroup)
	return o
}

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, s := range texts {
		out[i] = s
	}
	return out
}

func TestMembersComeFirst(t *testing.T) {
	t.Parallel()
	other := &Object{Kind: quotaKind, Labels: []string{"q"}}
	objects := []*Object{
		group("all", "Teams", "guests", "elsewhere"), other, group("teams", "search", "models"),
		group("models"), group("guests"), group("search", "models"),
	}
	if diags := settleIdentity(objects); len(diags) > 0 {
		t.Fatal(diags)
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.Key())
	}
	if want := []string{"models", "q", "search", "teams", "guests", "all"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

func TestGroupsInACircle(t *testing.T) {
	t.Parallel()
	objects := []*Object{group("z", "a"), group("a", "b"), group("b", "c"), group("c", "a"), group("self", "self")}
	diags := settleIdentity(objects)
	if len(diags) != 2 || !strings.HasSuffix(diags[0].Summary, ": a → b → c → a") || !strings.HasSuffix(diags[1].Summary, ": self → self") {
		t.Error(diags)
	}
	if len(objects) != 5 || slices.Contains(objects, nil) {
		t.Errorf("%d groups are left", len(objects))
	}
}

func TestAccessorsInATemplate(t *testing.T) {
	t.Parallel()
	for template, want := range map[string][]string{
		"":                         nil,
		"{{identity.entity.name}}": nil,
		"{{identity.entity.aliases.auth_okta_1a2b.name}}": {"auth_okta_1a2b"},
		"{{ identity.entity.aliases.auth_ai-keys_1.metadata.login }}-{{identity.entity.aliases.b.name}}{{identity.entity.aliases.auth_ai-keys_1.name}}": {"auth_ai-keys_1", "b"},
	} {
		if got := accessorsIn(template); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
}

func TestWhomAnEnforcementFallsOn(t *testing.T) {
	t.Parallel()
	mounts := map[string]any{
		"okta/":      map[string]any{"accessor": "auth_okta_1", "type": "okta"},
		"okta-test/": map[string]any{"accessor": "auth_okta_2", "type": "okta"},
		"team/okta/": map[string]any{"accessor": "auth_okta_3", "type": "okta"},
		"request_id": "not a mount",
	}
	from := func(path string) []loginMount {
		return loginMounts(mounts, func(m loginMount) bool { return strings.HasPrefix(path, m.path+"/") })
	}
	alice := &operator{login: from("auth/okta/login/alice"), entity: "e1", groups: []string{"g1", "g2"}}
	if len(alice.login) != 1 || alice.login[0].accessor != "auth_okta_1" {
		t.Fatalf("%+v", alice.login)
	}
	root := &operator{login: from("auth/token/root")}
	for _, row := range []struct {
		list, item string
		falls      string
	}{
		{"auth_method_accessors", "auth_okta_1", "auth/okta"},
		{"auth_method_accessors", "auth_okta_2", ""},
		{"auth_method_types", "okta", "auth/okta"},
		{"auth_method_types", "jwt", ""},
		{"identity_entity_ids", "e1", "entity"},
		{"identity_entity_ids", "", ""},
		{"identity_group_ids", "g2", "group"},
		{"identity_group_ids", "g3", ""},
		{"mfa_method_ids", "e1", ""},
	} {
		e := enforcement{row.list: {row.item}}
		if got := alice.hit(e); row.falls == "" && got != "" || !strings.Contains(got, row.falls) {
			t.Errorf("%s %s falls on alice by %q", row.list, row.item, got)
		}
		if got := root.hit(e); got != "" {
			t.Errorf("%s %s falls on root by %q", row.list, row.item, got)
		}
	}
}

func TestQuotaValues(t *testing.T) {
	t.Parallel()
	for _, v := range []any{int64(0), int64(-1), 0.0, -0.5, "50", true, []any{int64(1)}} {
		if positive(v) == nil {
			t.Errorf("%v is taken for a rate", v)
		}
	}
	for _, v := range []any{int64(1), 0.5} {
		if err := positive(v); err != nil {
			t.Errorf("%v: %v", v, err)
		}
	}
	o := &Object{Kind: quotaKind, Labels: []string{"q"}, Values: map[string]file.Value{
		"rate": {V: 1.5}, "group_by": {V: "entity_then_ip"}, "interval": {V: "0s"},
	}}
	if diags := prepareQuota(o, nil); len(diags) > 0 {
		t.Fatal(diags)
	}
	if o.Values["secondary_rate"].V != 1.5 || o.Values["inheritable"].V != true || o.has("interval") {
		t.Errorf("%v", o.Values)
	}
}
