package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// mountFields are the settings that secrets engines and auth methods share.
// sys/mounts answers them below config; its tune endpoint would answer the
// effective lease times instead of those that were set.
func mountFields(auth bool) []*schema.Field {
	fields := []*schema.Field{
		{Name: "type", Immutable: true, Keep: true, Doc: "The type, which its label says already."},
		{Name: "description", Doc: "What it is for, in a line."},
		{Name: "default_lease_ttl", Type: schema.Duration, ReadAs: "config.default_lease_ttl", Aliases: []string{"default_lease_ttl_seconds"}, Doc: "Life of a lease or token; 0: the server's default."},
		{Name: "max_lease_ttl", Type: schema.Duration, ReadAs: "config.max_lease_ttl", Aliases: []string{"max_lease_ttl_seconds"}, Doc: "Longest life of a lease or token; 0: the server's default."},
		{Name: "audit_non_hmac_request_keys", Type: schema.Set, ReadAs: "config.audit_non_hmac_request_keys", Doc: "Request fields that the audit log shows in clear."},
		{Name: "audit_non_hmac_response_keys", Type: schema.Set, ReadAs: "config.audit_non_hmac_response_keys", Doc: "Answer fields that the audit log shows in clear."},
		{Name: "listing_visibility", OneOf: []string{"hidden", "unauth"}, ReadAs: "config.listing_visibility", Normal: hiddenIsDefault, Doc: "Whether it is listed without a token."},
		{Name: "passthrough_request_headers", Type: schema.Set, ReadAs: "config.passthrough_request_headers", Doc: "Request headers that the engine sees."},
		{Name: "allowed_response_headers", Type: schema.Set, ReadAs: "config.allowed_response_headers", Doc: "Headers that the engine may answer."},
		{Name: "options", Type: schema.Map, Keep: true, Doc: "Options of the type, as kv's version."},
		{Name: "local", Type: schema.Bool, Immutable: true, Doc: "Not replicated (Vault Enterprise)."},
		{Name: "seal_wrap", Type: schema.Bool, Immutable: true, Doc: "Wrapped by the seal too (Vault Enterprise)."},
	}
	if auth {
		return append(fields, &schema.Field{
			Name: "token_type", ReadAs: "config.token_type", Keep: true,
			OneOf: []string{"default-service", "default-batch", "service", "batch"}, Doc: "The type of the tokens it gives.",
		})
	}
	return append(fields,
		&schema.Field{Name: "external_entropy_access", Type: schema.Bool, Immutable: true, Doc: "Entropy from the seal (Vault Enterprise)."},
		&schema.Field{Name: "force_no_cache", Type: schema.Bool, ReadAs: "config.force_no_cache", Immutable: true, Doc: "No cache in front of its storage."},
	)
}

// hiddenIsDefault: Vault answers nothing where hidden was never said.
func hiddenIsDefault(v any) any {
	if v == "hidden" {
		return nil
	}
	return v
}

var mountKind = &Kind{
	Name: "mount", Stage: StageMount, Mounts: SecretsMount,
	Block: &schema.Block{
		Name: "mount", Labels: []string{"type", "path"}, Doc: "A secrets engine, and what is in it.",
		Fields: mountFields(false), Variants: mountTypes,
	},
	Path:     func(o *Object) string { return "sys/mounts/" + o.MountPath() },
	ListPath: func(*Object) string { return "sys/mounts" },
	Builtin:  []string{"cubbyhole", "identity", "sys", "agent-registry", recordMount, fingerprintMount},
	Prepare:  prepareMount, Read: readMount, Write: writeMount, List: listMounts,
	Delete: deleteMount, Access: mountAccess,
}

var authKind = &Kind{
	Name: "auth", Word: "mount", Stage: StageAuthMount, Mounts: AuthMount,
	Block: &schema.Block{
		Name: "auth", Labels: []string{"type", "path"}, Doc: "An auth method, and what is in it.",
		Fields: mountFields(true), Variants: authTypes,
	},
	Path:     func(o *Object) string { return "sys/" + o.MountPath() },
	ListPath: func(*Object) string { return "sys/auth" },
	Builtin:  []string{"token"},
	Prepare:  prepareMount, Read: readMount, Write: writeMount, List: listMounts,
	Access: mountAccess,
}

// prepareMount settles the type: kv-v2 is a kv with an option.
func prepareMount(o *Object, n *file.Node) file.Diagnostics {
	path := strings.Trim(o.Labels[1], "/")
	if o.Kind.Mounts == AuthMount {
		path = strings.TrimPrefix(path, "auth/")
	} else if first, _, _ := strings.Cut(path, "/"); slices.Contains([]string{"auth", "sys", "identity", "cubbyhole"}, first) {
		return mistake(n.At, "no secrets engine can be mounted at "+path, "What begins with "+first+"/ is Vault's own; an auth method is a block of its own, auth.")
	}
	o.Labels[1] = path
	if path == "" || strings.Contains("/"+path+"/", "//") {
		return file.Diagnostics{{Severity: file.Error, At: n.At, Summary: "a mount needs a path", Detail: `Its second label is the path, as in mount "kv" "secret".`}}
	}
	if o.Labels[0] == "kv-v2" {
		o.Labels[0] = "kv"
		options, _ := o.Values["options"].V.(map[string]any)
		options = copyOf(options)
		options["version"] = "2"
		o.Set("options", options)
	}
	o.Set("type", o.Labels[0])
	return nil
}

func readMount(ctx context.Context, s *Session, o *Object) (*State, error) {
	m, err := s.MountOf(ctx, o.MountPath())
	if err != nil || m == nil {
		return absent, err
	}
	return StateOf(o, m)
}

// writeMount mounts, or tunes what is mounted.
func writeMount(ctx context.Context, s *Session, c *Change) error {
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	path := c.Object.Kind.Path(c.Object)
	if c.Action != Create {
		_, err = s.Vault.Write(ctx, path+"/tune", body)
		return err
	}
	top := map[string]any{"config": body}
	for _, name := range []string{"type", "description", "options", "local", "seal_wrap", "external_entropy_access"} {
		if v, ok := body[name]; ok {
			top[name] = v
			delete(body, name)
		}
	}
	_, err = s.Vault.Write(ctx, path, top)
	return err
}

func listMounts(ctx context.Context, s *Session, k *Kind, _ *Object) ([]*Object, error) {
	all, err := s.view(ctx, k.ListPath(nil))
	if err != nil {
		return nil, err
	}
	var out []*Object
	for _, path := range sortedKeys(all) {
		m, _ := all[path].(map[string]any)
		path = strings.TrimSuffix(path, "/")
		if m != nil && !k.isBuiltin(path) {
			out = append(out, &Object{Kind: k, Labels: []string{textOf(m, "type"), path}})
		}
	}
	return out, nil
}

// goodbyes are what a type of mount needs before it is unmounted.
var goodbyes = map[string]func(ctx context.Context, s *Session, o *Object) error{
	"ai-keys": withdrawAIKeys,
	"transit": spareTransitKeys,
}

func deleteMount(ctx context.Context, s *Session, o *Object) error {
	if bye := goodbyes[o.Labels[0]]; bye != nil {
		if err := bye(ctx, s, o); err != nil {
			return err
		}
	}
	err := s.Vault.Delete(ctx, o.Kind.Path(o))
	if err != nil && says(err, "failed to revoke") {
		return fmt.Errorf("what the mount has issued is ended before it is unmounted, and cannot be: mend that, or give it up with vault lease revoke -force -prefix %s/: %w", o.MountPath(), err)
	}
	return err
}

func mountAccess(o *Object) []Access {
	path := o.Kind.Path(o)
	view, _, _ := strings.Cut(strings.TrimPrefix(path, "sys/"), "/")
	access := []Access{
		{"sys/" + view, []string{"read"}},
		{path, []string{"create", "update", "delete", "sudo"}},
		{path + "/tune", []string{"read", "update", "sudo"}},
	}
	if o.Kind.Mounts == SecretsMount && o.Labels[0] == "ai-keys" {
		access = append(access, withdrawAccess(o)...)
	}
	return access
}
