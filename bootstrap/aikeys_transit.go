package bootstrap

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// aikeysTransitKind is the transit key that seals what a mount stores, and the
// engine's login there. Where the file gives no credential the mount is wired:
// it gets a policy for that key alone, an AppRole of its own, and a secret-id
// that nobody else ever sees.
var aikeysTransitKind = &Kind{
	Name: "ai-keys transit", Word: "transit", Stage: StageAIKeysTransit,
	Block: &schema.Block{
		Name: "transit", Most: 1, Doc: `The transit key that seals everything the mount stores: key = "transit/ai-keys" does the rest.`,
		Fields: []*schema.Field{
			{Name: "key", Default: "ai-keys", Doc: `The transit key, with or without its mount: "transit/ai-keys".`},
			{Name: "mount", Default: "transit", Normal: withoutSlashes, Doc: "Mount path of the transit engine."},
			{Name: "address", Keep: true, Normal: trimmed, Check: checkEngineAddress, Doc: "Address of the Vault that has the key, as the engine reaches it; left out: as this program does."},
			{Name: "namespace", Normal: withoutSlashes, Doc: "Namespace of the transit engine (Vault Enterprise)."},
			{Name: "ca_cert", Normal: trimmed, Doc: "CA certificates (PEM) that the address is verified with; default: the system's."},
			{Name: "tls_server_name", Normal: trimmed, Doc: "Name that the address's certificate is for, if not the host name."},
			{Name: "auth_method", Default: "approle", OneOf: []string{"approle", "token", "jwt", "kubernetes"}, Doc: "How the engine logs in there."},
			{Name: "auth_mount", Normal: withoutSlashes, Doc: "Mount path of the auth method; default: the method's name."},
			{Name: "role_id", Doc: "approle: the role's id, where it is not made here."},
			{Name: "secret_id", Secrecy: schema.Secret, Doc: "approle: the secret id, where it is not made here."},
			{Name: "token", Secrecy: schema.Secret, Doc: "token: a token that the engine renews, but cannot replace."},
			{Name: "role", Normal: trimmed, Doc: "jwt and kubernetes: the role to log in with."},
			{Name: "jwt_file", Normal: trimmed, Doc: "jwt and kubernetes: file on the server that holds the token."},
			{Name: "data_key_ttl", Type: schema.Duration, Default: 300, Doc: "How long an unwrapped data key may stay in memory; 0: each use asks transit."},
			{Name: "timeout", Type: schema.Duration, Default: 5, Doc: "Longest time for one use of transit."},
			{Name: "bound_cidrs", Type: schema.Set, Local: true, Check: checkBlocks, Doc: "Where the engine logs in from; default: this machine alone, if address is a loopback address."},
		},
	},
	Path:    func(o *Object) string { return o.within("config", "transit") },
	Prepare: prepareAIKeysTransit, Derive: deriveWiring, Read: readAIKeysTransit, Review: reviewAIKeysTransit,
	Write: writeAIKeysTransit, Verify: verifyAIKeys, Access: aikeysTransitAccess,
}

// checkEngineAddress wants what the engine takes: a token and data keys cross it.
func checkEngineAddress(v any) error {
	text, _ := v.(string)
	u, err := url.Parse(text)
	if text == "" || err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopback(u)) {
		return nil
	}
	return errors.New("the engine takes https, or http to a loopback address: a token and data keys cross it")
}

func isLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// ownLogin are the fields that say how the engine logs in, where that is not made here.
var ownLogin = []string{"role_id", "secret_id", "token", "role", "jwt_file"}

func prepareAIKeysTransit(o *Object, n *file.Node) file.Diagnostics {
	method := cmp.Or(o.Text("auth_method"), "approle")
	if _, set := o.Value("auth_mount"); !set {
		o.Set("auth_mount", method)
	} else {
		v := o.Values["auth_mount"]
		v.V = strings.TrimPrefix(strings.Trim(o.Text("auth_mount"), "/"), "auth/")
		o.Values["auth_mount"] = v
	}
	if mount, key := path.Split(strings.Trim(o.Text("key"), "/")); mount != "" {
		v := o.Values["key"]
		if _, twice := o.Value("mount"); twice {
			return mistake(v.At, o.Name()+": key names a mount, and mount does too", "Keep one of them.")
		}
		o.Values["mount"] = file.Value{V: strings.TrimSuffix(mount, "/"), At: v.At}
		o.Values["key"] = file.Value{V: key, At: v.At}
	}
	own := given(o, ownLogin)
	_, bound := o.Value("bound_cidrs")
	switch {
	case method != "approle" && len(own) == 0:
		return mistake(n.At, fmt.Sprintf("%s: auth_method = %q needs its credential", o.Name(), method), "Give it, or leave auth_method out: then the login is made here.")
	case len(own) > 0 && bound:
		return mistake(o.Values["bound_cidrs"].At, o.Name()+": bound_cidrs is for a login that is made here", "Take it out, or "+strings.Join(own, ", ")+".")
	case len(own) == 0:
		o.Set("role_id", schema.Reference{Of: schema.RefRoleID, Name: o.Text("auth_mount") + "/role/" + wiringName(o)}.Token())
	}
	return nil
}

// wiringName is what the policy and the AppRole of a mount are called.
func wiringName(o *Object) string {
	name := "ai-keys-transit"
	if mount := o.MountPath(); mount != "ai-keys" {
		name = "ai-keys-" + strings.ReplaceAll(mount, "/", "-") + "-transit"
	}
	return strings.ToLower(name)
}

// transitKeyOf is the key that the file wants, and its mount.
func transitKeyOf(o *Object) (mount, key string) {
	mount, _ = withoutSlashes(o.Text("mount")).(string)
	return cmp.Or(mount, "transit"), cmp.Or(o.Text("key"), "ai-keys")
}

// isWired tells whether the login is made here.
func isWired(o *Object) bool {
	refs := schema.References(o.Values["role_id"].V)
	return len(refs) == 1 && refs[0].Of == schema.RefRoleID
}

// deriveWiring brings the key, and what the login needs.
func deriveWiring(o *Object) []*Object {
	mount, key := transitKeyOf(o)
	if o.Parent == nil || !isWired(o) {
		return nil
	}
	transit := &Object{Kind: o.Parent.Kind, Labels: []string{"transit", mount}, Loose: true, At: o.At}
	transit.Set("type", "transit")
	role := wiringRole(o)
	role.Parent.Set("type", "approle")
	return []*Object{
		newWiringPolicy(o), transit,
		{Kind: transitKeyKind, Parent: transit, Labels: []string{key}, Loose: true, At: o.At},
		role.Parent, role,
	}
}

// wiringRole is the AppRole that a mount logs in with. Its tokens are short,
// because the engine logs in anew when one is over.
func wiringRole(o *Object) *Object {
	auth := &Object{Kind: authKind, Labels: []string{"approle", o.Text("auth_mount")}, Loose: true, At: o.At}
	role := &Object{Kind: approleRoleKind, Parent: auth, Labels: []string{wiringName(o)}, At: o.At}
	role.Set("token_policies", []any{wiringName(o)})
	role.Set("token_ttl", "1h")
	role.Set("token_max_ttl", "24h")
	if bound := boundTo(o); len(bound) > 0 {
		role.Set("secret_id_bound_cidrs", bound)
		role.Set("token_bound_cidrs", bound)
	}
	return role
}

// boundTo are the blocks that the engine logs in from.
func boundTo(o *Object) []any {
	if v, set := o.Value("bound_cidrs"); set {
		f, _ := o.block().Field("bound_cidrs")
		blocks, _ := f.Canonical(v) // checked when the file was read
		list, _ := blocks.([]string)
		out := make([]any, len(list))
		for i, block := range list {
			out[i] = block
		}
		return out
	}
	u, err := url.Parse(o.Text("address"))
	if err != nil || !isLoopback(u) {
		return nil
	}
	ip, err := netip.ParseAddr(u.Hostname())
	switch {
	case err != nil: // localhost may be either
		return []any{"127.0.0.1/32", "::1/128"}
	case ip.Is4():
		return []any{"127.0.0.1/32"}
	}
	return []any{"::1/128"}
}

func aikeysTransitAccess(o *Object) []Access {
	out := append(statusAccess(o), Access{o.Kind.Path(o), []string{"create", "read", "update", "delete"}})
	if isWired(o) {
		out = append(out, secretIDAccess(wiringSecretID(o))...)
		out = append(out, Access{roleIDPath(wiringRole(o)), []string{"read"}})
	}
	return out
}
