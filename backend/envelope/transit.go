package envelope

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

type dataKeyRequest struct {
	Bits int `json:"bits"`
}

type ciphertextRequest struct {
	Ciphertext string `json:"ciphertext"`
}

// transitReply is what datakey, decrypt and rewrap answer with. The plaintext
// is never a string, so that it can be overwritten.
type transitReply struct {
	Data struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
	} `json:"data"`
}

// dataKey has transit make a key. The caller overwrites it.
func (c *client) dataKey(ctx context.Context) (*[keyBytes]byte, string, error) {
	out, err := c.transit(ctx, "datakey/plaintext", dataKeyRequest{Bits: keyBytes * 8})
	if err != nil {
		return nil, "", err
	}
	defer clear(out.Data.Plaintext)
	if len(out.Data.Plaintext) != keyBytes || !isCiphertext(out.Data.Ciphertext) {
		return nil, "", c.notVault("a new data key is not whole")
	}
	key := new([keyBytes]byte)
	copy(key[:], out.Data.Plaintext)
	return key, out.Data.Ciphertext, nil
}

// decrypt unwraps ciphertext. The caller overwrites what it gets.
func (c *client) decrypt(ctx context.Context, ciphertext string) ([]byte, error) {
	out, err := c.transit(ctx, "decrypt", ciphertextRequest{ciphertext})
	if err != nil {
		return nil, err
	}
	return out.Data.Plaintext, nil
}

// rewrap gives the same plaintext under the newest version of the transit key.
func (c *client) rewrap(ctx context.Context, ciphertext string) (string, error) {
	out, err := c.transit(ctx, "rewrap", ciphertextRequest{ciphertext})
	if err != nil {
		return "", err
	}
	if !isCiphertext(out.Data.Ciphertext) {
		return "", c.notVault("a rewrapped data key is not whole")
	}
	return out.Data.Ciphertext, nil
}

func isCiphertext(s string) bool { return strings.HasPrefix(s, "vault:v") }

// transit makes one call about the key, and remembers how it went.
func (c *client) transit(ctx context.Context, op string, in any) (*transitReply, error) {
	out := new(transitReply)
	err := c.call(ctx, c.set.Mount+"/"+op+"/"+c.set.Key, in, out)
	c.note(err)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// call makes one call with a token that works, if one is to be had: after a 403
// the token looks itself up, and a dead one is replaced by at most one login.
func (c *client) call(ctx context.Context, path string, in, out any) error {
	for again := false; ; again = true {
		token, fresh, err := c.token(ctx)
		if err != nil {
			return err
		}
		err = c.send(ctx, http.MethodPost, path, token, in, out)
		var r *refusal
		if !errors.As(err, &r) {
			return err
		}
		if r.status != http.StatusForbidden {
			if why := c.keyUnusable(path, r); why != nil {
				return why
			}
			return c.unavailable(r)
		}
		_, err = c.lookup(ctx, token)
		if err == nil {
			return c.denied(path)
		}
		if !errors.Is(err, ErrToken) {
			return fmt.Errorf("finding out why %s was denied: %w", path, err)
		}
		c.drop(token)
		if again || fresh || c.set.AuthMethod == AuthToken {
			return err
		}
	}
}

// note remembers how the last use of transit ended, for status.
func (c *client) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last.failing = err != nil
	if err == nil {
		c.last.succeeded = c.now()
		return
	}
	c.last.err, c.last.failed = err, c.now()
}
