package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A Check is a proof by use that the file asks for, because it leaves a trace
// outside Vault: a database account, an IAM user, a key at a provider, a line
// in somebody's login history.
//
// What a check makes, it takes away again, also when it fails or is
// interrupted. Should the process be killed in between, the credential ends
// with its lease and the token with its time; a short time is asked for where
// that is possible, and elsewhere it is the role's.
type Check struct {
	Labels []string
	Values map[string]file.Value
	At     file.Position
}

var checkBlock = &schema.Block{
	Name: "check", Labels: []string{"type", "target"}, Doc: "A proof by use, made after an apply and by verify.",
	Variants: checkVariants(),
}

// A checkType is one way to prove something.
type checkType struct {
	doc    string
	fields []*schema.Field
	// mounts are the types of mounts that it is for; auth says of which kind.
	// None: its target is a path like any other.
	mounts []string
	auth   bool
	// kinds are what the rest of the target names, if the file has it; fixed:
	// nobody else makes such things, so a name in no file is likely wrong.
	kinds []*Kind
	fixed bool

	access func(t *target) []Access
	// run makes the proof and says what was done. The error says why it failed,
	// or is an [untriedError].
	run func(ctx context.Context, s *Session, t *target) (string, error)
}

// checkTypes are the types of checks.
var checkTypes = map[string]*checkType{
	"database": {
		doc: "An account is issued and taken away again; of a static role, the password is read.", mounts: []string{"database"},
		kinds: []*Kind{databaseRoleKind, databaseStaticRoleKind}, fixed: true, access: loanAccess, run: proveDatabase,
	},
	"aws": {
		doc: "A credential is issued and taken away again, as far as AWS can do that; of a static role, the access key is read.", mounts: []string{"aws"},
		kinds: []*Kind{awsRoleKind, awsStaticRoleKind}, fixed: true, access: loanAccess, run: proveAWS,
	},
	"ai-keys": {
		doc: "A key is issued and withdrawn again; of a static role, the key is read.", mounts: []string{"ai-keys"},
		kinds: []*Kind{aikeysRoleKind}, fixed: true, access: loanAccess, run: proveAIKeys,
	},
	"transit": {
		doc: "A random value goes there and back through a key, as it does for each key of the file without a check.", mounts: []string{"transit"},
		kinds: []*Kind{transitKeyKind}, fixed: true, access: transitCheckAccess, run: proveTransit,
	},
	"kv": {
		doc: "An entry is there, and what it has to have is not empty.", mounts: []string{"kv"},
		fields: []*schema.Field{fieldsField}, kinds: []*Kind{kvDataKind}, access: kvCheckAccess, run: proveKV,
	},
	"read": {
		doc: "A path can be read, and what it has to answer is not empty.", fields: []*schema.Field{fieldsField},
		access: loanAccess, run: proveRead,
	},
	"okta": {
		doc: "Somebody logs in with a password.", mounts: []string{"okta"}, auth: true,
		fields: append([]*schema.Field{
			{Name: "password", Required: true, Secrecy: schema.Secret, Doc: "The password of an account that is there for this."},
		}, loginFields...),
		access: loginAccess, run: proveOkta,
	},
	"jwt": {
		doc: "Somebody logs in with a token of the issuer.", mounts: []string{"jwt", "oidc"}, auth: true,
		fields: append([]*schema.Field{
			{Name: "token", Required: true, Secrecy: schema.Secret, Aliases: []string{"jwt"}, Doc: "A token of the issuer."},
		}, loginFields...),
		kinds: []*Kind{jwtRoleKind}, fixed: true, access: loginAccess, run: proveJWT,
	},
	"approle": {
		doc: "A machine logs in, with a secret-id for this one login.", mounts: []string{"approle"}, auth: true,
		fields: loginFields, kinds: []*Kind{approleRoleKind}, fixed: true, access: approleCheckAccess, run: proveAppRole,
	},
}

func checkVariants() map[string]*schema.Block {
	out := make(map[string]*schema.Block, len(checkTypes))
	for name, t := range checkTypes {
		out[name] = &schema.Block{Doc: t.doc, Fields: t.fields}
	}
	return out
}

func newCheck(n *file.Node) *Check { return &Check{Labels: n.Labels, Values: n.Values, At: n.At} }

// Name tells the check from every other.
func (c *Check) Name() string { return "check " + strings.Join(c.Labels, " ") }

// A target is what a check is about, as far as the file tells.
type target struct {
	*Check
	typ *checkType
	// mount is the path of the mount, as [Object.MountPath] has it, and name what
	// is meant in it.
	mount, name string
	// in and object are those of the file; nil if it has none.
	in, object *Object
}

// about finds what the check is about. A mount's path may have slashes, and so
// may the name of an entry: the file's mounts tell where one ends, and without
// one of them the last slash does, or for entries the first.
func (c *Check) about(objects []*Object) *target {
	typ := checkTypes[c.Labels[0]]
	t := &target{Check: c, typ: typ}
	path := strings.Trim(c.Labels[1], "/")
	if typ.auth {
		path = "auth/" + strings.TrimPrefix(path, "auth/")
	}
	for _, o := range objects {
		if o.isMount() && strings.HasPrefix(path, o.MountPath()+"/") && len(o.MountPath()) > len(t.mount) {
			t.in, t.mount = o, o.MountPath()
		}
	}
	if t.in == nil {
		at := strings.LastIndexByte(path, '/')
		if slices.Contains(typ.kinds, kvDataKind) {
			at = strings.IndexByte(path, '/')
		}
		t.mount = path[:max(at, 0)]
	}
	t.name = strings.Trim(strings.TrimPrefix(path, t.mount), "/")
	for _, o := range objects {
		if slices.Contains(typ.kinds, o.Kind) && o.MountPath() == t.mount && strings.EqualFold(o.Key(), t.name) {
			t.object, t.name = o, o.Key()
		}
	}
	return t
}

// settleChecks finds checks that cannot be right, and those that only the
// server can tell about.
func settleChecks(checks []*Check, objects []*Object) file.Diagnostics {
	var found file.Diagnostics
	warn := func(c *Check, what, detail string) {
		found = append(found, file.Diagnostic{Severity: file.Warning, At: c.At, Summary: c.Name() + ": " + what, Detail: detail})
	}
	for _, c := range checks {
		t := c.about(objects)
		switch typ := t.typ; {
		case typ.mounts == nil:
		case t.mount == "" || t.mount == "auth" || t.name == "":
			found = append(found, mistake(c.At, c.Name()+": the target is no mount with a name", `It is the mount's path and the name of what is in it, as in check "database" "database/app".`)...)
		case t.in == nil:
			warn(c, "there is no mount "+t.mount+" in this file", "It has to be on the server already, or the check fails.")
		case !slices.Contains(typ.mounts, t.in.Labels[0]):
			found = append(found, mistake(c.At, fmt.Sprintf("%s: %s is a mount of type %s", c.Name(), t.mount, t.in.Labels[0]), "The check's type has to fit.")...)
		case typ.fixed && t.object == nil:
			warn(c, fmt.Sprintf("%s has no %s in this file", t.in.Name(), t.name), "It has to be on the server already, or the check fails.")
		}
	}
	return found
}

// access is what the check needs.
func (c *Check) access(objects []*Object) []Access {
	t := c.about(objects)
	return t.typ.access(t)
}

// concerns tells whether a check is about what some objects are in, or are.
func (t *target) concerns(objects []*Object) bool {
	return slices.ContainsFunc(objects, func(o *Object) bool { return t.mount != "" && o.MountPath() == t.mount })
}

// text is a field's string with its secrets in it.
func (t *target) text(ctx context.Context, s *Session, field string) (string, error) {
	v, unknown, err := s.Resolve(ctx, t.Values[field].V)
	if err != nil {
		return "", err
	}
	if len(unknown) > 0 {
		why := s.Secrets.Why(unknown[0].Name)
		return "", untried(fmt.Sprintf("the secret %q was not read: %v", unknown[0].Name, cmp.Or(why, errors.New("it is not there"))))
	}
	text, _ := v.(string)
	return text, nil
}

// texts is a field's list of strings.
func (t *target) texts(field string) []string {
	return (&Object{Values: t.Values}).texts(field)
}

// is tells whether a field is true.
func (t *target) is(field string) bool {
	f := schema.Field{Type: schema.Bool}
	c, _ := f.Canonical(t.Values[field].V) // checked when the file was read
	return c == true
}

// An untriedError says why a proof was not tried, which is no failure.
type untriedError struct{ why string }

func (e *untriedError) Error() string { return e.why }

func untried(why string) error { return &untriedError{why} }
