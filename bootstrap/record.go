package bootstrap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"sync"
	"time"
)

// The two mounts that the program keeps for itself: what it has to know from
// one run to the next stands on the server that it is about, and nowhere else.
const (
	// recordMount is a kv v2: an [Entry] for each object that needs one, and the lock.
	recordMount = "ai-keys-bootstrap/record"
	// fingerprintMount is a transit with one HMAC key, which never leaves it.
	fingerprintMount = "ai-keys-bootstrap/fingerprints"
	fingerprintKey   = "ai-keys-bootstrap"
)

// An Entry is what is kept about one object, at objects/<name> of the record
// mount. It holds no secret: a fingerprint is an HMAC under a key that only the
// server has.
type Entry struct {
	// Fingerprints are of the secrets that were sent last, by field.
	Fingerprints map[string]string `json:"fingerprints,omitempty"`
	// Rotation says how far the one rotation of a root credential has come.
	Rotation *Rotation `json:"rotation,omitempty"`
	// Issued are secret-ids that were handed out, by the name in the file.
	Issued map[string]Issued `json:"issued,omitempty"`
}

// A Rotation is recorded before the credential is rotated, and after.
type Rotation struct {
	// Done is false while its outcome is not known.
	Done bool `json:"done"`
	// Before is the public part of the credential before it, where there is one.
	Before string    `json:"before,omitempty"`
	At     time.Time `json:"at"`
}

// Issued is a secret-id that was handed out, or is about to be: it has no
// accessor yet then, and Nonce stands in its metadata.
type Issued struct {
	Accessor string    `json:"accessor,omitempty"`
	Nonce    string    `json:"nonce,omitempty"`
	At       time.Time `json:"at"`
}

// A record is the session's view of the entries.
type record struct {
	s *Session

	mu      sync.Mutex
	entries map[string]*Entry
}

func newRecord(s *Session) *record { return &record{s: s, entries: make(map[string]*Entry)} }

// Entry is what is kept about an object; never nil. Change it and [Session.Keep] it.
func (s *Session) Entry(ctx context.Context, o *Object) (*Entry, error) {
	r := s.record
	r.mu.Lock()
	e, ok := r.entries[o.Name()]
	r.mu.Unlock()
	if ok {
		return e, nil
	}
	m, err := s.MountOf(ctx, recordMount)
	if err != nil {
		return nil, err
	}
	e = &Entry{}
	if m != nil {
		if e, err = r.read(ctx, o.Name()); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries[o.Name()] = e
	return e, nil
}

func (r *record) read(ctx context.Context, name string) (*Entry, error) {
	answer, err := r.s.Vault.Read(ctx, recordPath("data", name))
	if err != nil {
		return nil, err
	}
	e := &Entry{}
	data, ok := answer["data"].(map[string]any)
	if !ok {
		return e, nil
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("reading what is recorded about %s: %w", name, err)
	}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("what is recorded about %s at %s cannot be read (delete it to start over): %w", name, recordPath("data", name), err)
	}
	return e, nil
}

// Keep stores what is to be known about an object in the next run.
func (s *Session) Keep(ctx context.Context, o *Object, e *Entry) error {
	if err := s.record.mountKV(ctx); err != nil {
		return err
	}
	if _, err := s.Vault.Write(ctx, recordPath("data", o.Name()), map[string]any{"data": e}); err != nil {
		return fmt.Errorf("recording what was done to %s: %w", o.Name(), err)
	}
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.entries[o.Name()] = e
	return nil
}

// drop forgets an object that was deleted.
func (r *record) drop(ctx context.Context, o *Object) error {
	r.mu.Lock()
	delete(r.entries, o.Name())
	r.mu.Unlock()
	m, err := r.s.MountOf(ctx, recordMount)
	if err != nil || m == nil {
		return err
	}
	return r.s.Vault.Delete(ctx, recordPath("metadata", o.Name()))
}

// reload forgets what was read of the record.
func (r *record) reload() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.entries)
}

// recordPath is where an object's entry is. Its name is one part of the path: a
// slash in it would make two names one.
func recordPath(of, name string) string {
	return slashed(recordMount, of, "objects", url.PathEscape(name))
}

// mountKV makes the record mount, if it is not there.
func (r *record) mountKV(ctx context.Context) error {
	return r.s.ensureMount(ctx, recordMount, map[string]any{
		"type": "kv", "options": map[string]any{"version": "2"},
		"description": "ai-keys-bootstrap: fingerprints, markers and the lock; no secrets",
	})
}

// ensureMount makes a mount of the program's own.
func (s *Session) ensureMount(ctx context.Context, path string, body map[string]any) error {
	m, err := s.MountOf(ctx, path)
	if err != nil || m != nil {
		return err
	}
	_, err = s.Vault.Write(ctx, "sys/mounts/"+path, body)
	s.forget()
	if err != nil {
		if m, again := s.MountOf(ctx, path); again == nil && m != nil {
			return nil // another run was faster
		}
		return fmt.Errorf("making the mount %s, where the program keeps its records: %w", path, err)
	}
	return nil
}

// A sample is a secret that a fingerprint is wanted of.
type sample struct {
	object *Object
	field  string
	value  any // resolved
}

// text is what is fingerprinted: the same secret in two places has two
// fingerprints, so that nobody sees that they are equal.
func (m sample) text() (string, error) {
	value, ok := m.value.(string)
	if !ok {
		encoded, err := json.Marshal(m.value)
		if err != nil {
			return "", fmt.Errorf("encoding %s of %s: %w", m.field, m.object.Name(), err)
		}
		value = string(encoded)
	}
	return m.object.Name() + "\x00" + m.field + "\x00" + value, nil
}

// fingerprints computes the fingerprints of samples, in one request.
func (s *Session) fingerprints(ctx context.Context, samples []sample) ([]string, error) {
	if len(samples) == 0 {
		return nil, nil
	}
	batch := make([]any, len(samples))
	for i, m := range samples {
		text, err := m.text()
		if err != nil {
			return nil, err
		}
		batch[i] = map[string]any{"input": base64.StdEncoding.EncodeToString([]byte(text))}
	}
	answer, err := s.Vault.Write(ctx, slashed(fingerprintMount, "hmac", fingerprintKey), map[string]any{"batch_input": batch})
	if err != nil {
		return nil, fmt.Errorf("asking for fingerprints of secrets: %w", err)
	}
	results, _ := answer.Data["batch_results"].([]any)
	if len(results) != len(samples) {
		return nil, fmt.Errorf("asking for fingerprints of secrets: %d answers to %d questions", len(results), len(samples))
	}
	out := make([]string, len(results))
	for i, r := range results {
		m, _ := r.(map[string]any)
		if out[i] = textOf(m, "hmac"); out[i] == "" {
			return nil, fmt.Errorf("asking for fingerprints of secrets: %s", textOf(m, "error"))
		}
	}
	return out, nil
}

// canFingerprint tells whether the HMAC key is there. Without it nothing that is
// recorded can be compared: the secrets are sent again, and recorded anew.
func (s *Session) canFingerprint(ctx context.Context) (bool, error) {
	m, err := s.MountOf(ctx, fingerprintMount)
	if err != nil || m == nil {
		return false, err
	}
	key, err := s.view(ctx, slashed(fingerprintMount, "keys", fingerprintKey))
	return key != nil, err
}

// mountFingerprints makes the HMAC key and its mount, if they are not there.
func (s *Session) mountFingerprints(ctx context.Context) error {
	err := s.ensureMount(ctx, fingerprintMount, map[string]any{
		"type": "transit", "description": "ai-keys-bootstrap: the key of the fingerprints",
	})
	if err != nil {
		return err
	}
	path := slashed(fingerprintMount, "keys", fingerprintKey)
	key, err := s.Vault.Read(ctx, path)
	if err != nil || key != nil {
		return err
	}
	_, err = s.Vault.Write(ctx, path, map[string]any{"type": "aes256-gcm96"})
	if err != nil {
		return fmt.Errorf("making the key of the fingerprints: %w", err)
	}
	return nil
}

// keepFingerprints records the secrets that were just sent.
func (s *Session) keepFingerprints(ctx context.Context, c *Change) error {
	var samples []sample
	for _, f := range c.sentSecrets() {
		v, set := c.Object.Value(f.Name)
		if !set {
			continue
		}
		v, unknown, err := s.Resolve(ctx, v)
		if err != nil {
			return err
		}
		if len(unknown) == 0 {
			samples = append(samples, sample{c.Object, f.Name, v})
		}
	}
	e, err := s.Entry(ctx, c.Object)
	if err != nil || len(samples) == 0 && len(e.Fingerprints) == 0 {
		return err
	}
	if len(samples) > 0 {
		if err := s.mountFingerprints(ctx); err != nil {
			return err
		}
	}
	prints, err := s.fingerprints(ctx, samples)
	if err != nil {
		return err
	}
	kept := make(map[string]string, len(samples))
	for i, m := range samples {
		kept[m.field] = prints[i]
	}
	for _, field := range c.Withheld { // not sent, so what was sent before still counts
		if before := e.Fingerprints[field]; before != "" {
			kept[field] = before
		}
	}
	if maps.Equal(kept, e.Fingerprints) {
		return nil
	}
	e.Fingerprints = kept
	return s.Keep(ctx, c.Object, e)
}
