package bootstrap

import (
	"context"
	"maps"
	"net/url"
	"strings"
)

// An exportHook is what an export has to know of a kind beyond its fields.
type exportHook struct {
	// before says which of several things of that name is meant.
	before func(ctx context.Context, e *exporter, x *exported) error
	// after brings the values into the form that a file has.
	after func(ctx context.Context, e *exporter, x *exported) error
}

// exporting are the kinds that are more than their fields.
var exporting = map[*Kind]exportHook{
	auditKind:              {after: exportAudit},
	pluginKind:             {before: exportVersion, after: exportPlugin},
	policyKind:             {after: exportPolicy},
	mountKind:              {after: exportMount},
	authKind:               {after: exportMount},
	transitKeyKind:         {after: tidy(tidyTransitKey)},
	awsRootKind:            {after: tidy(tidyAWSRoot)},
	databaseConnectionKind: {after: exportConnection},
	databaseStaticRoleKind: {after: tidy(tidyStaticRole)},
	oktaConfigKind:         {after: tidy(func(x *exported) { x.hidden = []string{"api_token"} })},
	jwtConfigKind:          {after: tidy(tidyJWTConfig)},
	jwtRoleKind:            {after: tidy(func(x *exported) { x.dropIf("role_type", x.Parent.Labels[0]) })},
	groupKind:              {after: tidy(tidyGroup)},
	groupAliasKind:         {after: tidy(func(x *exported) { x.Set("name", textOf(x.state.Answer, "name")) })},
	mfaKind:                {after: tidy(tidyMFA)},
	quotaKind:              {after: tidy(tidyQuota)},
	aikeysTransitKind:      {after: exportTransit},
	aikeysAccountKind:      {after: exportAccount},
	aikeysRoleKind:         {after: exportRole},
}

// tidy is a hook that looks at the values alone.
func tidy(f func(x *exported)) func(context.Context, *exporter, *exported) error {
	return func(_ context.Context, _ *exporter, x *exported) error {
		f(x)
		return nil
	}
}

// dropIf leaves out a field that says what is so anyway.
func (x *exported) dropIf(field, value string) {
	if x.Text(field) == value {
		delete(x.Values, field)
	}
}

// leave says that an object cannot stand in a file, and why.
func (x *exported) leave(why string) { x.without, x.Values = why, nil }

func exportMount(_ context.Context, _ *exporter, x *exported) error {
	x.dropIf("token_type", "default-service")
	types := x.Kind.Block.Variants
	options := stringsIn(x.state.Values["options"])
	if x.Labels[0] == "kv" {
		if options["version"] == "2" {
			x.Labels = []string{"kv-v2", x.Labels[1]}
		}
		delete(options, "version")
		x.tell("its entries are not exported: what is in them may be secret")
	} else if len(types[x.Labels[0]].Blocks) == 0 {
		x.tell("what is in a mount of type " + x.Labels[0] + " is not exported: a file does not describe it")
	}
	if delete(x.Values, "options"); len(options) > 0 {
		x.Set("options", options)
	}
	return nil
}

// stringsIn is a canonical map of strings that may be changed.
func stringsIn(v any) map[string]string {
	m, _ := v.(map[string]string)
	return maps.Clone(m)
}

func exportAudit(_ context.Context, _ *exporter, x *exported) error {
	options, _ := x.state.Answer["options"].(map[string]any)
	for _, name := range sortedKeys(options) {
		if f, _ := x.block().Field(name); f == nil {
			x.tell("a file does not know its option " + name)
		}
	}
	return nil
}

// exportVersion takes the version that is pinned, or that a mount runs; where
// there is none, the last.
func exportVersion(ctx context.Context, e *exporter, x *exported) error {
	entries, err := e.s.catalog(ctx, x.Labels[0], x.Key())
	if err != nil {
		return err
	}
	version, err := e.s.pin(ctx, x.Object)
	if err != nil {
		return err
	}
	if version == "" {
		mounts, err := e.s.mountsOf(ctx, x.Object)
		if err != nil {
			return err
		}
		for _, at := range sortedKeys(mounts) {
			m, _ := mounts[at].(map[string]any)
			if running := textOf(m, "running_plugin_version"); running != "" {
				version = running
			}
		}
	}
	if _, there := entries[version]; there && version != "" {
		x.Set("version", version)
	}
	return nil
}

func exportPlugin(ctx context.Context, e *exporter, x *exported) error {
	entries, err := e.s.catalog(ctx, x.Labels[0], x.Key())
	if err != nil {
		return err
	}
	delete(entries, textOf(x.state.Answer, "version"))
	for _, version := range sortedKeys(entries) {
		if version == "" {
			version = "one without a number"
		}
		x.tell("the catalog has another version, " + version + ", which is not exported: a file has one of each plugin")
	}
	return nil
}

func tidyTransitKey(x *exported) {
	if x.state.Values["type"] != "hmac" {
		delete(x.Values, "key_size")
	}
	if strings.HasPrefix(x.transitType(), "managed") {
		x.leave("Vault does not tell which managed key it stands for")
	}
}

func tidyAWSRoot(x *exported) {
	if x.has("access_key") {
		x.hidden = []string{"secret_key"}
	}
}

// exportConnection finds out what a connection logs in with, and never writes an
// address with a password in it.
func exportConnection(ctx context.Context, e *exporter, x *exported) error {
	answer, err := e.s.Vault.Read(ctx, x.Kind.Path(x.Object))
	if err != nil {
		return err
	}
	details, _ := answer["connection_details"].(map[string]any)
	for _, field := range []string{"connection_url", "url"} {
		address := textOf(details, field)
		switch {
		case address == "":
		case holdsPassword(address):
			x.leave("a password stands in its " + field + ", where everybody sees it who may read the connection: " +
				"write {{username}} and {{password}} there, and the account in username and password")
			return nil
		case odd([]string{address}) == "":
			x.Set(field, address)
		}
	}
	var more []string
	for _, name := range sortedKeys(details) {
		if f, _ := x.block().Field(name); f == nil && name != rotatedMark {
			more = append(more, name)
		}
	}
	if len(more) > 0 {
		x.tell("not exported, because they may be secrets: details = { " + strings.Join(more, ", ") + " }")
	}
	switch address := x.Text("connection_url"); {
	case strings.Contains(address, "{{password}}"), address == "" && x.has("username") && !x.has("auth_type"):
		x.hidden = []string{"password"}
	case x.has("public_key"):
		x.hidden = []string{"private_key"}
	}
	return nil
}

// holdsPassword tells whether an address has a password in it, or a parameter
// that is a secret by its name.
func holdsPassword(address string) bool {
	if plain, err := url.PathUnescape(address); err == nil && plain != address && holdsPassword(plain) {
		return true
	}
	for part := range strings.FieldsFuncSeq(address, func(r rune) bool { return strings.ContainsRune("?&; ", r) }) {
		name, value, _ := strings.Cut(part, "=")
		if value != "" && !strings.HasPrefix(value, "{{") && soundsSecret(name) {
			return true
		}
	}
	return literalPassword(address)
}

func tidyStaticRole(x *exported) {
	if !x.has("rotation_schedule") {
		delete(x.Values, "rotation_window")
	} else {
		delete(x.Values, "rotation_period")
	}
}

func tidyJWTConfig(x *exported) {
	if x.has("oidc_client_id") {
		x.hidden = append(x.hidden, "oidc_client_secret")
	}
	if settings, _ := x.Values["provider_config"].V.(map[string]any); settings["provider"] == "gsuite" {
		x.hidden = append(x.hidden, accountField)
	}
}

// tidyGroup writes the name as people have written it, which Vault keeps.
func tidyGroup(x *exported) {
	if name := x.Text("name"); name != "" {
		x.Labels = []string{name}
	}
	delete(x.Values, "name")
}

func tidyMFA(x *exported) {
	if textOf(x.state.Answer, "name") == "" {
		x.leave("it has no name, and by its name a file says which it means")
	}
	if x.Labels[0] == "pingid" {
		x.leave("Vault does not return its username_format, without which nobody is found")
	}
}

func tidyQuota(x *exported) {
	if !x.has("path") {
		delete(x.Values, "inheritable") // it always is then
	}
}
