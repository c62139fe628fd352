package okta

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"sync"
	"time"
)

// An Issuer signs JSON Web Tokens (RFC 7519) with RS256, and publishes its keys
// over plain HTTP on loopback, as a key set (RFC 7517) and by way of OpenID
// discovery (https://openid.net/specs/openid-connect-discovery-1_0.html).
type Issuer struct {
	// URL is the issuer's name, and where it is found.
	URL string

	server  *http.Server
	running sync.WaitGroup

	mu      sync.Mutex
	keys    []signingKey // published; the last one signs
	fetched int
}

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

// StartIssuer serves a new issuer with one key until [Issuer.Close].
func StartIssuer(ctx context.Context) (*Issuer, error) {
	i := &Issuer{}
	if err := i.Rotate(); err != nil {
		return nil, err
	}
	l, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	i.URL = "http://" + l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discover)
	mux.HandleFunc("GET /.well-known/jwks.json", i.publish)
	i.server = server(mux)
	i.running.Go(func() { _ = i.server.Serve(l) }) // ErrServerClosed, unless loopback fails
	return i, nil
}

// Close ends the server.
func (i *Issuer) Close() error {
	err := i.server.Close()
	i.running.Wait()
	return err
}

// JWKSURL is where the keys are.
func (i *Issuer) JWKSURL() string { return i.URL + "/.well-known/jwks.json" }

// Fetched is how often the keys were fetched.
func (i *Issuer) Fetched() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched
}

// Rotate makes a new key, which signs from now on. The ones before stay
// published.
func (i *Issuer) Rotate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the issuer's key: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, signingKey{rand.Text(), key})
	return nil
}

// Retire withdraws all keys but the one that signs.
func (i *Issuer) Retire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

func (i *Issuer) signing() signingKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// PublicKey is the public half of the key that signs, as PEM.
func (i *Issuer) PublicKey() (string, error) {
	raw, err := x509.MarshalPKIXPublicKey(i.signing().key.Public())
	if err != nil {
		return "", fmt.Errorf("encoding the issuer's key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw})), nil
}

// Sign makes a token with these claims. What they leave out of iss, iat and exp
// is this issuer, now, and in five minutes; a nil claim is left out.
func (i *Issuer) Sign(claims map[string]any) (string, error) {
	now, all := time.Now(), map[string]any{}
	maps.Copy(all, map[string]any{"iss": i.URL, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()})
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	signing := i.signing()
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": signing.id})
	if err != nil {
		return "", fmt.Errorf("encoding the token's header: %w", err)
	}
	body, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("encoding the token's claims: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(body)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, signing.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	return signed + "." + encode(signature), nil
}

// discover is the OpenID provider's description of itself.
func (i *Issuer) discover(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, object{
		"issuer": i.URL, "jwks_uri": i.JWKSURL(),
		"authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

// publish is the key set.
func (i *Issuer) publish(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	i.fetched++
	set := []object{}
	for _, k := range i.keys {
		set = append(set, object{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
			"n": base64.RawURLEncoding.EncodeToString(k.key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.key.E)).Bytes()),
		})
	}
	i.mu.Unlock()
	write(w, http.StatusOK, object{"keys": set})
}
