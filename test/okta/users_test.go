package okta

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestToken(t *testing.T) {
	t.Parallel()
	org, id := acme(t, Options{})
	paths := []string{"/api/v1/users", "/api/v1/users/" + id, "/api/v1/users/" + id + "/groups", "/api/v1/users/" + id + "/factors"}
	old := org.APIToken()
	for _, path := range paths {
		newCaller(t, org, "").expect(http.StatusForbidden, "E0000005", "GET", path, nil)
		newCaller(t, org, "guess").expect(http.StatusUnauthorized, "E0000011", "GET", path, nil)
		var list any
		if status := newCaller(t, org, old).any("GET", path, nil, &list); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	fresh := org.RenewAPIToken()
	newCaller(t, org, old).expect(http.StatusUnauthorized, "E0000011", "GET", paths[1], nil)
	newCaller(t, org, fresh).expect(http.StatusOK, "", "GET", paths[1], nil)
	org.RevokeAPIToken()
	newCaller(t, org, fresh).expect(http.StatusUnauthorized, "E0000011", "GET", paths[1], nil)
	if org.APIToken() != "" {
		t.Error("there is a token after it was revoked")
	}
}

func TestUnknownEndpoints(t *testing.T) {
	t.Parallel()
	org, id := acme(t, Options{})
	c := newCaller(t, org, org.APIToken())
	c.expect(http.StatusNotFound, "E0000008", "GET", "/api/v1/nothing", nil)
	c.expect(http.StatusMethodNotAllowed, "E0000022", "DELETE", "/api/v1/users/"+id, nil)
	c.expect(http.StatusMethodNotAllowed, "E0000022", "GET", "/api/v1/authn", nil)
	c.expect(http.StatusNotFound, "E0000007", "GET", "/api/v1/users/nobody/groups", nil)
	if got := org.Calls()[""]; got != 3 {
		t.Errorf("%d requests to no endpoint were counted, want 3", got)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	org, id := acme(t, Options{})
	c := newCaller(t, org, org.APIToken())
	names := func() []string {
		t.Helper()
		var groups []struct {
			ID, Type string
			Profile  struct{ Name string }
		}
		if status := c.any("GET", "/api/v1/users/"+id+"/groups", nil, &groups); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		var names []string
		for _, g := range groups {
			names = append(names, g.Type+" "+g.Profile.Name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"BUILT_IN Everyone", "OKTA_GROUP AI-Developers"}, names()); diff != "" {
		t.Error(diff)
	}
	must(t, org.Join(alice, "AI-Admins"))
	must(t, org.Join(alice, "AI-Admins"))
	must(t, org.Leave(alice, "AI-Developers"))
	if diff := cmp.Diff([]string{"BUILT_IN Everyone", "OKTA_GROUP AI-Admins"}, names()); diff != "" {
		t.Error(diff)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	org, id := acme(t, Options{})
	_, err := org.AddUser(User{Login: `quote"d\@acme.com`, Password: "x", Email: "q@example.com"})
	must(t, err)
	_, err = org.AddUser(User{Login: "gone@acme.com", Password: "x"})
	must(t, err)
	must(t, org.SetStatus("gone@acme.com", Deprovisioned))
	c := newCaller(t, org, org.APIToken())
	for filter, want := range map[string]string{
		"":                                       alice + ` quote"d\@acme.com`,
		`profile.login eq "alice@acme.com"`:      alice,
		`profile.login eq "ALICE@ACME.COM"`:      alice,
		`profile.login eq "alice"`:               "", // a short name is no login
		`profile.login eq "quote\"d\\@acme.com"`: `quote"d\@acme.com`,
		`profile.email eq "q@example.com"`:       `quote"d\@acme.com`,
		`id eq "` + id + `"`:                     alice,
		`status eq "DEPROVISIONED"`:              "gone@acme.com",
		`profile.login eq "nobody@acme.com"`:     "",
	} {
		path := "/api/v1/users"
		if filter != "" {
			path += "?filter=" + url.QueryEscape(filter)
		}
		var users []struct {
			Profile struct{ Login string }
		}
		if status := c.any("GET", path, nil, &users); status != http.StatusOK {
			t.Errorf("%s: status %d", filter, status)
		}
		var got []string
		for _, u := range users {
			got = append(got, u.Profile.Login)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	for _, query := range []string{"filter=login+eq+%22x%22", "filter=profile.login+sw+%22x%22", "q=alice", `filter=profile.login+eq+"a"b"`} {
		c.expect(http.StatusBadRequest, "E0000031", "GET", "/api/v1/users?"+query, nil)
	}
}

func TestVerifyPush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		org, id := acme(t, Options{})
		f, err := org.Enroll(alice, Factor{Type: Push})
		must(t, err)
		c := newCaller(t, org, org.APIToken())
		var factors []struct{ ID, FactorType, Status string }
		c.any("GET", "/api/v1/users/"+id+"/factors", nil, &factors)
		if len(factors) != 1 || factors[0].ID != f.ID || factors[0].FactorType != "push" || factors[0].Status != "ACTIVE" {
			t.Errorf("%+v", factors)
		}
		send := func() string {
			t.Helper()
			a := c.expect(http.StatusCreated, "", "POST", "/api/v1/users/"+id+"/factors/"+f.ID+"/verify", map[string]string{})
			var poll struct{ Href string }
			must(t, json.Unmarshal(a.Links["poll"], &poll))
			path, here := strings.CutPrefix(poll.Href, "https://acme.okta.com/")
			if a.FactorResult != "WAITING" || !here {
				t.Fatalf("%+v", a)
			}
			return "/" + path
		}
		poll := func(path, want string) {
			t.Helper()
			if a := c.expect(http.StatusOK, "", "GET", path, nil); a.FactorResult != want {
				t.Errorf("%q, want %q", a.FactorResult, want)
			}
		}
		approved := send()
		poll(approved, "SUCCESS")
		must(t, org.AnswerPushes(alice, Ignore))
		rejected := send()
		poll(rejected, "WAITING")
		must(t, org.AnswerPushes(alice, Reject))
		poll(rejected, "REJECTED")
		must(t, org.AnswerPushes(alice, Ignore))
		late := send()
		time.Sleep(patience)
		poll(late, "TIMEOUT")
		// What is over stays as it is.
		must(t, org.AnswerPushes(alice, Approve))
		poll(rejected, "REJECTED")
		poll(late, "TIMEOUT")
		c.expect(http.StatusNotFound, "E0000007", "GET", approved+"x", nil)
		c.expect(http.StatusNotFound, "E0000007", "POST", "/api/v1/users/"+id+"/factors/x/verify", nil)
	})
}

func TestVerifyCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		org, id := acme(t, Options{})
		f, err := org.Enroll(alice, Factor{Type: TOTP})
		must(t, err)
		c := newCaller(t, org, org.APIToken())
		path := "/api/v1/users/" + id + "/factors/" + f.ID + "/verify"
		code, err := Code(f.Secret, time.Now())
		must(t, err)
		c.expect(http.StatusForbidden, "E0000068", "POST", path, map[string]string{"passCode": "0"})
		if a := c.expect(http.StatusOK, "", "POST", path, map[string]string{"passCode": code}); a.FactorResult != "SUCCESS" {
			t.Errorf("%+v", a)
		}
		c.expect(http.StatusForbidden, "E0000068", "POST", path, map[string]string{"passCode": code})
	})
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	org, _ := acme(t, Options{})
	_, again := org.AddUser(User{Login: "Alice@acme.com", Password: "x"})
	_, nameless := org.AddUser(User{Password: "x"})
	_, unknown := org.Enroll(alice, Factor{Type: "sms"})
	_, garbled := org.Enroll(alice, Factor{Type: TOTP, Secret: "1"})
	_, nobody := org.Enroll("nobody", Factor{Type: Push})
	for i, err := range []error{again, nameless, unknown, garbled, nobody, org.Join("nobody", "x"), org.SetStatus("nobody", Active)} {
		if err == nil {
			t.Errorf("mistake %d was not noticed", i)
		}
	}
}
