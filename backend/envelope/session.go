package envelope

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// maxJWT bounds jwt_file. Tokens of Kubernetes have about 1 KiB.
const maxJWT = 16 << 10

// A session is a token and what is known of its life.
type session struct {
	token     string
	renewable bool
	life      time.Duration // when it was new; 0: it does not end
	expires   time.Time     // zero: it does not end
	due       time.Time     // when to renew or replace it; zero: never
}

// newSession takes care of a token at two thirds of the life it has left.
func newSession(token string, ttl time.Duration, renewable bool, now time.Time) session {
	s := session{token: token, renewable: renewable, life: ttl}
	if ttl > 0 {
		s.expires = now.Add(ttl)
		s.due = now.Add(ttl * 2 / 3)
	}
	return s
}

func (s *session) usable(now time.Time) bool {
	return s.token != "" && (s.expires.IsZero() || now.Before(s.expires))
}

type authReply struct {
	Auth *struct {
		Token     string `json:"client_token"`
		TTL       int64  `json:"lease_duration"`
		Renewable bool   `json:"renewable"`
	} `json:"auth"`
}

type lookupReply struct {
	Data *struct {
		TTL       int64 `json:"ttl"`
		Renewable bool  `json:"renewable"`
	} `json:"data"`
}

func (c *client) session() session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sess
}

func (c *client) setSession(s session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sess = s
}

// enter takes the door, so that whoever needs a login waits for the one under way.
func (c *client) enter(ctx context.Context) (leave func(), err error) {
	select {
	case c.door <- struct{}{}:
		return func() { <-c.door }, nil
	case <-ctx.Done():
		return nil, unreachable(c.set.Address, ctx.Err())
	}
}

// token returns a token that is not known to be dead; fresh says that it was
// got for this call.
func (c *client) token(ctx context.Context) (token string, fresh bool, err error) {
	if s := c.session(); s.usable(c.now()) {
		return s.token, false, nil
	}
	leave, err := c.enter(ctx)
	if err != nil {
		return "", false, err
	}
	defer leave()
	if s := c.session(); s.usable(c.now()) { // somebody else was here first
		return s.token, false, nil
	}
	s, err := c.login(ctx)
	if err != nil {
		return "", false, err
	}
	c.setSession(s)
	if c.changed != nil {
		c.changed()
	}
	return s.token, true, nil
}

// drop forgets a token that proved dead, unless it was replaced meanwhile.
func (c *client) drop(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sess.token == token {
		c.sess = session{}
	}
}

// The statuses that mean that the login itself is wrong: credential, policy, mount.
var loginRefusals = []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed}

// login gets a new token; a given one it looks up. The caller holds the door.
func (c *client) login(ctx context.Context) (session, error) {
	if c.set.AuthMethod == AuthToken {
		return c.lookup(ctx, c.set.Token)
	}
	in := map[string]string{"role_id": c.set.RoleID, "secret_id": c.set.SecretID}
	if c.set.AuthMethod != AuthAppRole {
		jwt, err := readJWT(c.set.JWTFile)
		if err != nil {
			return session{}, err
		}
		in = map[string]string{"role": c.set.Role, "jwt": jwt}
	}
	path := "auth/" + c.set.AuthMount + "/login"
	var out authReply
	err := c.send(ctx, http.MethodPost, path, "", in, &out)
	var r *refusal
	switch {
	case errors.As(err, &r) && slices.Contains(loginRefusals, r.status):
		return session{}, c.loginRefused(path, r)
	case errors.As(err, &r):
		return session{}, c.unavailable(r)
	case err != nil:
		return session{}, err
	case out.Auth == nil || !printable.MatchString(out.Auth.Token):
		return session{}, fmt.Errorf("%w: %s gave no token; does it ask for a second factor?", ErrToken, path)
	}
	return newSession(out.Auth.Token, time.Duration(out.Auth.TTL)*time.Second, out.Auth.Renewable, c.now()), nil
}

// lookup tells a live token from a dead one. A token that may not look itself
// up counts as dead: nothing else tells a missing policy apart.
func (c *client) lookup(ctx context.Context, token string) (session, error) {
	var out lookupReply
	err := c.send(ctx, http.MethodGet, "auth/token/lookup-self", token, nil, &out)
	var r *refusal
	switch {
	case errors.As(err, &r) && r.status == http.StatusForbidden:
		return session{}, c.dead()
	case errors.As(err, &r):
		return session{}, c.unavailable(r)
	case err != nil:
		return session{}, err
	case out.Data == nil:
		return session{}, c.notVault("a lookup holds no data")
	}
	return newSession(token, time.Duration(out.Data.TTL)*time.Second, out.Data.Renewable, c.now()), nil
}

// tend keeps the login alive: it renews or replaces the token when that is due,
// and returns when to call again (zero: after the next login). Its error is for
// the log: the token goes on being used until it ends.
func (c *client) tend(ctx context.Context) (next time.Time, err error) {
	s := c.session()
	now := c.now()
	if !s.usable(now) || s.due.IsZero() {
		return time.Time{}, nil
	}
	if now.Before(s.due) {
		return s.due, nil
	}
	leave, err := c.enter(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer leave()
	fresh, err := c.prolong(ctx, s)
	if err != nil {
		c.note(err)
		fresh = s
		fresh.due = c.now().Add(max(s.expires.Sub(c.now())/4, time.Second))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sess.token == s.token { // it was not dropped or replaced meanwhile
		c.sess = fresh
	}
	return c.sess.due, err
}

// prolong renews a token, or replaces it when it cannot be renewed or its
// maximum life is near, which shows as a renewal that gives half or less of the
// first life.
func (c *client) prolong(ctx context.Context, s session) (session, error) {
	if s.renewable {
		var out authReply
		err := c.send(ctx, http.MethodPost, "auth/token/renew-self", s.token, struct{}{}, &out)
		var r *refusal
		switch {
		case err == nil && out.Auth != nil && out.Auth.TTL <= 0: // it is at its end
		case err == nil && out.Auth != nil:
			life := time.Duration(out.Auth.TTL) * time.Second
			renewed := newSession(s.token, life, life > s.life/2, c.now())
			renewed.life = s.life
			return renewed, nil
		case err == nil:
			return session{}, c.notVault("a renewal holds no lease")
		case !errors.As(err, &r):
			return session{}, err
		case r.status != http.StatusForbidden && r.status != http.StatusBadRequest:
			return session{}, c.unavailable(r)
		}
	}
	if c.set.AuthMethod == AuthToken {
		return session{}, fmt.Errorf("%w: the token of config/transit ends at %s and cannot be renewed; write another one there before", ErrToken, s.expires.UTC().Format(time.RFC3339))
	}
	return c.login(ctx)
}

// leave ends a session that served once. Nothing depends on it: the token would
// also end by itself.
func (c *client) leave(ctx context.Context) {
	if s := c.session(); s.token != "" && c.set.AuthMethod != AuthToken {
		_ = c.send(context.WithoutCancel(ctx), http.MethodPost, "auth/token/revoke-self", s.token, struct{}{}, nil)
	}
	c.http.CloseIdleConnections()
}

// readJWT refuses whatever is not shaped like a JWT: who may write
// config/transit must not be able to have other files sent to an address.
func readJWT(file string) (string, error) {
	notJWT := fmt.Errorf("%w: jwt_file %s does not hold a JWT", ErrToken, file)
	// Not blocking: opening a pipe could wait for ever.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // an operator's own setting, and only a JWT leaves it
	if err != nil {
		return "", fmt.Errorf("%w: reading jwt_file: %w", ErrToken, err)
	}
	defer func() { _ = f.Close() }() // only read
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", notJWT
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxJWT))
	if err != nil {
		return "", fmt.Errorf("%w: reading jwt_file: %w", ErrToken, err)
	}
	parts := strings.Split(string(bytes.TrimSpace(raw)), ".")
	if len(parts) != 3 {
		return "", notJWT
	}
	for i, part := range parts {
		decoded, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || i < 2 && !json.Valid(decoded) {
			return "", notJWT
		}
	}
	return strings.Join(parts, "."), nil
}
