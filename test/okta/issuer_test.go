package okta

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
)

func issue(t *testing.T) *Issuer {
	t.Helper()
	i, err := StartIssuer(t.Context())
	must(t, err)
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// verify checks a token with the keys that are published, as a stranger would,
// and returns its claims.
func verify(t *testing.T, c caller, i *Issuer, token string) (map[string]any, error) {
	t.Helper()
	var described struct {
		Issuer  string
		JWKSURI string `json:"jwks_uri"`
	}
	c.any("GET", "/.well-known/openid-configuration", nil, &described)
	if described.Issuer != i.URL || described.JWKSURI != i.JWKSURL() {
		t.Errorf("%+v", described)
	}
	var set struct{ Keys []struct{ Kid, N, E string } }
	c.any("GET", strings.TrimPrefix(described.JWKSURI, i.URL), nil, &set)
	parts := strings.Split(token, ".")
	decode := func(s string) []byte {
		raw, err := base64.RawURLEncoding.DecodeString(s)
		must(t, err)
		return raw
	}
	var header struct{ Alg, Kid string }
	must(t, json.Unmarshal(decode(parts[0]), &header))
	for _, k := range set.Keys {
		if k.Kid != header.Kid || header.Alg != "RS256" {
			continue
		}
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(decode(k.N)), E: int(new(big.Int).SetBytes(decode(k.E)).Int64())}
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		must(t, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], decode(parts[2])))
		var claims map[string]any
		must(t, json.Unmarshal(decode(parts[1]), &claims))
		return claims, nil
	}
	return nil, fmt.Errorf("no key %q is published", header.Kid)
}

func TestIssuer(t *testing.T) {
	t.Parallel()
	i := issue(t)
	c := caller{t, &http.Client{}, i.URL, ""}
	first, err := i.Sign(map[string]any{"sub": "ci", "iat": nil})
	must(t, err)
	claims, err := verify(t, c, i, first)
	must(t, err)
	if _, there := claims["iat"]; there || claims["sub"] != "ci" || claims["iss"] != i.URL || claims["exp"] == nil {
		t.Errorf("%v", claims)
	}
	must(t, i.Rotate())
	second, err := i.Sign(map[string]any{"iss": "another"})
	must(t, err)
	for _, token := range []string{first, second} {
		_, err := verify(t, c, i, token)
		must(t, err)
	}
	i.Retire()
	if _, err := verify(t, c, i, first); err == nil {
		t.Error("the old key is still published")
	}
	claims, err = verify(t, c, i, second)
	must(t, err)
	if claims["iss"] != "another" {
		t.Errorf("%v", claims)
	}
	if i.Fetched() != 5 {
		t.Errorf("the keys were fetched %d times, want 5", i.Fetched())
	}
	encoded, err := i.PublicKey()
	must(t, err)
	block, _ := pem.Decode([]byte(encoded))
	if block == nil {
		t.Fatalf("no PEM: %s", encoded)
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		t.Error(err)
	}
}
