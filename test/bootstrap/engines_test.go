package bootstrap_test

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"
)

const transitFile = `
mount "transit" "keys" {
  key "plain" {}
  key "backup" {
    allow_plaintext_backup = true
    exportable             = true
  }
  key "mail" {
    type               = "rsa-2048"
    auto_rotate_period = "30d"
    deletion_allowed   = true
  }
  key "mac" {
    type     = "hmac"
    key_size = 32
  }
  key "sign" {
    type    = "ed25519"
    derived = true
  }
  key "curve" { type = "ecdsa-p256" }
  key "search" {
    derived                = true
    convergent_encryption  = true
    min_decryption_version = 0
  }
}
`

func TestTransitKeys(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.story(transitFile, func(*api.Client) {
		h.vault("keys/keys/mail/rotate", nil)
		h.vault("keys/keys/mail/config", map[string]any{"auto_rotate_period": "2h", "min_decryption_version": 2, "deletion_allowed": false})
		h.vault("keys/keys/mac/config", map[string]any{"deletion_allowed": true})
	}, updates("keys key mail", "auto_rotate_period", "min_decryption_version", "deletion_allowed"), updates("keys key mac", "deletion_allowed"))
	h.least("story.hcl").run("verify", "-f", "story.hcl").exits(0)
	h.write("check.hcl", transitFile+"check \"transit\" \"keys/mac\" {}\ncheck \"transit\" \"keys/nobody\" {}\n")
	ended(t, h.least("check.hcl").proofs("check.hcl", 4), map[string]string{
		"check transit keys/mac":    "ok: hashed a random value",
		"check transit keys/nobody": "failed: there is no such key",
	})

	// What cannot be taken back or changed is said before anything is written.
	h.vault("keys/keys/plain/config", map[string]any{"exportable": true})
	h.plan("story.hcl", blocks("keys key plain", "exportable"))
	h.run("apply", "-f", "story.hcl", "--auto-approve").exits(1).says("cannot be changed in place")
	h.write("other.hcl", `mount "transit" "keys" {
  key "plain" {
    type = "aes128-gcm96"
    exportable = true
  }
}`)
	h.plan("other.hcl", blocks("keys key plain", "type"))
}

// Trimming a key raises its lowest versions for good.
func TestTrimmedTransitKey(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `mount "transit" "keys" {
  key "old" {}
}`)
	h.apply("a.hcl")
	h.vault("keys/keys/old/rotate", nil)
	h.vault("keys/keys/old/config", map[string]any{"min_decryption_version": 2, "min_encryption_version": 2})
	h.vault("keys/keys/old/trim", map[string]any{"min_available_version": 2})
	h.plan("a.hcl")
}

// What a key has encrypted is not lost by a prune, nor with its mount.
func TestTransitKeysAreSpared(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `ownership { prune = ["mount", "transit key"] }
mount "transit" "keys" {}`)
	h.apply("a.hcl")
	h.vault("keys/keys/precious", nil)
	h.vault("keys/keys/spare", nil)
	h.vault("keys/keys/spare/config", map[string]any{"deletion_allowed": true})
	r := h.run("apply", "-f", "a.hcl", "--prune", "--target", "mount keys", "--auto-approve")
	r.exits(0) // a target is never pruned beside
	h.vault("sys/mounts/other", map[string]any{"type": "transit"})
	h.vault("other/keys/precious", nil)
	for _, spared := range []string{"keys/keys/precious", "other/keys/precious"} {
		h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(1).explains("could never be read again")
		if h.has(spared) == nil {
			t.Fatalf("%s was deleted", spared)
		}
		h.vault(spared+"/config", map[string]any{"deletion_allowed": true})
	}
	h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(0)
	for _, gone := range []string{"keys/keys/precious", "keys/keys/spare"} {
		if h.has(gone) != nil {
			t.Errorf("%s is still there", gone)
		}
	}
}

const kvFile = `
secret "openai" { from = "env:OPENAI" }
mount "kv-v2" "two" {
  config {
    max_versions         = 5
    delete_version_after = "-5s"
  }
  data "ai/openai" {
    values          = { api_key = secret.openai, region = "eu", n = 3, more = { token = secret.openai, list = [1, true, ""] } }
    custom_metadata = { owner = "ai" }
    max_versions    = 3
  }
  data "ai/shared" {
    mode   = "merge"
    values = { mine = "x" }
  }
  data "ai/once" {
    mode   = "create"
    values = { api_key = secret.openai }
  }
}
mount "kv" "one" {
  data "shared" {
    mode   = "merge"
    values = { mine = secret.openai }
  }
  data "a/b" {
    values = { api_key = secret.openai, plain = "p", token_url = "https://x", token = "public" }
    public = ["token"]
  }
}
`

// version is the current version of an entry.
func (h *harness) version(path string) string {
	h.t.Helper()
	meta := h.has(path)
	if meta == nil {
		h.t.Fatalf("nothing at %s", path)
	}
	return meta["current_version"].(interface{ String() string }).String()
}

func TestKV(t *testing.T) {
	t.Parallel()
	h := start(t)
	first, theirs := h.secret("OPENAI"), h.canary()
	put := func(path string, data map[string]any) { h.vault(path, map[string]any{"data": data}) }
	h.story(kvFile, func(*api.Client) {
		h.vault("two/config", map[string]any{"max_versions": 9})
		put("two/data/ai/openai", map[string]any{"api_key": theirs, "region": "us", "n": 3, "extra": theirs})
		h.vault("two/metadata/ai/openai", map[string]any{"custom_metadata": map[string]any{"owner": "me"}, "max_versions": 7})
		put("two/data/ai/shared", map[string]any{"mine": "y", "theirs": theirs})
		put("two/data/ai/once", map[string]any{"api_key": theirs})
		h.vault("one/shared", map[string]any{"mine": theirs, "theirs": theirs})
		h.vault("one/a/b", map[string]any{"api_key": theirs, "plain": "p", "token": "public"})
	},
		updates("two config", "max_versions"),
		updates("two data ai/openai", "values.api_key", "values.region", "values.more", "values.extra", "custom_metadata", "max_versions"),
		updates("two data ai/shared", "values.mine"),
		updates("one data a/b", "values.api_key", "values.token_url"),
		updates("one data shared", "values.mine"),
	)
	if diff := gocmp.Diff(map[string]any{"mine": first, "theirs": theirs}, h.has("one/shared")); diff != "" {
		t.Errorf("a merged entry of version 1 (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(map[string]any{"mine": "x", "theirs": theirs}, h.has("two/data/ai/shared")["data"]); diff != "" {
		t.Errorf("a merged entry (-want +got):\n%s", diff)
	}
	if got := h.has("two/data/ai/once")["data"].(map[string]any)["api_key"]; got != theirs {
		t.Error("an entry that was to be created only was overwritten")
	}
	if got := h.has("two/data/ai/openai")["data"].(map[string]any)["api_key"]; got != first {
		t.Error("the secret is not what its source has")
	}

	// No needless version; a new one when the source changes, and none where
	// only the metadata differs.
	if got := h.version("two/metadata/ai/openai"); got != "3" {
		t.Errorf("version %s after three changes", got)
	}
	h.secret("OPENAI")
	h.plan("story.hcl", updates("two data ai/openai", "values.api_key", "values.more"),
		updates("one data a/b", "values.api_key"), updates("one data shared", "values.mine"))
	h.apply("story.hcl")
	h.vault("two/metadata/ai/openai", map[string]any{"custom_metadata": map[string]any{"owner": "me"}})
	h.apply("story.hcl")
	if got := h.version("two/metadata/ai/openai"); got != "4" {
		t.Errorf("version %s after four changes", got)
	}

	// Without the source there is nothing to say of the values.
	delete(h.env, "OPENAI")
	r := h.plan("story.hcl")
	if got := r.find(t, "one data a/b").Unchecked; len(got) != 1 {
		t.Errorf("unchecked are %v", got)
	}
}

// An entry whose latest version was deleted or destroyed is written again, as
// the next version; the metadata alone are no entry.
func TestKVDeleted(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `mount "kv-v2" "two" {
  data "gone" { values = { a = "1" } }
  data "burnt" { values = { a = "1" } }
  data "made" {
    mode = "create"
    values = { a = "1" }
  }
}`)
	h.apply("a.hcl")
	for _, path := range []string{"two/data/gone", "two/data/made"} {
		if _, err := h.api.Logical().DeleteWithContext(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	h.vault("two/destroy/burnt", map[string]any{"versions": []int{1}})
	least := h.least("a.hcl")
	least.plan("a.hcl", creates("two data gone"), creates("two data burnt"), creates("two data made"))
	least.apply("a.hcl")
	for _, name := range []string{"gone", "burnt", "made"} {
		if got := h.version("two/metadata/" + name); got != "2" {
			t.Errorf("%s has version %s", name, got)
		}
	}
}

// A mount that wants every write to say what it replaces.
func TestKVWithCAS(t *testing.T) {
	t.Parallel()
	h := start(t)
	file := `mount "kv-v2" "two" {
  config { cas_required = true }
  data "entry" {
    values = { a = "%s" }
    delete_version_after = "1h"
  }
}`
	h.write("a.hcl", fmt.Sprintf(file, "1"))
	h.apply("a.hcl")
	h.write("a.hcl", fmt.Sprintf(file, "2"))
	h.plan("a.hcl", updates("two data entry", "values.a"))
	h.apply("a.hcl")
}

func TestKVMistakes(t *testing.T) {
	t.Parallel()
	h := start(t)
	literal := h.canary()
	h.write("a.hcl", fmt.Sprintf(`mount "kv" "one" {
  config {}
  data "a" {
    values = { db = { password = "%s" }, list_tokens = ["%s"], API_KEY = "%s", key_id = "fine", id = 12345678901234567890 }
    custom_metadata = { a = "b" }
  }
  data "b" { values = "text" }
}`, literal, literal, literal))
	h.run("validate", "-f", "a.hcl").exits(1).says(
		"only a kv of version 2 has a config",
		"a literal secret in values: db.password",
		"a literal secret in values: list_tokens",
		"a literal secret in values: API_KEY",
		`public = ["API_KEY"]`,
		"the number id in values has too many digits",
		"custom_metadata is for a kv of version 2",
		"values has to be an object",
	).silent("key_id")
}
