package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

const (
	// mfaList tells the settings of every method, by its id. A method can be
	// read by its id alone, and written by its name.
	mfaList         = "identity/mfa/method"
	enforcementPath = "identity/mfa/login-enforcement"
)

// A write replaces all of a method, so that every secret is sent with every
// change.
var mfaKind = &Kind{
	Name: "mfa method", Stage: StageMFA, FullReplace: true,
	Block: &schema.Block{
		Name: "mfa", Labels: []string{"type", "name"}, Doc: "A second factor, which a login_enforcement can ask for.",
		Fields: []*schema.Field{
			{Name: "type", Immutable: true, Keep: true, Doc: "The type, which its label says already."},
		},
		Variants: map[string]*schema.Block{
			"okta": {Doc: "A push to the person's Okta Verify.", Fields: []*schema.Field{
				{Name: "org_name", Required: true, Aliases: []string{"organization", "organisation"}, Doc: "The organisation's name in Okta's addresses: acme in acme.okta.com."},
				{Name: "api_token", Required: true, Secrecy: schema.Secret, Aliases: []string{"token"}, Doc: "A token of Okta's API; the method keeps its own copy, beside that of the auth method."},
				{Name: "base_url", Default: "okta.com", Doc: "The domain that the organisation is in."},
				{Name: "primary_email", Type: schema.Bool, Secrecy: schema.Secret, Literal: true, Doc: "Find people by their primary address only. Vault does not tell what it is set to."},
				usernameFormat,
			}},
			"totp": {Doc: "Codes of an authenticator.", Fields: []*schema.Field{
				{Name: "issuer", Required: true, Doc: "What the authenticator shows."},
				{Name: "period", Type: schema.Duration, Default: 30, Doc: "How long a code is good."},
				{Name: "key_size", Type: schema.Int, Default: 20, Doc: "Bytes of the key."},
				{Name: "qr_size", Type: schema.Int, Default: 200, Doc: "Pixels of the QR code; 0: none is made."},
				{Name: "algorithm", OneOf: []string{"SHA1", "SHA256", "SHA512"}, Default: "SHA1", Doc: "The hash; some authenticators know SHA1 only."},
				{Name: "digits", Type: schema.Int, Default: 6, Check: oneOfNumbers(6, 8), Doc: "Length of a code: 6 or 8."},
				{Name: "skew", Type: schema.Int, Default: 1, Check: oneOfNumbers(0, 1), Doc: "How many codes before and after are good too: 0 or 1."},
				{Name: "max_validation_attempts", Type: schema.Int, Default: 5, Doc: "Wrong codes before Vault makes the person wait."},
				{Name: "enable_self_enrollment", Type: schema.Bool, Doc: "People get their key at their first login (Vault Enterprise)."},
			}},
			"duo": {Doc: "Duo, which calls the person.", Fields: []*schema.Field{
				{Name: "secret_key", Required: true, Secrecy: schema.Secret, Doc: "Duo's secret key."},
				{Name: "integration_key", Required: true, Secrecy: schema.Secret, Doc: "Duo's integration key."},
				{Name: "api_hostname", Required: true, Doc: "Duo's API host."},
				{Name: "push_info", ReadAs: "pushinfo", Doc: "What the push shows besides."},
				{Name: "use_passcode", Type: schema.Bool, Doc: "Ask for a passcode rather than a push."},
				usernameFormat,
			}},
			"pingid": {Doc: "PingID.", Fields: []*schema.Field{
				{Name: "settings_file_base64", Required: true, Secrecy: schema.Secret, Doc: "The settings file that Ping provides, in base64."},
				{Name: "username_format", Secrecy: schema.Secret, Literal: true, Doc: usernameFormat.Doc + " Vault does not tell what it is set to."},
			}},
		},
	},
	Path:     func(o *Object) string { return slashed(mfaList, o.Labels[0]) },
	ListPath: func(*Object) string { return mfaList },
	Prepare:  prepareMFA, Read: readMFA, Write: writeMFA, Delete: deleteMFA,
	Review: reviewMFA, List: listMFA, Access: mfaAccess,
}

var usernameFormat = &schema.Field{
	Name: "username_format", Doc: "What a person is called there, as a template.",
}

// oneOfNumbers refuses every other number.
func oneOfNumbers(numbers ...int64) func(any) error {
	return func(v any) error {
		if n, ok := v.(int64); ok && !slices.Contains(numbers, n) {
			return fmt.Errorf("it is one of %s", strings.Trim(fmt.Sprint(numbers), "[]"))
		}
		return nil
	}
}

func prepareMFA(o *Object, n *file.Node) file.Diagnostics {
	o.Set("type", o.Labels[0])
	o.leaveOutEmpty("base_url", "max_validation_attempts", "primary_email")
	if o.Labels[0] == "totp" {
		return nil
	}
	if o.Labels[0] == "okta" && !o.has("primary_email") {
		o.Set("primary_email", false) // it is written again then, should it have been true
	}
	const way = `To find a person by the name of their login, write: username_format = "{{identity.entity.aliases.${auth_accessor("okta")}.name}}", with the path of their auth method.`
	switch format := o.Text("username_format"); {
	case format == "":
		return mistake(n.At, "without username_format Vault asks for the name of its own entity, which nobody has there", way)
	case !strings.Contains(format, "{{"):
		return mistake(o.Values["username_format"].At, "username_format is no template: everybody's second factor would be one person's", way)
	}
	return nil
}

// mfaMethod is what the server has under a name, of whatever type.
func (s *Session) mfaMethod(ctx context.Context, name string) (map[string]any, error) {
	ids, info, err := s.Vault.ListInfo(ctx, mfaList)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if m, _ := info[id].(map[string]any); mfaName(m) == name {
			return m, nil
		}
	}
	return nil, nil
}

// mfaName is a method's name; its id if it has none.
func mfaName(m map[string]any) string {
	if name := textOf(m, "name"); name != "" {
		return name
	}
	return textOf(m, "id")
}

func readMFA(ctx context.Context, s *Session, o *Object) (*State, error) {
	m, err := s.mfaMethod(ctx, o.Key())
	if err != nil || m == nil {
		return absent, err
	}
	return StateOf(o, m)
}

// writeMFA writes by the name. Vault makes the method or changes it, so that
// a write that is repeated does no harm.
func writeMFA(ctx context.Context, s *Session, c *Change) error {
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	delete(body, "type")
	body["method_name"] = c.Object.Key()
	_, err = s.Vault.Write(ctx, c.Object.Kind.Path(c.Object), body)
	return err
}

func reviewMFA(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	if i := slices.IndexFunc(c.Fields, func(f FieldChange) bool { return f.Field == "type" && f.Immutable }); i >= 0 {
		c.Fields = []FieldChange{c.Fields[i]}
		c.Unchecked = nil
		c.Notes = append(c.Notes, fmt.Sprintf("the server has a method of type %v under this name, and Vault would turn it into this one: choose another name, or delete that one first", c.Fields[0].Old))
		return nil
	}
	if o.Labels[0] == "totp" {
		if c.State.Exists && slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return f.Field != "max_validation_attempts" }) {
			c.Notes = append(c.Notes, "who is enrolled keeps the settings of their key until they enrol again")
		}
		return nil
	}
	template, _ := c.State.Values["username_format"].(string)
	dead, err := s.deadAccessors(ctx, accessorsIn(template)...)
	if len(dead) > 0 {
		c.explain("username_format", stale(dead...)+"; nobody is found by it")
	}
	return err
}

// deleteMFA says who uses a method, where Vault only answers 500 and an id.
func deleteMFA(ctx context.Context, s *Session, o *Object) error {
	m, err := s.mfaMethod(ctx, o.Key())
	if err != nil || m == nil || textOf(m, "type") != o.Labels[0] {
		return err
	}
	id := textOf(m, "id")
	_, info, err := s.Vault.ListInfo(ctx, enforcementPath)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(info) {
		e, _ := info[name].(map[string]any)
		if slices.Contains(stringsOf(e["mfa_method_ids"]), id) {
			return fmt.Errorf("the login enforcement %s asks for it: take it out of there, or delete that too", name)
		}
	}
	return s.Vault.Delete(ctx, slashed(o.Kind.Path(o), id))
}

func listMFA(ctx context.Context, s *Session, k *Kind, _ *Object) ([]*Object, error) {
	ids, info, err := s.Vault.ListInfo(ctx, mfaList)
	if err != nil {
		return nil, err
	}
	var out []*Object
	for _, id := range ids {
		if m, ok := info[id].(map[string]any); ok {
			out = append(out, &Object{Kind: k, Labels: []string{textOf(m, "type"), mfaName(m)}})
		}
	}
	return out, nil
}

func mfaAccess(o *Object) []Access {
	path := o.Kind.Path(o)
	return []Access{
		{mfaList, []string{"list"}},
		{path, []string{"create", "update"}},
		{path + "/+", []string{"delete"}},
		{enforcementPath, []string{"list"}},
	}
}

// enforcementLists are all that an enforcement has. A list that is left out of
// a write stays as it is, so that all of them are always sent.
var enforcementLists = []string{"mfa_method_ids", "auth_method_accessors", "auth_method_types", "identity_group_ids", "identity_entity_ids"}

var enforcementKind = &Kind{
	Name: "login enforcement", Stage: StageEnforcement,
	Block: &schema.Block{
		Name: "login_enforcement", Labels: []string{"name"}, Doc: "Which logins need a second factor: one of its methods. Where several enforcements meet, each wants its own.",
		Fields: []*schema.Field{
			{Name: "mfa_methods", Type: schema.Set, Local: true, Doc: "The methods, by the names of mfa blocks; any of them will do."},
			{Name: "auth_methods", Type: schema.Set, Local: true, Doc: `Logins at these auth methods, by path: "okta".`},
			{Name: "auth_method_types", Type: schema.Set, Doc: "Logins at every auth method of these types."},
			{Name: "identity_groups", Type: schema.Set, Local: true, Doc: "Logins of the members of these identity groups, by name."},
			{Name: "identity_entities", Type: schema.Set, Local: true, Doc: "Logins of these identity entities, by name."},
			{Name: "mfa_method_ids", Type: schema.Set, Doc: "The methods by id; mfa_methods takes names."},
			{Name: "auth_method_accessors", Type: schema.Set, Doc: "The auth methods by accessor; auth_methods takes paths."},
			{Name: "identity_group_ids", Type: schema.Set, Doc: "The groups by id; identity_groups takes names."},
			{Name: "identity_entity_ids", Type: schema.Set, Doc: "The entities by id; identity_entities takes names."},
		},
	},
	Path:     func(o *Object) string { return slashed(enforcementPath, o.Key()) },
	ListPath: func(*Object) string { return enforcementPath },
	Prepare:  prepareEnforcement, Write: writeEnforcement, Review: reviewEnforcement, Access: enforcementAccess,
}

func prepareEnforcement(o *Object, n *file.Node) file.Diagnostics {
	o.refer("mfa_method_ids", "mfa_methods", schema.RefMFAMethod)
	o.refer("identity_group_ids", "identity_groups", schema.RefGroup)
	o.refer("identity_entity_ids", "identity_entities", schema.RefEntity)
	if v, set := o.Values["auth_methods"]; set {
		var all []any
		for _, accessor := range o.texts("auth_method_accessors") {
			all = append(all, accessor)
		}
		for _, path := range o.texts("auth_methods") {
			all = append(all, accessorOf(path))
		}
		o.Values["auth_method_accessors"] = file.Value{V: all, At: v.At}
	}
	some := false
	for _, field := range enforcementLists {
		if !o.has(field) {
			o.Set(field, []any{})
		}
		some = some || field != "mfa_method_ids" && len(o.texts(field)) > 0
	}
	switch {
	case len(o.texts("mfa_method_ids")) == 0:
		return mistake(n.At, "the enforcement has no method", "Name mfa blocks in mfa_methods.")
	case !some:
		return mistake(n.At, "the enforcement falls on nobody", "Name who: auth_methods, auth_method_types, identity_groups or identity_entities.")
	}
	return nil
}

func writeEnforcement(ctx context.Context, s *Session, c *Change) error {
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	// What the plan could not know, the id of a group that was to be made, is
	// known now.
	why, err := s.lockOut(ctx, c)
	if err != nil {
		return err
	}
	if why != "" && !s.Options.AllowLockout {
		return errors.New(why + "; " + wayPastLockOut)
	}
	_, err = s.Vault.Write(ctx, c.Object.Kind.Path(c.Object), body)
	return err
}

func reviewEnforcement(ctx context.Context, s *Session, c *Change) error {
	if err := reviewDead(ctx, s, c); err != nil {
		return err
	}
	return reviewLockOut(ctx, s, c)
}

func enforcementAccess(o *Object) []Access {
	out := append([]Access{
		{o.Kind.Path(o), []string{"create", "read", "update", "delete"}},
		{enforcementPath, []string{"list"}},
	}, referred(o)...)
	if len(o.texts("identity_group_ids")) > 0 {
		out = append(out, Access{slashed(groupByID, "+"), []string{"read"}}, Access{entityByID + "/+", []string{"read"}})
	}
	return out
}
