package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// optionPrefix is where Vault answers the options of an audit device: all of
// them texts, as they were given, and only those that were given.
const optionPrefix = "options."

var auditKind = &Kind{
	Name: "audit", Stage: StageAudit,
	Block: &schema.Block{
		Name: "audit", Labels: []string{"type", "path"}, Doc: "An audit device: where Vault logs every request and answer.",
		Fields: []*schema.Field{
			{Name: "type", Keep: true, Doc: "The type, which its label says already."},
			{Name: "description", Doc: "What it is for, in a line."},
			{Name: "local", Type: schema.Bool, Doc: "Not replicated (Vault Enterprise)."},
			{Name: "options", Type: schema.Any, Local: true, Doc: "The options in one object, as Vault's API takes them; each can stand by itself as well."},
			auditSwitch("log_raw", "false", "Log in clear what is hashed otherwise: secrets, too."),
			auditSwitch("hmac_accessor", "true", "Hash the accessors of tokens."),
			auditSwitch("elide_list_responses", "false", "Of an answer to a list, log only how long it is."),
			auditSwitch("skip_test", "false", "Do not write a line to try the device when it is enabled."),
			auditOption("format", "json", "The form of a line: json or jsonx."),
			auditOption("prefix", "", "What every line begins with."),
			auditOption("filter", "", "Which requests are logged (Vault Enterprise)."),
			auditOption("exclude", "", "Which fields are left out (Vault Enterprise)."),
			auditSwitch("fallback", "false", "Log what no other device's filter takes (Vault Enterprise)."),
		},
		Variants: map[string]*schema.Block{
			"file": {Fields: []*schema.Field{
				auditOption("file_path", "", "The file on the server; stdout, or discard, are possible too."),
				{Name: "mode", ReadAs: optionPrefix + "mode", Normal: fileMode, Check: checkFileMode, Doc: `The file's mode, "0600" by default; "0000" leaves it as it is.`},
			}},
			"socket": {Fields: []*schema.Field{
				{Name: "address", ReadAs: optionPrefix + "address", Normal: plainAddress, Doc: "Where to connect to, as in 127.0.0.1:9090 or a path."},
				auditOption("socket_type", "tcp", "tcp, udp or unix."),
				auditOption("write_timeout", "2s", "How long a line may take."),
			}},
			"syslog": {Fields: []*schema.Field{
				auditOption("facility", "AUTH", "The facility that lines are logged with."),
				auditOption("tag", "vault", "The tag that lines are logged with."),
			}},
		},
	},
	Path:     func(o *Object) string { return "sys/audit/" + o.Key() },
	ListPath: func(*Object) string { return "sys/audit" },
	Prepare:  prepareAudit, Read: readAudit, Write: writeAudit, Delete: deleteAudit, List: listAudit,
	Review: reviewAudit,
	Access: func(o *Object) []Access {
		return []Access{
			{"sys/audit", []string{"read", "sudo"}},
			{o.Kind.Path(o), []string{"create", "update", "delete", "sudo"}},
		}
	},
}

// auditOption is an option; what says the default is what says nothing.
func auditOption(name, byDefault, doc string) *schema.Field {
	return &schema.Field{Name: name, ReadAs: optionPrefix + name, Doc: doc, Normal: func(v any) any {
		if v == byDefault {
			return nil
		}
		return v
	}}
}

// auditSwitch is an option that is true or false. It is a text all the same: a
// switch that is on by default is not off when nothing is said.
func auditSwitch(name, byDefault, doc string) *schema.Field {
	f := auditOption(name, byDefault, doc)
	plain := f.Normal
	f.Normal = func(v any) any {
		if on, err := strconv.ParseBool(fmt.Sprint(v)); err == nil {
			v = strconv.FormatBool(on)
		}
		return plain(v)
	}
	f.Check = func(v any) error {
		if v != nil && v != "true" && v != "false" {
			return errors.New("true or false is wanted")
		}
		return nil
	}
	return f
}

func fileMode(v any) any {
	mode, err := strconv.ParseUint(fmt.Sprint(v), 8, 32)
	switch {
	case err != nil:
		return v
	case mode == 0o600:
		return nil
	}
	return fmt.Sprintf("%04o", mode)
}

func checkFileMode(v any) error {
	if v == nil {
		return nil
	}
	mode, err := strconv.ParseUint(fmt.Sprint(v), 8, 32)
	if err != nil || mode&^0o666 != 0 {
		return errors.New(`a file's mode is wanted, in octal and without the right to execute, as in "0640"`)
	}
	return nil
}

// plainAddress writes an IPv6 address as Vault stores it.
func plainAddress(v any) any {
	if at, err := netip.ParseAddrPort(fmt.Sprint(v)); err == nil {
		return at.String()
	}
	return v
}

// prepareAudit takes the options out of their object, if they are in one.
func prepareAudit(o *Object, n *file.Node) file.Diagnostics {
	var diags file.Diagnostics
	wrong := func(at file.Position, what, out string) {
		diags = append(diags, file.Diagnostic{Severity: file.Error, At: at, Summary: o.Name() + ": " + what, Detail: out})
	}
	o.Labels[1] = strings.Trim(o.Labels[1], "/")
	o.Set("type", o.Labels[0])
	all := o.Values["options"]
	delete(o.Values, "options")
	options, ok := all.V.(map[string]any)
	if all.V != nil && !ok {
		wrong(all.At, "options are an object", "Write options = { … }, or each option by itself.")
	}
	for _, name := range sortedKeys(options) {
		f, _ := o.block().Field(name)
		_, twice := o.Values[name]
		switch {
		case f == nil || !strings.HasPrefix(f.ReadAs, optionPrefix):
			wrong(all.At, fmt.Sprintf("%q is no option of this type", name), "These are: "+quotedList(auditOptions(o))+".")
		case twice:
			wrong(all.At, name+" is given twice", "Keep it in options or beside them.")
		default:
			o.Values[name] = file.Value{V: options[name], At: all.At}
			if c, err := f.Canonical(options[name]); err != nil || f.Check != nil && f.Check(c) != nil {
				wrong(all.At, name+": a value that is not possible", f.Doc)
			}
		}
	}
	for of, needed := range map[string]string{"file": "file_path", "socket": "address"} {
		if _, given := o.Values[needed]; of == o.Labels[0] && !given {
			wrong(n.At, needed+" is missing", "A device of this type cannot do without it.")
		}
	}
	return diags
}

func auditOptions(o *Object) []string {
	var names []string
	for _, f := range o.fields() {
		if strings.HasPrefix(f.ReadAs, optionPrefix) {
			names = append(names, f.Name)
		}
	}
	return names
}

func readAudit(ctx context.Context, s *Session, o *Object) (*State, error) {
	m, err := s.auditDevice(ctx, o)
	if err != nil || m == nil {
		return absent, err
	}
	return StateOf(o, m)
}

// auditDevice is the device at an object's path, of whatever type; nil if there
// is none.
func (s *Session) auditDevice(ctx context.Context, o *Object) (map[string]any, error) {
	all, err := s.view(ctx, "sys/audit")
	if err != nil {
		return nil, err
	}
	m, _ := all[o.Key()+"/"].(map[string]any)
	return m, nil
}

func reviewAudit(_ context.Context, _ *Session, c *Change) error {
	if c.State.Exists && len(c.Fields) > 0 {
		c.Notes = append(c.Notes, "Vault cannot change an audit device: it is disabled and enabled again. There is a gap in the audit log, and hashes before it do not match those after it")
	}
	for _, f := range c.Fields {
		if f.Field == "log_raw" && f.New == "true" {
			c.Notes = append(c.Notes, "log_raw: the audit log will hold secrets in clear")
		}
	}
	return nil
}

// writeAudit enables a device. One that is there has to be disabled first: two
// cannot share a path, nor a file.
func writeAudit(ctx context.Context, s *Session, c *Change) error {
	options := make(map[string]any)
	body := map[string]any{"options": options}
	for _, f := range c.Object.fields() {
		v, set := c.Object.Value(f.Name)
		if !set || f.Local {
			continue
		}
		sent, err := s.Sent(ctx, c.Object, f, v)
		if err != nil {
			return err
		}
		if strings.HasPrefix(f.ReadAs, optionPrefix) {
			options[f.Name] = sent
		} else {
			body[f.Name] = sent
		}
	}
	path := c.Object.Kind.Path(c.Object)
	if c.State.Exists {
		if err := s.disableAudit(ctx, c.Object); err != nil {
			return err
		}
	}
	_, err := s.Vault.Write(ctx, path, body)
	if err == nil || !c.State.Exists {
		return err
	}
	return s.restoreAudit(ctx, c, err)
}

// restoreTime is how long it may take to find out about a device and to enable
// it again, also after the operator has ended everything: without it Vault may
// log nothing.
const restoreTime = 15 * time.Second

// disableAudit disables a device; where the answer was lost it looks.
func (s *Session) disableAudit(ctx context.Context, o *Object) error {
	err := s.Vault.Delete(ctx, o.Kind.Path(o))
	if !errors.Is(err, vault.ErrUnknownOutcome) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
	defer cancel()
	s.forget()
	if now, unseen := s.auditDevice(ctx, o); unseen != nil || now != nil {
		return errors.Join(err, unseen)
	}
	return nil
}

// restoreAudit enables a device as it was before, after it could not be enabled
// as the file says. Where the answer was lost it may have been.
func (s *Session) restoreAudit(ctx context.Context, c *Change, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
	defer cancel()
	path := c.Object.Kind.Path(c.Object)
	if errors.Is(err, vault.ErrUnknownOutcome) {
		s.forget()
		now, unseen := s.auditDevice(ctx, c.Object)
		switch {
		case unseen != nil:
			return fmt.Errorf("the device was disabled, and whether it is enabled again is not known (look: vault audit list): %w", errors.Join(err, unseen))
		case now != nil:
			return nil // what it is like is compared next
		}
	}
	former := make(map[string]any)
	for _, name := range []string{"type", "description", "local", "options"} {
		former[name] = c.State.Answer[name]
	}
	if _, again := s.Vault.Write(ctx, path, former); again != nil {
		return fmt.Errorf("the device is disabled, and could be enabled neither as the file says (%w) nor as it was before (%w)", err, again)
	}
	return fmt.Errorf("the device is enabled as it was before, because it could not be as the file says: %w", err)
}

// deleteAudit leaves alone a device of another type that has taken the path
// since it was seen there.
func deleteAudit(ctx context.Context, s *Session, o *Object) error {
	m, err := s.auditDevice(ctx, o)
	if err != nil || m == nil || textOf(m, "type") != o.Labels[0] {
		return err
	}
	return s.Vault.Delete(ctx, o.Kind.Path(o))
}

// noteSilence adds to the deletions of a plan that nothing is logged after them.
func (s *Session) noteSilence(ctx context.Context, changes []*Change) error {
	silent, err := s.silences(ctx, changes)
	if err != nil || !silent {
		return err
	}
	for _, c := range changes {
		if c.Object.Kind == auditKind {
			c.Notes = append(c.Notes, "no audit device is left: from then on Vault logs no request")
		}
	}
	return nil
}

func listAudit(ctx context.Context, s *Session, k *Kind, _ *Object) ([]*Object, error) {
	all, err := s.view(ctx, k.ListPath(nil))
	if err != nil {
		return nil, err
	}
	var out []*Object
	for _, path := range sortedKeys(all) {
		if m, ok := all[path].(map[string]any); ok {
			out = append(out, &Object{Kind: k, Labels: []string{textOf(m, "type"), strings.TrimSuffix(path, "/")}})
		}
	}
	return out, nil
}
