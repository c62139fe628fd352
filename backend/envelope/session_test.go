package envelope

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestARevokedTokenIsReplacedByOneLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.DataKeyTTL = 0 })
	b := w.seal(t, "key/a")
	w.vault.set(func(f *fakeVault) { clear(f.tokens) })
	w.opens(t, w.Keyring, "key/a", b)
	if got := w.vault.count("login"); got != 2 {
		t.Errorf("%d logins; want 2", got)
	}

	// A role whose tokens are dead on arrival costs one login in a request.
	w.vault.set(func(f *fakeVault) {
		f.before = func(op string, _ http.ResponseWriter, _ *http.Request) bool {
			if op == "decrypt" {
				f.set(func(f *fakeVault) { clear(f.tokens) })
			}
			return false
		}
	})
	w.fails(t, w.openErr(t, "key/a", b), ErrToken, "fresh login is refused")
	if got := w.vault.count("login"); got != 3 {
		t.Errorf("%d logins; want 3", got)
	}
	_, err := w.restart().Open(t.Context(), w.store, "key/a", b)
	w.fails(t, err, ErrToken, "fresh login is refused")
	if got := w.vault.count("login"); got != 4 {
		t.Errorf("%d logins; want 4", got)
	}
	w.vault.set(func(f *fakeVault) { f.before = nil })
	w.opens(t, w.Keyring, "key/a", b)

	w.vault.set(func(f *fakeVault) { clear(f.tokens); f.secretID = "another" })
	w.fails(t, w.openErr(t, "key/a", b), ErrToken, "check auth_mount and the credential")
}

func TestAPolicyThatIsWithdrawnIsNotTakenForADeadToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.DataKeyTTL = 0 })
	b := w.seal(t, "key/a")
	w.vault.set(func(f *fakeVault) { f.denied["decrypt"] = true })
	w.fails(t, w.openErr(t, "key/a", b), ErrPolicy, "update on transit/decrypt/ai-keys")
	if got := w.vault.count("login"); got != 1 {
		t.Errorf("%d logins; want 1", got)
	}
	w.vault.set(func(f *fakeVault) { f.noLookup = true })
	w.fails(t, w.openErr(t, "key/a", b), ErrToken, "default policy")
	w.vault.set(func(f *fakeVault) {
		f.before = func(op string, rw http.ResponseWriter, _ *http.Request) bool {
			if op == "lookup-self" {
				rw.WriteHeader(http.StatusInternalServerError)
			}
			return op == "lookup-self"
		}
	})
	w.fails(t, w.openErr(t, "key/a", b), ErrUnreachable, "finding out why transit/decrypt/ai-keys was denied")
}

func TestAGivenToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.AuthMethod, s.AuthMount, s.Token, s.DataKeyTTL = AuthToken, "", canaryToken, 0 })
	b := w.seal(t, "key/a")
	w.vault.set(func(f *fakeVault) { f.denied["decrypt"] = true })
	w.fails(t, w.openErr(t, "key/a", b), ErrPolicy, "transit/decrypt")
	w.vault.set(func(f *fakeVault) { clear(f.tokens) })
	w.fails(t, w.openErr(t, "key/a", b), ErrToken, "write another one there")
	w.fails(t, w.openErr(t, "key/a", b), ErrToken, "write another one there")
	if got := w.vault.count("login"); got != 0 {
		t.Errorf("%d logins", got)
	}
	for body, want := range map[string]string{`{}`: "no data", `<html>`: "not Vault"} {
		w.vault.set(func(f *fakeVault) {
			f.before = func(_ string, rw http.ResponseWriter, _ *http.Request) bool {
				_, _ = io.WriteString(rw, body)
				return true
			}
		})
		w.fails(t, w.openErr(t, "key/a", b), ErrUnreachable, want)
	}
	w.vault.set(func(f *fakeVault) { f.before = nil; f.tokens[canaryToken] = &fakeToken{}; clear(f.denied) })
	w.opens(t, w.Keyring, "key/a", b)
	c, err := newClient(w.set, w.net, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.token(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.leave(t.Context())
	if w.vault.count("revoke-self") != 0 {
		t.Error("the operator's token was revoked")
	}
}

func TestAJWTIsReadOnEachLogin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJlbmdpbmUifQ.c2ln"
	w := newWorld(t, func(s *Settings) {
		s.AuthMethod, s.AuthMount, s.Role, s.JWTFile, s.DataKeyTTL = AuthKubernetes, "kubernetes", "engine", file, 0
	})
	seal := func() error {
		_, err := w.Seal(t.Context(), w.store, "key/a", []byte(canaryPlain))
		return err
	}
	w.fails(t, seal(), ErrToken, "no such file")
	for _, content := range []string{
		"", canarySecret, "a.b", "root:x:0:0:root.x.y", "e30.e30.!", "YQ.YQ.YQ", strings.Repeat("A", 2*maxJWT),
	} {
		write(t, file, content)
		w.fails(t, seal(), ErrToken, "does not hold a JWT")
	}
	if got := w.vault.count("login"); got != 0 {
		t.Errorf("%d logins with what is no JWT", got)
	}
	w.vault.set(func(f *fakeVault) { f.jwt = jwt })
	write(t, file, jwt+"\n")
	if err := seal(); err != nil {
		t.Fatal(err)
	}
	if _, err := readJWT(filepath.Dir(file)); !errors.Is(err, ErrToken) {
		t.Errorf("reading a directory: %v", err)
	}
	if _, err := readJWT("/proc/self/mem"); !errors.Is(err, ErrToken) {
		t.Errorf("reading what cannot be read: %v", err)
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// For a week, readers never see a login fail, whatever a token's life is like.
func TestTheLoginIsKeptAlive(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change         func(*fakeVault)
		method         string
		logins, renews int // about
	}{
		"renewable to a maximum": {func(*fakeVault) {}, AuthAppRole, 8, 252},
		"not renewable":          {func(f *fakeVault) { f.renewable = false }, AuthAppRole, 252, 0},
		"periodic token": {func(f *fakeVault) {
			f.tokens[canaryToken] = &fakeToken{expires: time.Now().Add(time.Hour)}
		}, AuthToken, 0, 252},
		"endless token": {func(*fakeVault) {}, AuthToken, 0, 0},
		"endless login": {func(f *fakeVault) { f.ttl = 0 }, AuthAppRole, 1, 0},
		"renewal is empty": {func(f *fakeVault) {
			f.before = func(op string, w http.ResponseWriter, _ *http.Request) bool {
				if op == "renew-self" {
					_, _ = io.WriteString(w, `{"auth":{"lease_duration":0}}`)
				}
				return op == "renew-self"
			}
		}, AuthAppRole, 252, 252},
		"renewal is refused": {func(f *fakeVault) { f.before = refuseRenewal }, AuthAppRole, 252, 252},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(s *Settings) { s.AuthMethod, s.Token = c.method, canaryToken })
				w.vault.set(c.change)
				stop := w.run(t)
				defer stop()
				b := w.seal(t, "key/a")
				logins := w.vault.count("login")
				time.Sleep(1700 * time.Millisecond) // so that no reader comes at the moment of a renewal
				for range 7 * 24 * 20 {
					before := w.vault.count("login")
					w.opens(t, w.Keyring, "key/a", b)
					if w.vault.count("login") != before {
						t.Fatal("a reader had to log in")
					}
					time.Sleep(3 * time.Minute)
				}
				logins = w.vault.count("login") - logins + min(logins, 1)
				renews := w.vault.count("renew-self")
				if !about(logins, c.logins) || !about(renews, c.renews) {
					t.Errorf("%d logins and %d renewals; want about %d and %d", logins, renews, c.logins, c.renews)
				}
				if s := w.Status(); !s.LoggedIn || s.Failing || w.vault.refused != 0 {
					t.Errorf("status = %+v; %d calls refused", s, w.vault.refused)
				}
			})
		})
	}
}

func about(got, want int) bool { return got*100 >= want*95 && got*100 <= want*105 }

func refuseRenewal(op string, w http.ResponseWriter, _ *http.Request) bool {
	if op == "renew-self" {
		w.WriteHeader(http.StatusForbidden)
	}
	return op == "renew-self"
}

func TestALoginThatCannotBeKeptAlive(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) func(*fakeVault) {
		return func(f *fakeVault) {
			f.before = func(op string, w http.ResponseWriter, _ *http.Request) bool {
				if op == "renew-self" {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, body)
				}
				return op == "renew-self"
			}
		}
	}
	for name, c := range map[string]struct {
		method string
		change func(*fakeVault)
		want   string
	}{
		"given token at its end": {AuthToken, func(f *fakeVault) { f.renewable = false }, "cannot be renewed"},
		"renewal answers 500":    {AuthAppRole, answer(500, canaryBody), "status 500"},
		"renewal is no lease":    {AuthAppRole, answer(200, `{}`), "no lease"},
		"renewal is HTML":        {AuthAppRole, answer(200, `<html>`+canaryBody), "not Vault"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(s *Settings) { s.AuthMethod, s.Token = c.method, canaryToken })
				w.vault.set(func(f *fakeVault) {
					f.tokens[canaryToken] = &fakeToken{expires: time.Now().Add(time.Hour)}
				})
				w.vault.set(c.change)
				stop := w.run(t)
				defer stop()
				w.seal(t, "key/a")
				time.Sleep(41 * time.Minute)
				s := w.Status()
				if !s.Failing || !strings.Contains(s.LastError, c.want) || !s.LoggedIn {
					t.Errorf("status = %+v; want %q", s, c.want)
				}
				if !strings.Contains(w.log.String(), "keeping the login to transit alive failed") {
					t.Error("the log says nothing")
				}
				time.Sleep(time.Hour)
				if w.Status().LoggedIn {
					t.Error("a token is used past its end")
				}
				w.vault.set(func(f *fakeVault) { f.tokens[canaryToken] = &fakeToken{}; f.before = nil })
				w.seal(t, "key/a")
			})
		})
	}
}

// Many callers without a login wait for one, and who gives up is let go.
func TestOneLoginServesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(s *Settings) { s.Timeout = 10 * time.Second })
		w.vault.set(func(f *fakeVault) {
			f.before = func(op string, _ http.ResponseWriter, _ *http.Request) bool {
				if op == "login" {
					time.Sleep(3 * time.Second)
				}
				return false
			}
		})
		c := w.state.Load().transit
		for range 10 {
			go func() {
				if _, _, err := c.token(t.Context()); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := c.token(short)
		w.fails(t, err, ErrUnreachable, "within timeout")
		time.Sleep(time.Minute)
		if got := w.vault.count("login"); got != 1 {
			t.Errorf("%d logins; want 1", got)
		}

		// The same door orders renewals.
		leave, err := c.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(41 * time.Minute)
		short, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.tend(short)
		w.fails(t, err, ErrUnreachable, "within timeout")
		leave()
	})
}
