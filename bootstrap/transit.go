package bootstrap

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// Those of Vault Enterprise are in it too: Vault itself says that it has not got them.
var transitKeyTypes = []string{
	"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305",
	"ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521",
	"rsa-2048", "rsa-3072", "rsa-4096", "hmac",
	"aes128-cmac", "aes192-cmac", "aes256-cmac", "aes128-cbc", "aes256-cbc",
	"ml-dsa", "slh-dsa", "hybrid", "managed_key",
}

const transitKeyType = "aes256-gcm96"

// A second write to keys/<name> is answered with 200 and changes nothing: what
// can be changed is changed at keys/<name>/config, and some can be set only there.
var transitKeyKind = &Kind{
	Name: "transit key", Word: "key", Stage: StageTransitKey,
	Block: &schema.Block{
		Name: "key", Labels: []string{"name"}, Doc: "A key that encrypts, signs or hashes, and never leaves Vault.",
		Fields: []*schema.Field{
			{Name: "type", OneOf: transitKeyTypes, Default: transitKeyType, Immutable: true, Doc: "The algorithm."},
			{Name: "derived", Type: schema.Bool, Immutable: true, Doc: "A key of its own for each context that a request names."},
			{Name: "convergent_encryption", Type: schema.Bool, Immutable: true, Doc: "Equal texts have equal ciphertexts; only with derived."},
			{Name: "exportable", Type: schema.Bool, OneWay: true, Doc: "Whether the key can be exported; cannot be taken back."},
			{Name: "allow_plaintext_backup", Type: schema.Bool, OneWay: true, Doc: "Whether the key can be backed up in clear; cannot be taken back."},
			{Name: "auto_rotate_period", Type: schema.Duration, Check: longEnough(3600, "Vault takes 0 (never) or at least an hour"), Doc: "How often Vault makes a new version; 0: never."},
			{Name: "deletion_allowed", Type: schema.Bool, Doc: "Whether the key can be deleted, and with it everything that it encrypted."},
			{Name: "min_decryption_version", Type: schema.Int, Default: 1, Doc: "Oldest version that decrypts and verifies."},
			{Name: "min_encryption_version", Type: schema.Int, Doc: "Oldest version that encrypts and signs; 0: the newest alone."},
			{Name: "key_size", Type: schema.Int, Immutable: true, Keep: true, Doc: "Bytes of an hmac key: 32 to 512."},
			{Name: "parameter_set", Immutable: true, Keep: true, Lower: true, Doc: "Parameters of ml-dsa, slh-dsa and hybrid keys (Vault Enterprise)."},
			{Name: "hybrid_key_type_pqc", Immutable: true, Keep: true, Doc: "Post-quantum half of a hybrid key (Vault Enterprise)."},
			{Name: "hybrid_key_type_ec", Immutable: true, Keep: true, Doc: "Elliptic half of a hybrid key (Vault Enterprise)."},
			{Name: "managed_key_name", Local: true, Doc: "Managed key that it stands for, by name (Vault Enterprise); sent when it is made."},
			{Name: "managed_key_id", Local: true, Doc: "Managed key that it stands for, by id (Vault Enterprise); sent when it is made."},
		},
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "keys", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "keys") },
	Prepare:  prepareTransitKey, Write: writeTransitKey, Delete: deleteTransitKey,
	Review: reviewTransitKey, Verify: verifyTransitKey, Access: transitKeyAccess,
}

// longEnough refuses durations that are set and shorter than Vault takes.
func longEnough(seconds int64, why string) func(any) error {
	return func(v any) error {
		if n, ok := v.(int64); ok && n < seconds {
			return errors.New(why)
		}
		return nil
	}
}

func prepareTransitKey(o *Object, n *file.Node) file.Diagnostics {
	truth := schema.Field{Type: schema.Bool}
	number := schema.Field{Type: schema.Int}
	is := func(field string) bool {
		v, _ := truth.Canonical(o.Values[field].V) // checked when the file was read
		return v != nil
	}
	_, sized := o.Value("key_size")
	switch {
	case is("convergent_encryption") && !is("derived"):
		return mistake(o.Values["convergent_encryption"].At, "convergent_encryption needs derived = true", "Set both, or neither.")
	case o.Text("type") == "hmac" && !sized:
		return mistake(n.At, "an hmac key needs a key_size", "It is 32 to 512 bytes: key_size = 32.")
	case o.Text("type") != "hmac" && sized:
		return mistake(o.Values["key_size"].At, "only an hmac key has a key_size", "Remove it: the type says the size.")
	}
	// The first version has the number 1, and Vault answers that for 0.
	if v, set := o.Values["min_decryption_version"]; set {
		if c, _ := number.Canonical(v.V); c == nil {
			v.V = json.Number("1")
			o.Values["min_decryption_version"] = v
		}
	}
	return nil
}

// mistake is one error, with the way out.
func mistake(at file.Position, what, out string) file.Diagnostics {
	return file.Diagnostics{{Severity: file.Error, At: at, Summary: what, Detail: out}}
}

func writeTransitKey(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	path := o.Kind.Path(o)
	if c.Action == Create {
		config := make(map[string]any)
		for _, name := range []string{"deletion_allowed", "min_decryption_version", "min_encryption_version"} {
			if v, ok := body[name]; ok {
				config[name] = v
				delete(body, name)
			}
		}
		for _, name := range []string{"managed_key_name", "managed_key_id"} {
			if text := o.Text(name); text != "" {
				body[name] = text
			}
		}
		if _, err := s.Vault.Write(ctx, path, body); err != nil || len(config) == 0 {
			return err
		}
		// Killed here: the next plan finds the settings different.
		body = config
	}
	_, err = s.Vault.Write(ctx, path+"/config", body)
	return err
}

// reviewTransitKey settles what Vault cannot take back, where the file leaves it
// out: what was allowed for good, and the lowest versions of a key that was
// trimmed.
func reviewTransitKey(_ context.Context, _ *Session, c *Change) error {
	if !c.State.Exists {
		return nil
	}
	trimmed := number(c.State.Answer["min_available_version"]) > 0
	var fields []FieldChange
	for _, f := range c.Fields {
		if _, set := c.Object.Value(f.Field); !set {
			if strings.HasPrefix(f.Field, "min_") && trimmed {
				continue
			}
			if known, _ := c.Object.block().Field(f.Field); known.OneWay != nil {
				f.Immutable, f.Why = true, "not in the file, and Vault cannot take it back: write "+f.Field+" = true"
			}
		}
		fields = append(fields, f)
	}
	c.Fields = fields
	return nil
}

// deleteTransitKey deletes a key that may be deleted, and never makes it so:
// what it has encrypted would be lost, and only people know whether that matters.
func deleteTransitKey(ctx context.Context, s *Session, o *Object) error {
	path := o.Kind.Path(o)
	key, err := s.Vault.Read(ctx, path)
	if err != nil || key == nil {
		return err
	}
	if allowed, _ := key["deletion_allowed"].(bool); !allowed {
		return errors.New("the key may not be deleted: everything that it encrypted would be lost for good. If that is what you want, " +
			"set deletion_allowed = true in the file and apply first, or: vault write " + path + "/config deletion_allowed=true")
	}
	return s.Vault.Delete(ctx, path)
}

// spareTransitKeys refuses to unmount what holds keys that may not be deleted:
// the mount's end is theirs.
func spareTransitKeys(ctx context.Context, s *Session, o *Object) error {
	keys := slashed(o.MountPath(), "keys")
	names, err := s.Vault.List(ctx, keys)
	if err != nil {
		return err
	}
	for _, name := range names {
		key, err := s.Vault.Read(ctx, slashed(keys, name))
		if err != nil {
			return err
		}
		if allowed, _ := key["deletion_allowed"].(bool); key != nil && !allowed {
			return fmt.Errorf("it holds the key %s, which may not be deleted: everything that it encrypted would be lost for good. "+
				"If that is what you want: vault write %s/config deletion_allowed=true", name, slashed(keys, name))
		}
	}
	return nil
}

// A transitProof is a pair of requests: what the second gets from the first.
type transitProof struct {
	do, undo string
	// from is the field of the first answer that the second request takes.
	from, done string
}

var (
	proofByEncryption = transitProof{"encrypt", "decrypt", "ciphertext", "encrypted and decrypted a random value"}
	proofBySignature  = transitProof{"sign", "verify", "signature", "signed a random value and verified it"}
	proofByHMAC       = transitProof{"hmac", "verify", "hmac", "hashed a random value and verified it"}
	proofByCMAC       = transitProof{"cmac", "verify", "cmac", "hashed a random value and verified it"}
)

// proofFor is how a key of a type is proved.
func proofFor(keyType string) transitProof {
	switch {
	case keyType == "hmac":
		return proofByHMAC
	case strings.HasSuffix(keyType, "-cmac"):
		return proofByCMAC
	case strings.HasPrefix(keyType, "ecdsa-"), strings.HasSuffix(keyType, "-dsa"), keyType == "ed25519", keyType == "hybrid":
		return proofBySignature
	}
	return proofByEncryption
}

func (o *Object) transitType() string {
	if t := o.Text("type"); t != "" {
		return t
	}
	return transitKeyType
}

// verifyTransitKey sends a random value there and back.
func verifyTransitKey(ctx context.Context, s *Session, o *Object) (string, error) {
	key, err := s.Vault.Read(ctx, o.Kind.Path(o))
	if err != nil {
		return "", err
	}
	if key == nil {
		return "", errors.New("there is no such key")
	}
	value := make([]byte, 32)
	if _, err := rand.Read(value); err != nil {
		return "", fmt.Errorf("making a random value: %w", err)
	}
	text := base64.StdEncoding.EncodeToString(value)
	proof := proofFor(textOf(key, "type"))
	field := "input"
	if proof == proofByEncryption {
		field = "plaintext"
	}
	there := map[string]any{field: text}
	back := make(map[string]any)
	if derived, _ := key["derived"].(bool); derived {
		there["context"], back["context"] = text, text
	}
	answer, err := s.Vault.Write(ctx, slashed(o.MountPath(), proof.do, o.Key()), there)
	if err != nil {
		return "", err
	}
	if proof.undo == "verify" {
		back["input"] = text
	}
	back[proof.from] = answer.Data[proof.from]
	answer, err = s.Vault.Write(ctx, slashed(o.MountPath(), proof.undo, o.Key()), back)
	if err != nil {
		return "", err
	}
	if valid, _ := answer.Data["valid"].(bool); valid && proof.undo == "verify" {
		return proof.done, nil
	}
	got, err := base64.StdEncoding.DecodeString(textOf(answer.Data, "plaintext"))
	if err != nil || !bytes.Equal(got, value) {
		return "", errors.New("what came back is not what was sent")
	}
	return proof.done, nil
}

func transitKeyAccess(o *Object) []Access {
	path, proof := o.Kind.Path(o), proofFor(o.transitType())
	return []Access{
		{path, []string{"read", "update", "delete"}},
		{path + "/config", []string{"update"}},
		{slashed(o.MountPath(), proof.do, o.Key()), []string{"update"}},
		{slashed(o.MountPath(), proof.undo, o.Key()), []string{"update"}},
	}
}
