package bootstrap

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

var quotaKind = &Kind{
	Name: "quota", Stage: StageQuota, FullReplace: true,
	Block: &schema.Block{
		Name: "quota", Labels: []string{"name"}, Doc: "How many requests a client may make (a rate limit).",
		Fields: []*schema.Field{
			{Name: "rate", Type: schema.Any, Required: true, Check: positive, Doc: "Requests in an interval; a fraction is possible."},
			{Name: "path", Normal: withoutSlashes, Doc: `The mount, as in "auth/okta", and what is in it; left out: everything.`},
			{Name: "role", Doc: "Logins of this role only; path is then an auth method with roles."},
			{Name: "interval", Type: schema.Duration, Default: 1, Doc: "How long the rate is counted."},
			{Name: "block_interval", Type: schema.Duration, Doc: "How long a client is refused after it went past the rate."},
			{Name: "inheritable", Type: schema.Bool, Doc: "In namespaces below too (Vault Enterprise); always true without a path."},
			{Name: "group_by", OneOf: []string{"ip", "none", "entity_then_ip", "entity_then_none"}, Default: "ip", Doc: "What one client is; other than ip: Vault Enterprise."},
			{Name: "secondary_rate", Type: schema.Any, Check: positive, Doc: "The rate for requests without an entity, where group_by begins with entity."},
		},
	},
	Path:     func(o *Object) string { return "sys/quotas/rate-limit/" + o.Key() },
	ListPath: func(*Object) string { return "sys/quotas/rate-limit" },
	Prepare:  prepareQuota, Write: writeQuota,
}

func positive(v any) error {
	switch v := v.(type) {
	case nil:
	case int64:
		if v > 0 {
			return nil
		}
	case float64:
		if v > 0 {
			return nil
		}
	}
	return errors.New("a number greater than 0 is wanted")
}

// withoutSlashes: Vault ends the path of a mount with a slash, and no other.
func withoutSlashes(v any) any {
	path, _ := v.(string)
	return strings.Trim(path, "/")
}

// leaveOutEmpty takes out what is set to nothing where Vault then takes
// something of its own.
func (o *Object) leaveOutEmpty(fields ...string) {
	for _, field := range fields {
		if !o.has(field) {
			delete(o.Values, field)
		}
	}
}

// quotaName is what Vault's path for quotas matches.
var quotaName = regexp.MustCompile(`^\w([\w.-]*\w)?$`)

func prepareQuota(o *Object, _ *file.Node) file.Diagnostics {
	if !quotaName.MatchString(o.Key()) {
		return mistake(o.At, "a quota cannot be named like this", "Vault takes letters, digits, _, - and . in a quota's name.")
	}
	o.leaveOutEmpty("interval", "group_by")
	switch path := withoutSlashes(o.Text("path")); path {
	case "auth":
		return mistake(o.Values["path"].At, "there is no quota for all of auth/", `Vault takes one mount, as in path = "auth/okta"; without a path the quota is for everything.`)
	case "":
		if v, set := o.Value("inheritable"); set && (v == false || v == "false") {
			return mistake(o.Values["inheritable"].At, "a quota for everything is always inheritable", "Remove inheritable, or give the quota a path.")
		}
		o.Set("inheritable", true)
	}
	// Vault takes the rate for both, and answers that.
	if rate, set := o.Values["rate"]; set && strings.HasPrefix(o.Text("group_by"), "entity") && !o.has("secondary_rate") {
		o.Values["secondary_rate"] = rate
	}
	return nil
}

// writeQuota makes a quota anew where its role changes: a write to one that is
// there leaves the role as it was.
func writeQuota(ctx context.Context, s *Session, c *Change) error {
	if c.Action == Update && slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return f.Field == "role" }) {
		if err := s.Vault.Delete(ctx, c.Object.Kind.Path(c.Object)); err != nil {
			return err
		}
	}
	return s.write(ctx, c)
}
