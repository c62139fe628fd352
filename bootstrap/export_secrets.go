package bootstrap

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// A declared is a secret block of an export.
type declared struct {
	name, env string
	// of says what it is for.
	of string
}

// declare declares the secret of a field, or of an entry in one, and returns
// what refers to it.
func (e *exporter) declare(x *exported, f *schema.Field, entry string) string {
	parts := []string{strings.TrimPrefix(x.MountPath(), "auth/")}
	if x.MountPath() == "" {
		parts[0] = x.Kind.Block.Name
	}
	if x.Kind.ListPath != nil && !x.isMount() {
		parts = append(parts, x.Key())
	}
	first := identifier(strings.Join(append(parts, f.Name, entry), "_"))
	name := first
	for n := 2; e.taken[name]; n++ {
		name = first + "_" + strconv.Itoa(n)
	}
	e.taken[name] = true
	env := strings.ToUpper(name)
	if strings.HasPrefix(env, "VAULT_") {
		env = "SECRET_" + env // Vault's own: VAULT_TOKEN is the operator's
	}
	of := x.Name() + ": " + f.Name
	if entry != "" {
		of += "." + entry
	}
	if f.Secrecy == schema.Sensitive {
		of += " (Vault shows it: if it is no secret, write it in the place of this one)"
	}
	e.secrets = append(e.secrets, declared{name, env, of})
	return schema.Reference{Of: schema.RefSecret, Name: name}.Token()
}

// identifier makes a name of a text: small letters, digits and single lines
// between them.
func identifier(text string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	name := strings.Join(words, "_")
	if name == "" || name[0] <= '9' {
		return "secret_" + name
	}
	return name
}

// hiddenFields declares the secrets that Vault does not return. Whether it has
// one it does not tell either: what is recorded of it does, or what else is set.
func (e *exporter) hiddenFields(ctx context.Context, x *exported) error {
	var hidden []*schema.Field
	for _, f := range x.fields() {
		if f.Secrecy == schema.Secret && !f.Local {
			hidden = append(hidden, f)
		}
	}
	if len(hidden) == 0 {
		return nil
	}
	entry, err := e.entry(ctx, x)
	if err != nil {
		return err
	}
	for _, f := range hidden {
		recorded := entry.Fingerprints[f.Name] != ""
		switch {
		case f.Type == schema.Bool:
			if err := e.hiddenSwitch(ctx, x, f, recorded); err != nil {
				return err
			}
		case f.Type != schema.String:
			if recorded {
				x.tell("Vault does not return " + f.Name + ": it has to be written into the file again")
			}
		case f.Required, recorded, slices.Contains(x.hidden, f.Name):
			x.Set(f.Name, e.declare(x, f, ""))
		}
	}
	if entry.Rotation == nil || !entry.Rotation.Done {
		return nil
	}
	if f, _ := x.block().Field("rotate_root"); f != nil {
		x.Set(f.Name, true)
		x.remarks = append(x.remarks, "Vault has replaced the credential: nobody else has it.")
	}
	return nil
}

// hiddenSwitch finds out from the fingerprint whether a switch is on, which
// Vault does not tell.
func (e *exporter) hiddenSwitch(ctx context.Context, x *exported, f *schema.Field, recorded bool) error {
	if !recorded {
		x.tell("Vault does not tell what " + f.Name + " is set to: an apply sets it to what the file says, or to false")
		return nil
	}
	entry, err := e.entry(ctx, x)
	if err != nil {
		return err
	}
	prints, err := e.s.fingerprints(ctx, []sample{{x.Object, f.Name, true}})
	switch {
	case vault.StatusOf(err) != 0:
		e.note("%s: it could not be found out what %s is set to: %v", x.Name(), f.Name, err)
	case err != nil:
		return err
	case prints[0] == entry.Fingerprints[f.Name]:
		x.Set(f.Name, true)
	}
	return nil
}

// entry is what is recorded of an object; nothing, if the token may not read it.
func (e *exporter) entry(ctx context.Context, x *exported) (*Entry, error) {
	entry, err := e.s.Entry(ctx, x.Object)
	if vault.StatusOf(err) == 403 {
		e.note("the token may not read %s/data/*: whether secrets are set there, and what was rotated, is not known", recordMount)
		return &Entry{}, nil
	}
	return entry, err
}
