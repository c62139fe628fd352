package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// The domains of Okta that Vault knows by itself.
const (
	oktaDomain        = "okta.com"
	oktaPreviewDomain = "oktapreview.com"
)

var oktaConfigKind = &Kind{
	Name: "okta config", Word: "config", Stage: StageAuth, Forever: true,
	Block: &schema.Block{
		Name: "config", Most: 1, Doc: "The organisation at Okta that logs people in.",
		Fields: append([]*schema.Field{
			{
				Name: "org_name", Required: true, Check: oneWord, Aliases: []string{"organization", "organisation"},
				Doc: "The organisation: acme of https://acme.okta.com.",
			},
			{
				Name: "api_token", Secrecy: schema.Secret, Aliases: []string{"token"},
				Doc: "An API token of Okta's: without one, Vault does not see anybody's groups.",
			},
			{
				Name: "base_url", Default: oktaDomain, Check: aDomain,
				Doc: "Okta's domain: okta.com, okta-emea.com, oktapreview.com, or your own.",
			},
			{Name: "bypass_okta_mfa", Type: schema.Bool, Doc: "Okta's own second factor is not asked for, nor does an expired password count: for logins with Vault's MFA."},
		}, tokenFields()...),
	},
	Path:    func(o *Object) string { return o.within("config") },
	Prepare: prepareOktaConfig, Read: readOktaConfig, Access: configAccess,
}

func prepareOktaConfig(o *Object, n *file.Node) file.Diagnostics {
	found := checkTokens(o)
	if _, set := o.Value("api_token"); !set {
		found = append(found, file.Diagnostic{
			Severity: file.Warning, At: n.At, Summary: "without an api_token Vault does not see anybody's groups at Okta",
			Detail: "Groups of this mount and identity groups will have no effect; only user blocks and token_policies will.",
		})
	}
	return found
}

// readOktaConfig says which domain Vault goes to where no base_url is set: a
// setting from before there was one, production, still counts.
func readOktaConfig(ctx context.Context, s *Session, o *Object) (*State, error) {
	answer, err := s.Vault.Read(ctx, o.Kind.Path(o))
	if err != nil || answer == nil {
		return absent, err
	}
	if textOf(answer, "base_url") == "" {
		answer["base_url"] = oktaDomain
		if production, set := answer["production"].(bool); set && !production {
			answer["base_url"] = oktaPreviewDomain
		}
	}
	return StateOf(o, answer)
}

func oneWord(v any) error {
	if name, _ := v.(string); strings.ContainsAny(name, "./:") {
		return errors.New(`the organisation's name alone is wanted: "acme" of https://acme.okta.com; the domain goes into base_url`)
	}
	return nil
}

func aDomain(v any) error {
	if domain, _ := v.(string); domain == "" || strings.ContainsAny(domain, "/:") {
		return errors.New(`a domain alone is wanted, as "okta.com"; leave the field out for that one`)
	}
	return nil
}

var oktaGroupKind = &Kind{
	Name: "okta group", Word: "group", Stage: StageAuthRole, FullReplace: true,
	Block: &schema.Block{
		Name: "group", Labels: []string{"name"}, Doc: "What the people in a group at Okta may do; its label is Okta's name for it.",
		Fields: []*schema.Field{
			{Name: "policies", Type: schema.Set, Lower: true, Names: "policy", Doc: "Policies of everybody in it."},
		},
	},
	Path:     func(o *Object) string { return o.within("groups", o.Key()) },
	ListPath: func(o *Object) string { return o.within("groups") },
	List:     listOktaGroups,
	Prepare: func(o *Object, _ *file.Node) file.Diagnostics {
		o.Labels[0] = strings.ToLower(o.Labels[0])
		return nil
	},
}

// listOktaGroups lists names in lower case: old servers may still have others,
// which Vault finds in any case.
func listOktaGroups(ctx context.Context, s *Session, k *Kind, parent *Object) ([]*Object, error) {
	names, err := s.Vault.List(ctx, k.ListPath(&Object{Kind: k, Parent: parent}))
	if vault.IsAbsentMount(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the groups of %s: %w", parent.MountPath(), err)
	}
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	slices.Sort(names)
	var out []*Object
	for _, name := range slices.Compact(names) {
		out = append(out, &Object{Kind: k, Parent: parent, Labels: []string{name}})
	}
	return out, nil
}

var oktaUserKind = &Kind{
	Name: "okta user", Word: "user", Stage: StageAuthRole, FullReplace: true,
	Block: &schema.Block{
		Name: "user", Labels: []string{"name"}, Doc: "What one person may do, beside what the groups say; its label is the login, in its case.",
		Fields: []*schema.Field{
			{Name: "groups", Type: schema.Set, Doc: "Groups of this mount that the person is in, whatever Okta says."},
			{Name: "policies", Type: schema.Set, Lower: true, Names: "policy", Doc: "Policies of the person."},
		},
	},
	Path:     func(o *Object) string { return o.within("users", o.Key()) },
	ListPath: func(o *Object) string { return o.within("users") },
}
