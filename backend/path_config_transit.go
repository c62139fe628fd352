package backend

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
)

// transitEntry is stored at "transit"; owner: this file.
type transitEntry struct {
	envelope.Settings

	Version int `json:"version"`
}

func pathsConfigTransit(b *Backend) []*framework.Path {
	answer := map[string]*framework.FieldSchema{
		"address":         text("Address of the Vault whose transit engine wraps the data keys; https, or http on loopback."),
		"namespace":       text("Namespace of the transit engine (Vault Enterprise)."),
		"ca_cert":         text("CA certificates (PEM) that the address is verified with; default: the system's."),
		"tls_server_name": text("Name that the address's certificate is for, if not the host name."),
		"mount":           {Type: framework.TypeString, Default: "transit", Description: "Mount path of the transit engine."},
		"key":             {Type: framework.TypeString, Default: "ai-keys", Description: "Name of the transit key."},
		"auth_method":     {Type: framework.TypeString, AllowedValues: []any{"approle", "token", "jwt", "kubernetes"}, Description: "How the engine logs in there."},
		"auth_mount":      text("Mount path of the auth method; default: the method's name."),
		"role_id":         text("approle: the role's id."),
		"role":            text("jwt and kubernetes: the role to log in with."),
		"jwt_file":        text("jwt and kubernetes: file on the server that holds the token, read at each login."),
		"data_key_ttl":    {Type: framework.TypeDurationSecond, Default: 300, Description: "How long an unwrapped data key may stay in memory; 0: each use asks transit."},
		"timeout":         {Type: framework.TypeDurationSecond, Default: 5, Description: "Longest time for one use of transit."},
	}
	fields := maps.Clone(answer)
	fields["secret_id"] = secretText("approle: the secret id. Never returned.")
	fields["token"] = secretText("token: a token that the engine renews, but cannot replace. Never returned.")
	fields["cas"] = casField
	answer["version"] = number("Version of these settings, for cas.")
	return []*framework.Path{{
		Pattern: "config/transit",
		Fields:  fields,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   &framework.PathOperation{Callback: b.readTransit, Summary: "Read how transit is reached.", Responses: responds("The settings, without credentials.", answer)},
			logical.UpdateOperation: forwarded(b.writeTransit, "Set how transit is reached, after a proven round trip.", done("Proven and saved.")),
			logical.DeleteOperation: forwarded(b.deleteTransit, "Forget how transit is reached, if nothing is sealed with it.", done("Deleted.")),
		},
		HelpSynopsis: "The transit key that seals everything this mount stores.",
		HelpDescription: `
The engine needs a login of its own, with a policy of three lines:

  path "transit/datakey/plaintext/ai-keys" { capabilities = ["update"] }
  path "transit/decrypt/ai-keys"           { capabilities = ["update"] }
  path "transit/rewrap/ai-keys"            { capabilities = ["update"] }

A write logs in and makes a full round trip before anything is saved. Pointing it
at another key first moves the data keys there; the old key must still answer for
that moment. Deleting it is refused while something is sealed with it.
The credential given here is protected by Vault's barrier alone.
`,
	}}
}

func (b *Backend) readTransit(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	t, err := load[transitEntry](ctx, req.Storage, transitPath)
	if err != nil || t == nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{
		"address":         t.Address,
		"namespace":       t.Namespace,
		"ca_cert":         t.CACert,
		"tls_server_name": t.TLSServerName,
		"mount":           t.Mount,
		"key":             t.Key,
		"auth_method":     t.AuthMethod,
		"auth_mount":      t.AuthMount,
		"role_id":         t.RoleID,
		"role":            t.Role,
		"jwt_file":        t.JWTFile,
		"data_key_ttl":    int64(t.DataKeyTTL.Seconds()),
		"timeout":         int64(t.Timeout.Seconds()),
		"version":         t.Version,
	}}, nil
}

// writeTransit proves the new settings, moves the data keys there if they
// belong elsewhere, and only then saves. Whatever settings a crash leaves in
// storage can open every data key.
func (b *Backend) writeTransit(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if _, err := b.settings(ctx, req.Storage); err != nil {
		return nil, err
	}
	b.configMu.Lock()
	defer b.configMu.Unlock()
	old, err := load[transitEntry](ctx, req.Storage, transitPath)
	if err != nil {
		return nil, err
	}
	fresh := transitEntry{Settings: envelope.Settings{
		Mount: "transit", Key: "ai-keys", AuthMethod: envelope.AuthAppRole,
		DataKeyTTL: 5 * time.Minute, Timeout: 5 * time.Second,
	}}
	if old != nil {
		fresh = *old
	}
	if err := checkCAS(data, fresh.Version, "config/transit"); err != nil {
		return nil, err
	}
	fresh.Version++
	takeTransitFields(data, &fresh.Settings)
	if err := fresh.Validate(); err != nil {
		return nil, invalidf("%w", err)
	}
	if err := b.keyring.Prove(ctx, &fresh.Settings); err != nil {
		return nil, notAccepted(err)
	}
	store := func(ctx context.Context) error { return save(ctx, req.Storage, transitPath, &fresh) }
	err = b.keyring.Move(ctx, req.Storage, &fresh.Settings, store)
	b.config.Store(nil) // in either case: storage knows best
	if err != nil {
		return nil, notAccepted(err)
	}
	return nil, nil //nolint:nilnil // the framework's way to say done
}

// notAccepted: what the settings themselves are to blame for is the caller's
// mistake here; transit or storage being away is not.
func notAccepted(err error) error {
	for _, theirs := range []error{envelope.ErrToken, envelope.ErrPolicy, envelope.ErrKey} {
		if errors.Is(err, theirs) {
			return invalidf("not saved: %w", err)
		}
	}
	return err
}

func takeTransitFields(data *framework.FieldData, t *envelope.Settings) {
	method := t.AuthMethod
	for name, into := range map[string]*string{
		"address": &t.Address, "namespace": &t.Namespace, "ca_cert": &t.CACert, "tls_server_name": &t.TLSServerName,
		"mount": &t.Mount, "key": &t.Key, "auth_method": &t.AuthMethod, "auth_mount": &t.AuthMount,
		"role_id": &t.RoleID, "secret_id": &t.SecretID, "token": &t.Token, "role": &t.Role, "jwt_file": &t.JWTFile,
	} {
		takeText(data, name, into)
	}
	t.Mount = strings.Trim(t.Mount, "/")
	t.AuthMount = strings.TrimPrefix(strings.Trim(t.AuthMount, "/"), "auth/")
	if _, given := data.GetOk("auth_mount"); t.AuthMethod != method && !given || t.AuthMount == "" {
		t.AuthMount = t.AuthMethod
	}
	takeDuration(data, "data_key_ttl", &t.DataKeyTTL)
	takeDuration(data, "timeout", &t.Timeout)
}

func (b *Backend) deleteTransit(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	b.configMu.Lock()
	defer b.configMu.Unlock()
	if users, err := b.sealedWithTransit(ctx, req.Storage); err != nil {
		return nil, err
	} else if len(users) > 0 {
		return nil, problemf(statusConflict, "%d stored secrets are sealed with this transit key (%s …): delete them, or set encryption=barrier in config and wait for the resealing to end", len(users), users[0])
	}
	err := req.Storage.Delete(ctx, transitPath)
	b.config.Store(nil)
	return nil, err
}

// sealedWithTransit names the entries that only transit can open.
func (b *Backend) sealedWithTransit(ctx context.Context, s logical.Storage) ([]string, error) {
	keys, err := b.keyring.DataKeys(ctx, s)
	if err != nil {
		return nil, err
	}
	barrier := map[string]bool{}
	for _, k := range keys {
		barrier[k.ID] = k.Mode == envelope.ModeBarrier
	}
	return b.sealedEntries(ctx, s, func(blob envelope.Blob) bool { return !barrier[blob.DataKey()] })
}
