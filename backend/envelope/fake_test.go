package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Canaries: whatever they turn up in has leaked.
const (
	canaryPlain  = "CANARY-PLAINTEXT-5ecd"
	canaryBody   = "CANARY-BODY-77aa"
	canarySecret = "CANARY-SECRETID-91b2"
	canaryToken  = "CANARY-TOKEN-c0de"
)

// A fakeVault is a small Vault: tokens, AppRole and JWT logins, policies, and
// transit engines that really encrypt. Its error texts quote what they were sent.
type fakeVault struct {
	mu        sync.Mutex
	keys      map[string]*fakeKey // by "mount/key"
	tokens    map[string]*fakeToken
	secretID  string
	jwt       string
	ttl       time.Duration // of a login's token; 0: it does not end
	maxTTL    time.Duration
	renewable bool
	denied    map[string]bool // transit operations that the policy lacks
	noLookup  bool            // tokens may not look themselves up
	calls     map[string]int
	logins    int
	refused   int // calls answered with 403
	headers   []http.Header
	// before may answer in the server's place: it then returns true.
	before func(op string, w http.ResponseWriter, r *http.Request) bool
}

type fakeKey struct {
	versions   []cipher.AEAD
	minVersion int
}

type fakeToken struct {
	expires, limit time.Time // zero: never
}

func newFakeVault() *fakeVault {
	f := &fakeVault{
		keys:      map[string]*fakeKey{},
		tokens:    map[string]*fakeToken{canaryToken: {}},
		secretID:  canarySecret,
		ttl:       time.Hour,
		maxTTL:    24 * time.Hour,
		renewable: true,
		denied:    map[string]bool{},
		calls:     map[string]int{},
	}
	f.rotate("transit/ai-keys")
	return f
}

func (f *fakeVault) lock() func() {
	f.mu.Lock()
	return f.mu.Unlock
}

func (f *fakeVault) rotate(key string) {
	defer f.lock()()
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	block, _ := aes.NewCipher(raw[:])
	aead, _ := cipher.NewGCMWithRandomNonce(block)
	if f.keys[key] == nil {
		f.keys[key] = &fakeKey{minVersion: 1}
	}
	f.keys[key].versions = append(f.keys[key].versions, aead)
}

func (f *fakeVault) count(op string) int {
	defer f.lock()()
	return f.calls[op]
}

func (f *fakeVault) set(change func(*fakeVault)) {
	defer f.lock()()
	change(f)
}

func (f *fakeVault) fail(w http.ResponseWriter, status int, text string, sent []byte) {
	if status == http.StatusForbidden {
		f.refused++
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {text, canaryBody, string(sent)}})
}

// opOf names a call: login, lookup-self, renew-self, revoke-self, plaintext
// (of datakey), decrypt, rewrap.
func opOf(path string) string {
	parts := strings.Split(path, "/")
	if last := parts[len(parts)-1]; parts[0] == "auth" {
		return last
	}
	if len(parts) < 3 {
		return "stray"
	}
	return parts[len(parts)-2]
}

func (f *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	op := opOf(path)
	f.mu.Lock()
	f.calls[op]++
	f.headers = append(f.headers, r.Header.Clone())
	before := f.before
	f.mu.Unlock()
	if before != nil && before(op, w, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	defer f.lock()()
	if op == "login" {
		f.login(w, body)
		return
	}
	id := r.Header.Get("X-Vault-Token")
	tok := f.tokens[id]
	if tok == nil || !tok.expires.IsZero() && !time.Now().Before(tok.expires) {
		f.fail(w, 403, "permission denied", []byte(id))
		return
	}
	if strings.HasPrefix(path, "auth/token/") {
		f.token(w, op, id, tok)
		return
	}
	if f.denied[op] {
		f.fail(w, 403, "permission denied", body)
		return
	}
	f.transit(w, path, op, body)
}

func (f *fakeVault) login(w http.ResponseWriter, body []byte) {
	var in struct {
		RoleID   string `json:"role_id"`
		SecretID string `json:"secret_id"`
		Role     string `json:"role"`
		JWT      string `json:"jwt"`
	}
	_ = json.Unmarshal(body, &in)
	if (in.SecretID != f.secretID || in.RoleID != "role-id") && (f.jwt == "" || in.JWT != f.jwt || in.Role != "engine") {
		f.fail(w, 400, "invalid role or secret ID", body)
		return
	}
	f.logins++
	id := canaryToken + "-login-" + strconv.Itoa(f.logins)
	tok := &fakeToken{}
	if f.ttl > 0 {
		tok.expires, tok.limit = time.Now().Add(f.ttl), time.Now().Add(f.maxTTL)
	}
	f.tokens[id] = tok
	_ = json.NewEncoder(w).Encode(map[string]any{"auth": map[string]any{
		"client_token": id, "lease_duration": int(f.ttl.Seconds()), "renewable": f.renewable,
	}})
}

func (f *fakeVault) token(w http.ResponseWriter, op, id string, tok *fakeToken) {
	left := 0
	if !tok.expires.IsZero() {
		left = int(time.Until(tok.expires).Seconds())
	}
	switch {
	case op == "lookup-self" && !f.noLookup:
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"id": id, "ttl": left, "renewable": f.renewable}})
	case op == "renew-self" && f.renewable:
		tok.expires = time.Now().Add(f.ttl)
		if tok.limit.Before(tok.expires) && !tok.limit.IsZero() {
			tok.expires = tok.limit
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"auth": map[string]any{
			"client_token": id, "lease_duration": int(time.Until(tok.expires).Seconds()), "renewable": true,
		}})
	case op == "revoke-self":
		delete(f.tokens, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.fail(w, 403, "permission denied", []byte(id))
	}
}

func (f *fakeVault) transit(w http.ResponseWriter, path, op string, body []byte) {
	mount, name, ok := strings.Cut(path, map[string]string{"plaintext": "/datakey/plaintext/", "decrypt": "/decrypt/", "rewrap": "/rewrap/"}[op])
	hasMount := false
	for k := range f.keys {
		hasMount = hasMount || strings.HasPrefix(k, mount+"/")
	}
	if !ok || !hasMount {
		f.fail(w, 404, `no handler for route "x". route entry not found.`, body)
		return
	}
	key := f.keys[mount+"/"+name]
	if key == nil || len(key.versions) == 0 {
		f.fail(w, 400, "encryption key not found", body)
		return
	}
	var in struct {
		Ciphertext string `json:"ciphertext"`
		Bits       int    `json:"bits"`
	}
	_ = json.Unmarshal(body, &in)
	plain := make([]byte, in.Bits/8)
	_, _ = rand.Read(plain)
	if op != "plaintext" {
		var status string
		if plain, status = key.open(in.Ciphertext); status != "" {
			f.fail(w, 400, status, body)
			return
		}
	}
	data := map[string]any{}
	if op != "rewrap" {
		data["plaintext"] = plain
	}
	if op != "decrypt" {
		v := len(key.versions)
		data["ciphertext"] = fmt.Sprintf("vault:v%d:%s", v, base64.StdEncoding.EncodeToString(key.versions[v-1].Seal(nil, nil, plain, nil)))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func (k *fakeKey) open(ciphertext string) (plain []byte, why string) {
	parts := strings.SplitN(ciphertext, ":", 3)
	v, _ := strconv.Atoi(strings.TrimPrefix(parts[1], "v"))
	if v < k.minVersion {
		return nil, "ciphertext or signature version is disallowed by policy (too old)"
	}
	if v > len(k.versions) {
		return nil, "invalid ciphertext: version is too new"
	}
	raw, _ := base64.StdEncoding.DecodeString(parts[2])
	plain, err := k.versions[v-1].Open(nil, nil, raw, nil)
	if err != nil {
		return nil, err.Error()
	}
	return plain, ""
}
