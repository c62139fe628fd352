package devvault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/vault/api"
)

// PluginType is the engine's name in Vault's plugin catalog.
const PluginType = "ai-keys"

// placePlugin copies the plugin, so that a build during a run changes nothing.
func (s *Server) placePlugin() error {
	if s.Plugin == "" {
		return nil
	}
	binary, err := os.ReadFile(s.Plugin)
	if err != nil {
		return fmt.Errorf("reading the plugin: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.pluginDir(), pluginName), binary, 0o700); err != nil { //nolint:gosec // it is a program
		return fmt.Errorf("placing the plugin: %w", err)
	}
	return nil
}

func (s *Server) config() string {
	text := fmt.Sprintf("plugin_directory = %q\nraw_storage_endpoint = true\ndisable_mlock = true\nui = false\n", s.pluginDir())
	if !s.Persistent {
		return text
	}
	storage := fmt.Sprintf(`storage "raft" {
  path    = %q
  node_id = %q
  performance_multiplier = 1
}
`, s.data(), s.node)
	if s.Files {
		storage = fmt.Sprintf("storage \"file\" {\n  path = %q\n}\n", s.data())
	}
	return text + storage + fmt.Sprintf(`api_addr = %q
cluster_addr = "https://%s"
listener "tcp" {
  address         = %q
  cluster_address = %q
  tls_disable     = true
}
`, s.Addr, s.cluster, s.host(), s.cluster)
}

// Prepare registers the plugin by its SHA-256, and enables transit and AppRole.
func (s *Server) Prepare(ctx context.Context) error {
	c, err := s.Client(s.RootToken)
	if err != nil {
		return err
	}
	if err := s.register(ctx, c, PluginType, pluginName); err != nil {
		return err
	}
	if err := c.Sys().MountWithContext(ctx, "transit", &api.MountInput{Type: "transit"}); err != nil {
		return fmt.Errorf("enabling transit: %w", err)
	}
	if err := c.Sys().EnableAuthWithOptionsWithContext(ctx, "approle", &api.MountInput{Type: "approle"}); err != nil {
		return fmt.Errorf("enabling AppRole: %w", err)
	}
	return nil
}

// AddPlugin makes another secrets engine out of a program.
func (s *Server) AddPlugin(ctx context.Context, name, program string) error {
	c, err := s.Client(s.RootToken)
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(program) //nolint:gosec // the caller's own program
	if err != nil {
		return fmt.Errorf("reading the plugin %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(s.pluginDir(), name), binary, 0o700); err != nil { //nolint:gosec // it is a program
		return fmt.Errorf("placing the plugin %s: %w", name, err)
	}
	return s.register(ctx, c, name, name)
}

// register enters a program of the plugin directory into the catalog.
func (s *Server) register(ctx context.Context, c *api.Client, name, command string) error {
	binary, err := os.ReadFile(filepath.Join(s.pluginDir(), command)) //nolint:gosec // placed there by us
	if err != nil {
		return fmt.Errorf("reading the plugin: %w", err)
	}
	sum := sha256.Sum256(binary)
	err = c.Sys().RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name: name, Type: api.PluginTypeSecrets, Command: command, SHA256: hex.EncodeToString(sum[:]),
	})
	if err != nil {
		return fmt.Errorf("registering the plugin %s: %w", name, err)
	}
	return nil
}

// EnableAudit logs every request and answer, with secrets hashed.
func (s *Server) EnableAudit(ctx context.Context) error {
	c, err := s.Client(s.RootToken)
	if err != nil {
		return err
	}
	err = c.Sys().EnableAuditWithOptionsWithContext(ctx, "file", &api.EnableAuditOptions{
		Type: "file", Options: map[string]string{"file_path": s.AuditFile(), "log_raw": "false"},
	})
	if err != nil {
		return fmt.Errorf("enabling the audit log: %w", err)
	}
	return nil
}

// An Engine is one mount of the engine with an identity of its own at transit.
type Engine struct {
	// Path is where it is mounted.
	Path string
	// Key is its transit key; empty: ai-keys.
	Key string
	// SecretID is the AppRole credential that it logs in with; empty: any.
	SecretID string
	// Settings are more fields of config/transit.
	Settings map[string]any
}

// Identity is the name of the engine's policy, and of its AppRole.
func (e Engine) Identity() string { return "engine-" + strings.ReplaceAll(e.Path, "/", "-") }

func (e Engine) key() string { return cmp.Or(e.Key, "ai-keys") }

// Policy is all that the engine may do: make a data key, unwrap it, rewrap it.
func (e Engine) Policy() string {
	return strings.ReplaceAll(`path "transit/datakey/plaintext/KEY" { capabilities = ["update"] }
path "transit/decrypt/KEY"           { capabilities = ["update"] }
path "transit/rewrap/KEY"            { capabilities = ["update"] }
`, "KEY", e.key())
}

// Mount mounts the engine and gives it its identity: what [Server.Identify]
// does, and config/transit. [Server.Prepare] comes first.
func (s *Server) Mount(ctx context.Context, e Engine) error {
	c, err := s.Client(s.RootToken)
	if err != nil {
		return err
	}
	if err := c.Sys().MountWithContext(ctx, e.Path, &api.MountInput{Type: PluginType}); err != nil {
		return fmt.Errorf("mounting the engine at %s: %w", e.Path, err)
	}
	settings, err := s.Identify(ctx, e)
	if err != nil {
		return err
	}
	maps.Copy(settings, e.Settings)
	if _, err := c.Logical().WriteWithContext(ctx, e.Path+"/config/transit", settings); err != nil {
		return fmt.Errorf("configuring the engine at %s: %w", e.Path, err)
	}
	return nil
}

// Identify makes the transit key, the policy and the AppRole of an engine, and
// returns what config/transit needs to know of them.
func (s *Server) Identify(ctx context.Context, e Engine) (map[string]any, error) {
	c, err := s.Client(s.RootToken)
	if err != nil {
		return nil, err
	}
	role := "auth/approle/role/" + e.Identity()
	if err := c.Sys().PutPolicyWithContext(ctx, e.Identity(), e.Policy()); err != nil {
		return nil, fmt.Errorf("writing the engine's policy: %w", err)
	}
	// The engine logs in anew when its token is over, so it may be short.
	err = writeAll(ctx, c, []write{
		{"transit/keys/" + e.key(), nil},
		{role, map[string]any{"token_policies": e.Identity(), "token_ttl": "1h", "token_max_ttl": "24h"}},
	})
	if err != nil {
		return nil, err
	}
	roleID, err := c.Logical().ReadWithContext(ctx, role+"/role-id")
	if err != nil || roleID == nil {
		return nil, fmt.Errorf("reading the engine's role_id: %w", cmp.Or(err, errAbsent))
	}
	path, data := role+"/secret-id", map[string]any(nil)
	if e.SecretID != "" {
		path, data = role+"/custom-secret-id", map[string]any{"secret_id": e.SecretID}
	}
	secretID, err := c.Logical().WriteWithContext(ctx, path, data)
	if err != nil || secretID == nil {
		return nil, fmt.Errorf("making the engine's secret_id: %w", cmp.Or(err, errAbsent))
	}
	return map[string]any{
		"address": s.Addr, "key": e.key(), "auth_method": "approle",
		"role_id": roleID.Data["role_id"], "secret_id": secretID.Data["secret_id"],
	}, nil
}

var errAbsent = errors.New("there is none")

type write struct {
	path string
	data map[string]any
}

func writeAll(ctx context.Context, c *api.Client, writes []write) error {
	for _, w := range writes {
		if _, err := c.Logical().WriteWithContext(ctx, w.path, w.data); err != nil {
			return fmt.Errorf("writing %s: %w", w.path, err)
		}
	}
	return nil
}
