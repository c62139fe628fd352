package okta

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	org, id := acme(t, Options{})
	public, trusted := newCaller(t, org, ""), newCaller(t, org, org.APIToken())
	for _, c := range []caller{public, trusted} {
		for _, name := range []string{alice, "ALICE@acme.com", "alice"} {
			a := c.expect(http.StatusOK, "", "POST", "/api/v1/authn", password(name, secret))
			if a.Status != "SUCCESS" || a.SessionToken == "" || a.Embedded.User.ID != id {
				t.Errorf("%s: %+v", name, a)
			}
		}
		c.expect(http.StatusUnauthorized, "E0000004", "POST", "/api/v1/authn", password(alice, "wrong"))
		c.expect(http.StatusUnauthorized, "E0000004", "POST", "/api/v1/authn", password("mallory", secret))
		c.expect(http.StatusBadRequest, "E0000003", "POST", "/api/v1/authn", []int{1})
	}
	// A bad token is refused even where none is needed.
	newCaller(t, org, "stolen").expect(http.StatusUnauthorized, "E0000011", "POST", "/api/v1/authn", password(alice, secret))
	// The short name is nobody's once it could be two people's.
	if _, err := org.AddUser(User{Login: "alice@example.com", Password: secret}); err != nil {
		t.Fatal(err)
	}
	public.expect(http.StatusUnauthorized, "E0000004", "POST", "/api/v1/authn", password("alice", secret))
	if got := org.Calls()["POST /api/v1/authn"]; got != 14 {
		t.Errorf("%d calls were counted, want 14", got)
	}
	must(t, org.SetPassword(alice, "new"))
	public.expect(http.StatusUnauthorized, "E0000004", "POST", "/api/v1/authn", password(alice, secret))
	public.expect(http.StatusOK, "", "POST", "/api/v1/authn", password(alice, "new"))
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status   Status
		show     bool
		code     int
		error    string
		answered string
	}{
		{Active, false, http.StatusOK, "", "SUCCESS"},
		{PasswordExpired, false, http.StatusOK, "", "PASSWORD_EXPIRED"},
		{LockedOut, false, http.StatusUnauthorized, "E0000004", ""},
		{LockedOut, true, http.StatusOK, "", "LOCKED_OUT"},
		{Suspended, true, http.StatusUnauthorized, "E0000004", ""},
		{Deprovisioned, true, http.StatusUnauthorized, "E0000004", ""},
	} {
		org, _ := acme(t, Options{ShowLockOut: test.show})
		must(t, org.SetStatus(alice, test.status))
		a := newCaller(t, org, "").expect(test.code, test.error, "POST", "/api/v1/authn", password(alice, secret))
		if a.Status != test.answered {
			t.Errorf("%s: answered %q, want %q", test.status, a.Status, test.answered)
		}
	}
}

// enrolled is an organisation that wants a second factor, which alice has.
func enrolled(t *testing.T, f Factor) (*Org, Factor) {
	t.Helper()
	org, _ := acme(t, Options{})
	org.RequireMFA(true)
	f, err := org.Enroll(alice, f)
	must(t, err)
	return org, f
}

func TestNothingEnrolled(t *testing.T) {
	t.Parallel()
	org, _ := acme(t, Options{})
	org.RequireMFA(true)
	a := newCaller(t, org, "").expect(http.StatusOK, "", "POST", "/api/v1/authn", password(alice, secret))
	if a.Status != "MFA_ENROLL" || a.SessionToken != "" {
		t.Errorf("%+v", a)
	}
}

func TestPushAtLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		org, f := enrolled(t, Factor{Type: Push})
		must(t, org.AnswerPushes(alice, Ignore))
		c := newCaller(t, org, org.APIToken())
		a := c.expect(http.StatusOK, "", "POST", "/api/v1/authn", password(alice, secret))
		if a.Status != "MFA_REQUIRED" || len(a.Embedded.Factors) != 1 || a.Embedded.Factors[0].ID != f.ID {
			t.Fatalf("%+v", a)
		}
		path, body := "/api/v1/authn/factors/"+f.ID+"/verify", map[string]string{"stateToken": a.StateToken}
		poll := func(status, result string) answer {
			t.Helper()
			a := c.expect(http.StatusOK, "", "POST", path, body)
			if a.Status != status || a.FactorResult != result {
				t.Errorf("%q %q, want %q %q", a.Status, a.FactorResult, status, result)
			}
			if status == "MFA_CHALLENGE" && a.Embedded.Factor.ID != f.ID {
				t.Errorf("the answer does not say which factor: %+v", a)
			}
			return a
		}
		poll("MFA_CHALLENGE", "WAITING")
		poll("MFA_CHALLENGE", "WAITING")
		must(t, org.AnswerPushes(alice, Reject))
		poll("MFA_CHALLENGE", "REJECTED")
		must(t, org.AnswerPushes(alice, Approve))
		poll("MFA_CHALLENGE", "WAITING") // a second push
		if a := poll("SUCCESS", ""); a.SessionToken == "" {
			t.Errorf("%+v", a)
		}
		c.expect(http.StatusUnauthorized, "E0000011", "POST", path, body) // the token is used up
		want := []Transaction{
			{Login: alice, Type: Push, During: "authn", Result: "REJECTED"},
			{Login: alice, Type: Push, During: "authn", Result: "SUCCESS"},
		}
		if diff := cmp.Diff(want, org.Transactions()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLoginExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		org, f := enrolled(t, Factor{Type: Push})
		c := newCaller(t, org, "")
		a := c.expect(http.StatusOK, "", "POST", "/api/v1/authn", password(alice, secret))
		time.Sleep(patience)
		c.expect(http.StatusUnauthorized, "E0000011", "POST", "/api/v1/authn/factors/"+f.ID+"/verify",
			map[string]string{"stateToken": a.StateToken})
	})
}

func TestCodeAtLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		org, f := enrolled(t, Factor{Type: TOTP, Provider: "GOOGLE", Secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"})
		c := newCaller(t, org, "")
		path := "/api/v1/authn/factors/" + f.ID + "/verify"
		enter := func(status int, code, passCode string, causes ...string) {
			t.Helper()
			a := c.expect(http.StatusOK, "", "POST", "/api/v1/authn", password(alice, secret))
			if got := a.Embedded.Factors[0]; got.FactorType != "token:software:totp" || got.Provider != "GOOGLE" {
				t.Errorf("%+v", got)
			}
			c.expect(http.StatusNotFound, "E0000007", "POST", "/api/v1/authn/factors/another/verify",
				map[string]string{"stateToken": a.StateToken})
			a = c.expect(http.StatusOK, "", "POST", path, map[string]string{"stateToken": a.StateToken})
			if a.Status != "MFA_CHALLENGE" || a.FactorResult != "" {
				t.Errorf("without a code: %+v", a)
			}
			a = c.expect(status, code, "POST", path, map[string]string{"stateToken": a.StateToken, "passCode": passCode})
			if code == "" && a.Status != "SUCCESS" {
				t.Errorf("%+v", a)
			}
			for i, cause := range a.ErrorCauses {
				if cause.ErrorSummary != causes[i] {
					t.Errorf("because %q, want %q", cause.ErrorSummary, causes[i])
				}
			}
		}
		now, err := Code(f.Secret, time.Now())
		must(t, err)
		old, err := Code(f.Secret, time.Now().Add(-5*time.Minute))
		must(t, err)
		const mismatch = "Your passcode doesn't match our records. Please try again."
		const once = "Each code can only be used once. Please wait for a new code and try again."
		enter(http.StatusForbidden, "E0000068", old, mismatch)
		enter(http.StatusForbidden, "E0000068", "x", mismatch)
		enter(http.StatusOK, "", now)
		enter(http.StatusForbidden, "E0000068", now, once)
		time.Sleep(period)
		next, err := Code(f.Secret, time.Now())
		must(t, err)
		enter(http.StatusOK, "", next)
		must(t, org.SetStatus(alice, PasswordExpired)) // told after the second factor only
		a := c.expect(http.StatusOK, "", "POST", "/api/v1/authn", password(alice, secret))
		if a.Status != "MFA_REQUIRED" {
			t.Errorf("%+v", a)
		}
		time.Sleep(period)
		next, err = Code(f.Secret, time.Now())
		must(t, err)
		a = c.expect(http.StatusOK, "", "POST", path, map[string]string{"stateToken": a.StateToken, "passCode": next})
		if a.Status != "PASSWORD_EXPIRED" {
			t.Errorf("%+v", a)
		}
	})
}

// RFC 6238, appendix B, in six digits.
func TestCode(t *testing.T) {
	t.Parallel()
	const key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // 12345678901234567890
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if got, err := Code(key, time.Unix(at, 0)); err != nil || got != want {
			t.Errorf("at %d: %q, %v; want %q", at, got, err, want)
		}
	}
	if _, err := Code("not base32!", time.Unix(0, 0)); err == nil {
		t.Error("a secret that is not in base32 was taken")
	}
}
