package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// A provider is what the engine on the server says of one: it may be of another
// version than this program.
type provider struct {
	name   string
	answer map[string]any
}

// readIn reads something in a mount; nil if there is nothing, or no
// mount yet.
func (s *Session) readIn(ctx context.Context, mount string, parts ...string) (map[string]any, error) {
	m, err := s.MountOf(ctx, mount)
	if err != nil || m == nil {
		return nil, err
	}
	answer, err := s.Vault.Read(ctx, slashed(append([]string{mount}, parts...)...))
	if vault.IsAbsentMount(err) {
		return nil, nil
	}
	return answer, err
}

// providerOf asks the engine about a provider; nil if the engine is not there
// yet to be asked.
func (s *Session) providerOf(ctx context.Context, o *Object, name string) (*provider, error) {
	m, err := s.MountOf(ctx, o.MountPath())
	if err != nil || m == nil {
		return nil, err
	}
	answer, err := s.readIn(ctx, o.MountPath(), "providers", name)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return nil, fmt.Errorf("%s: the engine has no provider %q: vault list %s/providers", o.At, name, o.MountPath())
	}
	return &provider{name, answer}, nil
}

// review checks the provider's own fields before anything is written, and
// finds those that were set on the server and are not in the file.
func (p *provider) review(c *Change, of string) error {
	o := c.Object
	fields, _ := p.answer[of].(map[string]any)
	for _, name := range sortedKeys(o.Values) {
		known, _ := o.Kind.Block.Field(name)
		_, takes := fields[name].(map[string]any)
		secret := known != nil && known.Secrecy == schema.Secret
		if !takes && (known == nil || secret) {
			return fmt.Errorf("%s: %s is no field of provider %s, which takes %s", o.Values[name].At, name, p.name, strings.Join(sortedKeys(fields), ", "))
		}
	}
	for _, name := range sortedKeys(fields) {
		f, _ := fields[name].(map[string]any)
		_, set := o.Value(name)
		switch {
		case !set && f["required"] == true:
			return fmt.Errorf("%s: %s is missing: %s", o.At, name, textOf(f, "description"))
		case f["secret"] == true:
		case set && f["fixed"] == true && c.State.Exists:
			for i := range c.Fields {
				c.Fields[i].Immutable = c.Fields[i].Immutable || c.Fields[i].Field == name
			}
		case !set && f["fixed"] != true:
			leftOutOf(c, name, f["default"])
		}
	}
	return nil
}

// leftOutOf adds that a provider's field goes back to its default.
func leftOutOf(c *Change, name string, byDefault any) {
	have, err := providerRest.Canonical(c.State.Answer[name])
	want, werr := providerRest.Canonical(byDefault)
	if !c.State.Exists || err != nil || werr != nil || fmt.Sprint(have) == fmt.Sprint(want) {
		return
	}
	c.Fields = append(c.Fields, FieldChange{Field: name, Old: have, New: want, Why: "not in the file: back to the provider's default"})
}

// resets adds to a request what goes back to a provider's default.
func resets(body map[string]any, c *Change) {
	known := c.Object.fields()
	for _, f := range c.Fields {
		if slices.ContainsFunc(known, func(k *schema.Field) bool { return k.Name == f.Field }) {
			continue
		}
		body[f.Field] = f.New
		if f.New == nil {
			body[f.Field] = ""
		}
	}
}
