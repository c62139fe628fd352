package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// TestVaultAgent: a Vault Agent, set up as in the example, follows the rotations of
// a static role by itself, and what it wrote works.
func TestVaultAgent(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/search", s.static("main", fields{"rotation_period": "3s", "grace_period": "2s"}))

	dir := t.TempDir()
	keep := func(name string, content any) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(toText(content)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	login := "auth/approle/role/agent-" + s.engine.Identity()
	policy := `path "` + s.engine.Path + `/creds/search" { capabilities = ["read"] }`
	if err := s.client.Sys().PutPolicy("agent-"+s.engine.Identity(), policy); err != nil {
		t.Fatal(err)
	}
	_, err := s.client.Logical().Write(login, fields{"token_policies": "agent-" + s.engine.Identity()})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.client.Logical().Read(login + "/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.client.Logical().Write(login+"/secret-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../examples/consumers/vault-agent.conf")
	if err != nil {
		t.Fatal(err)
	}
	written := filepath.Join(dir, "key")
	config := keep("agent.hcl", strings.NewReplacer(
		"https://vault.example.com:8200", s.vault.Addr,
		"/etc/search/role-id", keep("role-id", id.Data["role_id"]),
		"/etc/search/secret-id", keep("secret-id", secret.Data["secret_id"]),
		"/run/search/openai-key", written,
		"ai-keys/creds", s.engine.Path+"/creds",
	).Replace(string(example)))

	cmd := exec.Command(s.vault.Vault, "agent", "-config="+config)
	cmd.Env = s.vault.Environment("")
	agent, err := devvault.Spawn(cmd, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.End(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	seen := map[string]bool{}
	s.until("the agent has written three keys, one after the other", func() bool {
		content, err := os.ReadFile(written)
		if err != nil || len(content) == 0 {
			return false
		}
		k, known := s.cloud.Key(string(content))
		if !known || k.Provider != providertest.ProviderOpenAI {
			t.Fatalf("the agent wrote something else than a key")
		}
		if !seen[k.ID] && !k.Live {
			t.Errorf("%s was dead when it was written", k.ID)
		}
		seen[k.ID] = true
		return len(seen) >= 3
	})
}
