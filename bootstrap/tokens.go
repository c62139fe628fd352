package bootstrap

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// tokenFields are the settings of the tokens that an auth method gives, which
// every method has under the same names. The aliases are Vault's own names from
// before 1.2, which it still takes and which other tools still write.
func tokenFields() []*schema.Field {
	return []*schema.Field{
		{Name: "token_ttl", Type: schema.Duration, Aliases: []string{"ttl"}, Doc: "First life of a token; 0: the mount's default."},
		{Name: "token_max_ttl", Type: schema.Duration, Aliases: []string{"max_ttl"}, Doc: "Longest life of a token with its renewals; 0: the mount's limit."},
		{Name: "token_policies", Type: schema.Set, Lower: true, Names: "policy", Aliases: []string{"policies"}, Doc: "Policies of every token."},
		{
			Name: "token_bound_cidrs", Type: schema.Set, Normal: bareHosts, Check: checkAddresses, Aliases: []string{"bound_cidrs"},
			Doc: "Addresses and blocks from which a token can be used.",
		},
		{Name: "token_explicit_max_ttl", Type: schema.Duration, Doc: "A limit that holds although the mount's is longer; 0: none."},
		{Name: "token_no_default_policy", Type: schema.Bool, Doc: "Tokens do not get the policy default."},
		{Name: "token_num_uses", Type: schema.Int, Aliases: []string{"num_uses"}, Doc: "How often a token can be used; 0: any number."},
		{Name: "token_period", Type: schema.Duration, Aliases: []string{"period"}, Doc: "Tokens can be renewed for ever, each time for so long; 0: no."},
		{Name: "token_type", Default: "default", OneOf: []string{"default", "service", "batch"}, Doc: "service, batch, or what the mount says."},
		{Name: "alias_metadata", Type: schema.Map, Doc: "What the entity's alias carries (Vault Enterprise)."},
	}
}

// bareHosts writes blocks of one address without their length, and addresses
// of IPv6 in one form, as Vault answers them.
func bareHosts(v any) any {
	list, _ := v.([]string)
	out := make([]string, 0, len(list))
	for _, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			text = p.String()
			if p.IsSingleIP() {
				text = p.Addr().String()
			}
		} else if a, err := netip.ParseAddr(text); err == nil {
			text = a.String()
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// checkAddresses wants addresses and blocks.
func checkAddresses(v any) error {
	list, _ := v.([]string)
	for _, text := range list {
		if _, err := netip.ParseAddr(text); err == nil {
			continue
		}
		if _, err := netip.ParsePrefix(text); err != nil {
			return fmt.Errorf("%q is no address and no block; one is written 10.1.2.3, the other 10.0.0.0/8", text)
		}
	}
	return nil
}

// checkBlocks wants blocks alone: for one address Vault wants its length too.
func checkBlocks(v any) error {
	list, _ := v.([]string)
	for _, text := range list {
		if _, err := netip.ParsePrefix(text); err == nil {
			continue
		}
		if a, err := netip.ParseAddr(text); err == nil {
			return fmt.Errorf("%q is no block; write %s/%d", text, a, a.BitLen())
		}
		return fmt.Errorf("%q is no block; one is written 10.0.0.0/8", text)
	}
	return nil
}

// checkTokens finds settings that Vault would refuse together.
func checkTokens(o *Object) file.Diagnostics {
	var found file.Diagnostics
	ttl, longest := amount(o, "token_ttl"), amount(o, "token_max_ttl")
	if longest > 0 && ttl > longest {
		found = append(found, mistake(o.Values["token_ttl"].At, "token_ttl is longer than token_max_ttl", "Vault refuses that: make one of them fit.")...)
	}
	if o.Text("token_type") != "batch" {
		return found
	}
	for _, name := range []string{"token_period", "token_num_uses"} {
		if amount(o, name) != 0 {
			found = append(found, mistake(o.Values[name].At, name+" cannot be with batch tokens", `They are neither renewed nor counted: take the field out, or write token_type = "service".`)...)
		}
	}
	return found
}

// amount is a field's whole number or seconds; 0 if it has none that is known.
func amount(o *Object, name string) int64 {
	v, set := o.Value(name)
	if !set || v == nil {
		return 0
	}
	n, err := schema.Seconds(v)
	if err != nil {
		return 0 // it holds a reference
	}
	return n
}

// has tells whether the file gives a field a value that is not empty.
func (o *Object) has(name string) bool {
	v, set := o.Value(name)
	if !set {
		return false
	}
	f, _ := o.block().Field(name)
	c, err := f.Canonical(v)
	return err != nil || c != nil
}

// plainName is what Vault takes for the name of a role.
var plainName = regexp.MustCompile(`^\w(?:[\w.-]*\w)?$`)

// prepareRoleName brings a role's name to the form in which Vault keeps it.
func prepareRoleName(o *Object, n *file.Node) file.Diagnostics {
	last := len(o.Labels) - 1
	o.Labels[last] = strings.ToLower(o.Labels[last])
	if !plainName.MatchString(o.Key()) {
		return mistake(n.At, "a role cannot have this name", "Vault takes letters, digits, and within the name . - and _.")
	}
	return nil
}

// within names what an object's own paths begin with.
func (o *Object) within(parts ...string) string {
	return slashed(append([]string{o.MountPath()}, parts...)...)
}

// configAccess is for settings that are written and read, and go with their
// mount.
func configAccess(o *Object) []Access {
	return []Access{{o.Kind.Path(o), []string{"create", "read", "update"}}}
}
