package backend

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

const (
	transitHost  = "transit.test"
	transitToken = "hvs.transit-token"
)

// fakeTransit is a Vault with a transit engine, as far as the envelope uses one.
// What it makes is a number in a book: package envelope has one that encrypts.
type fakeTransit struct {
	mu   sync.Mutex
	keys map[string]*transitKey
	book map[string]transitText // by ciphertext
	// before and after are called with each request, as those of the cloud.
	before, after func(*http.Request) error
}

type transitKey struct{ newest, oldest int } // versions

type transitText struct {
	key     string
	version int
	plain   []byte
}

func newFakeTransit() *fakeTransit {
	return &fakeTransit{keys: map[string]*transitKey{"ai-keys": {1, 1}, "other": {1, 1}}, book: map[string]transitText{}}
}

func (f *fakeTransit) hook(before, after func(*http.Request) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// rotate makes a new version of a key.
func (f *fakeTransit) rotate(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[key].newest++
}

// retire raises min_decryption_version to the newest version.
func (f *fakeTransit) retire(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[key].oldest = f.keys[key].newest
}

// drop deletes a key for good.
func (f *fakeTransit) drop(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
}

func (f *fakeTransit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil && before(r) != nil {
		panic(http.ErrAbortHandler)
	}
	status, data := f.answer(r)
	if after != nil && after(r) != nil {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(data)
}

func (f *fakeTransit) answer(r *http.Request) (status int, reply map[string]any) {
	refused := func(status int, why string) (int, map[string]any) {
		return status, map[string]any{"errors": []string{why}}
	}
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if r.Header.Get("X-Vault-Token") != transitToken {
		return refused(http.StatusForbidden, "permission denied")
	}
	if path == "auth/token/lookup-self" {
		return http.StatusOK, map[string]any{"data": map[string]any{"ttl": 0, "renewable": false}}
	}
	var in struct {
		Ciphertext string `json:"ciphertext"`
		Bits       int    `json:"bits"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return refused(http.StatusBadRequest, err.Error())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := path[strings.LastIndex(path, "/")+1:]
	key := f.keys[name]
	if key == nil {
		return refused(http.StatusBadRequest, "encryption key not found")
	}
	text, plain := f.book[in.Ciphertext], make([]byte, in.Bits/8)
	if in.Ciphertext == "" {
		_, _ = rand.Read(plain)
		text = transitText{name, key.newest, plain}
	}
	switch {
	case text.key != name:
		return refused(http.StatusBadRequest, "cipher: message authentication failed")
	case text.version < key.oldest:
		return refused(http.StatusBadRequest, "ciphertext or signature version is disallowed by policy (too old)")
	}
	data := map[string]any{}
	if !strings.HasPrefix(path, "transit/decrypt/") {
		var serial [8]byte
		_, _ = rand.Read(serial[:])
		fresh := fmt.Sprintf("vault:v%d:%s", key.newest, hex.EncodeToString(serial[:]))
		f.book[fresh] = transitText{name, key.newest, text.plain}
		data["ciphertext"] = fresh
	}
	if !strings.HasPrefix(path, "transit/rewrap/") {
		data["plaintext"] = text.plain
	}
	return http.StatusOK, map[string]any{"data": data}
}

// transitSettings are what config/transit is written with.
func transitSettings(key string) map[string]any {
	return map[string]any{
		"address": "https://" + transitHost, "auth_method": "token", "token": transitToken, "key": key,
		"data_key_ttl": 0, // each use asks transit
	}
}

// behindTransit seals everything with transit.
func behindTransit(w *world) {
	w.write("config/transit", transitSettings("ai-keys"))
	w.write("config", map[string]any{"encryption": "transit"})
	w.pass(2 * quarantine)
}

// resealed checks that nothing is sealed the former way any more.
func (w *world) resealed() {
	w.t.Helper()
	st := w.read("status")
	if st["resealing"] != 0 {
		w.t.Errorf("%v entries are still to be resealed", st["resealing"])
	}
	keys, err := logical.CollectKeysWithPrefix(w.t.Context(), &w.storage.InmemStorage, dataKeyPrefix)
	if err != nil || len(keys) != 1 {
		w.t.Errorf("data keys at the end: %v %v, want one", keys, err)
	}
}
