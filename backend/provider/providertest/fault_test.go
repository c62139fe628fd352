package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// answered is what a caller saw of a call that went wrong.
type answered struct {
	status int
	header http.Header
	body   string
	err    error
}

func (c caller) raw(ctx context.Context, method, address, body string) answered {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return answered{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header, string(raw), err}
}

// TestFaults runs each fault over both networks: in process and over a socket.
func TestFaults(t *testing.T) {
	t.Parallel()
	broken := func(a answered) bool { return a.err != nil && a.status == 0 }
	for _, tt := range []struct {
		name   string
		fault  providertest.Fault
		effect bool
		seen   func(answered) bool
	}{
		{"status", providertest.Fault{Kind: providertest.Status, Status: 403}, false, func(a answered) bool { return a.status == 403 && strings.Contains(a.body, `"error"`) }},
		{"5xx", providertest.Fault{Kind: providertest.Status}, false, func(a answered) bool { return a.status == 503 }},
		{"5xx after", providertest.Fault{Kind: providertest.Status, Status: 500, After: true}, true, func(a answered) bool { return a.status == 500 }},
		{"throttled", providertest.Fault{Kind: providertest.Throttled, RetryAfter: "17"}, false, func(a answered) bool { return a.status == 429 && a.header.Get("Retry-After") == "17" }},
		{"html", providertest.Fault{Kind: providertest.HTML}, false, func(a answered) bool { return a.status == 200 && strings.HasPrefix(a.body, "<!doctype") }},
		{"html 404", providertest.Fault{Kind: providertest.HTML, Status: 404}, false, func(a answered) bool { return a.status == 404 }},
		{"redirect", providertest.Fault{Kind: providertest.Redirect}, false, func(a answered) bool { return a.status == 307 && a.header.Get("Location") == "/_fake/followed" }},
		{"203", providertest.Fault{Kind: providertest.OtherSuccess}, true, func(a answered) bool { return a.status == 203 && strings.Contains(a.body, "CANARY") }},
		{"empty key", providertest.Fault{Kind: providertest.EmptyKey}, true, func(a answered) bool { return a.status == 200 && strings.Contains(a.body, `"value":""`) }},
		{"huge", providertest.Fault{Kind: providertest.Huge}, false, func(a answered) bool { return a.status == 200 && len(a.body) > 2<<20 && json.Valid([]byte(a.body)) }},
		{"huge after", providertest.Fault{Kind: providertest.Huge, After: true}, true, func(a answered) bool {
			return len(a.body) > 2<<20 && json.Valid([]byte(a.body)) && strings.Contains(a.body, "CANARY")
		}},
		{"cut short", providertest.Fault{Kind: providertest.CutShort}, true, func(a answered) bool { return a.status == 200 && errors.Is(a.err, io.ErrUnexpectedEOF) && a.body != "" }},
		{"broken", providertest.Fault{Kind: providertest.Broken}, false, broken},
		{"broken after", providertest.Fault{Kind: providertest.Broken, After: true}, true, broken},
	} {
		for _, network := range []string{"in process", "socket"} {
			t.Run(tt.name+" "+network, func(t *testing.T) {
				t.Parallel()
				cloud := providertest.New(providertest.Options{})
				base, admin := openAI, openAIAdmin(t, cloud)
				if network == "socket" {
					srv := httptest.NewServer(cloud.OpenAI)
					t.Cleanup(srv.Close)
					base, admin.client.Transport = srv.URL+"/v1/", srv.Client().Transport
				}
				account := openAIAdmin(t, cloud).member("a")
				fault := tt.fault
				fault.Method, fault.Path, fault.Provider, fault.Times = "POST", "api_keys", "openai", 1
				cloud.Fault(fault)
				mint := func() answered {
					return admin.raw(t.Context(), "POST", base+"organization/projects/proj_main/service_accounts/"+account+"/api_keys", `{"name":"tag"}`)
				}
				if got := mint(); !tt.seen(got) {
					t.Errorf("the caller saw %d, %d bytes, %v", got.status, len(got.body), got.err)
				}
				if n := len(cloud.Live(providertest.ProviderOpenAI)); (n == 1) != tt.effect {
					t.Errorf("%d keys live; effect wanted: %v", n, tt.effect)
				}
				calls := cloud.Calls()
				if last := calls[len(calls)-1]; last.Effect != tt.effect || last.Fault != string(tt.fault.Kind) {
					t.Errorf("the book says %+v", last)
				}
				if got := mint(); got.status != 200 || got.err != nil {
					t.Errorf("the call after the fault: %d, %v", got.status, got.err)
				}
			})
		}
	}
}

func TestFaultsAreCounted(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Method: "GET", Skip: 2, Times: 2})
	cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 502, Path: "admin_api_keys"})
	for i, want := range []int{200, 200, 500, 500, 200} {
		if got, _, err := admin.send("GET", openAI+"organization/projects", ""); got != want || err != nil {
			t.Errorf("call %d: %d, %v; want %d", i, got, err, want)
		}
	}
	for range 3 {
		admin.want(502, "GET", openAI+"organization/admin_api_keys", "")
	}
	if n := len(cloud.Faults()); n != 1 {
		t.Errorf("%d faults in force, want the endless one", n)
	}
	cloud.ClearFaults()
	admin.want(200, "GET", openAI+"organization/admin_api_keys", "")
}

// TestHooks fails each call of a story once before and once after its effect.
func TestHooks(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	account := admin.member("a")
	keys := openAI + "organization/projects/proj_main/service_accounts/" + account + "/api_keys"
	lost := errors.New("lost")
	for _, tt := range []struct {
		name string
		set  func(func(*http.Request) error)
		live int
	}{
		{"before", cloud.Before, 0},
		{"after", cloud.After, 1},
	} {
		seen := ""
		tt.set(func(r *http.Request) error {
			raw, err := io.ReadAll(r.Body)
			seen = string(raw)
			if err != nil || cloud.Counts().Calls < 0 {
				t.Errorf("the hook cannot look: %v", err)
			}
			return lost
		})
		if _, _, err := admin.send("POST", keys, `{"name":"x"}`); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: the caller saw %v", tt.name, err)
		}
		tt.set(nil)
		if n := len(cloud.Live(providertest.ProviderOpenAI)); n != tt.live || seen != `{"name":"x"}` {
			t.Errorf("%s: %d keys live, want %d; the hook saw %q", tt.name, n, tt.live, seen)
		}
	}
	admin.want(200, "POST", keys, `{"name":"y"}`)
}

func TestTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := providertest.New(providertest.Options{})
		admin := openAIAdmin(t, cloud)
		account := admin.member("a")
		cloud.SetPropagation(10 * time.Second)
		id, secret := admin.mint(account, `{"expires_in_seconds":86400}`)
		user := admin.with("Authorization", "Bearer "+secret)
		user.want(401, "GET", openAI+"models", "")
		time.Sleep(10 * time.Second)
		user.want(200, "GET", openAI+"models", "")
		if n := cloud.Counts().DeadUses; n != 0 {
			t.Errorf("a key too young counts as dead: %d", n)
		}
		time.Sleep(86390*time.Second - time.Nanosecond)
		user.want(200, "GET", openAI+"models", "")
		time.Sleep(time.Nanosecond)
		user.want(401, "GET", openAI+"models", "")
		key, _ := cloud.Key(secret)
		if key.Live || !key.Died.Equal(key.Expires) || cloud.Counts().DeadUses != 1 {
			t.Errorf("an expired key is %+v", key)
		}
		// Expired keys stay in the list and take no update.
		at := openAI + "organization/projects/proj_main/api_keys/" + id
		admin.want(200, "GET", at, "")
		admin.want(400, "POST", at, `{"expires_in_seconds":60}`)

		old := cloud.Anthropic.AddKey("old", "", time.Hour)
		time.Sleep(time.Hour)
		if got := cloud.Anthropic.Status(old.ID); got != "expired" {
			t.Errorf("status %q, want expired", got)
		}
	})
}

func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := providertest.New(providertest.Options{})
		admin := openAIAdmin(t, cloud)
		accounts := openAI + "organization/projects/proj_main/service_accounts"
		cloud.SetLatency(2 * time.Second)
		start := time.Now()
		admin.want(200, "GET", accounts, "")
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		for _, tt := range []struct {
			name   string
			fault  providertest.Fault
			effect int
		}{
			{"gone before", providertest.Fault{Kind: providertest.Slow, Latency: time.Minute, Times: 1}, 0},
			{"gone after", providertest.Fault{Kind: providertest.Slow, Latency: time.Minute, Times: 1, After: true}, 1},
			{"hang", providertest.Fault{Kind: providertest.Hang, Times: 1}, 1},
			{"hang after", providertest.Fault{Kind: providertest.Hang, Times: 1, After: true}, 2},
			{"late", providertest.Fault{Kind: providertest.Late, Latency: time.Minute, Times: 1}, 2},
		} {
			cloud.Fault(tt.fault)
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			got := admin.raw(ctx, "POST", accounts, `{"name":"a","create_service_account_only":true}`)
			cancel()
			synctest.Wait() // for the fake to notice
			if !errors.Is(got.err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
				t.Errorf("%s: the caller saw %v after %v", tt.name, got.err, time.Since(start))
			}
			if n := len(cloud.Owners()); n != tt.effect {
				t.Errorf("%s: %d accounts, want %d", tt.name, n, tt.effect)
			}
		}
		time.Sleep(time.Minute)
		if n := len(cloud.Owners()); n != 3 {
			t.Errorf("%d accounts in the end, want the late one as well", n)
		}
	})
}

func TestAzureAsync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := providertest.New(providertest.Options{})
		admin, resource := azureAdmin(t, cloud), azureResource(cloud)
		for _, tt := range []struct {
			fails bool
			state string
		}{{false, "Succeeded"}, {true, "Failed"}} {
			cloud.Azure.SetAsync(30*time.Second, tt.fails)
			old := admin.want(200, "POST", resource+"/listKeys"+version, "")
			got := admin.raw(t.Context(), "POST", resource+"/regenerateKey"+version, `{"keyName":"Key2"}`)
			operation := got.header.Get("Azure-AsyncOperation")
			if got.status != 202 || operation == "" || got.body != "" {
				t.Fatalf("the reply is %d with %d bytes", got.status, len(got.body))
			}
			if state := admin.want(200, "GET", operation, "")["status"]; state != "InProgress" {
				t.Errorf("state %v at once", state)
			}
			if now := admin.want(200, "POST", resource+"/listKeys"+version, ""); now["key2"] != old["key2"] {
				t.Error("the key changed before the operation ended")
			}
			time.Sleep(30 * time.Second)
			if state := admin.want(200, "GET", operation, "")["status"]; state != tt.state {
				t.Errorf("state %v in the end, want %s", state, tt.state)
			}
			now := admin.want(200, "POST", resource+"/listKeys"+version, "")
			if (now["key2"] == old["key2"]) != tt.fails {
				t.Errorf("the key changed: %v; the operation failed: %v", now["key2"] != old["key2"], tt.fails)
			}
		}
		time.Sleep(time.Hour)
		admin.want(401, "GET", resource+version, "") // the token is past its end
	})
}

func TestTransport(t *testing.T) {
	t.Parallel()
	handlers := map[string]http.Handler{
		"quiet.example": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		"port.example:8443": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Seen", r.Host+" "+r.RequestURI)
			w.WriteHeader(http.StatusTeapot)
			w.Header().Set("X-Late", "too late")
		}),
	}
	for _, tt := range []struct {
		name, address string
		sent          bool
		status        int
		check         func(*http.Response, error) bool
	}{
		{"unknown host", "https://nowhere.example/", false, 0, func(_ *http.Response, err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns)
		}},
		{"empty reply", "https://quiet.example/", true, 200, func(r *http.Response, _ error) bool { return r.TLS != nil }},
		{"port", "http://PORT.example:8443/a%2Fb?c=d", true, 418, func(r *http.Response, _ error) bool {
			return r.Header.Get("X-Seen") == "PORT.example:8443 /a%2Fb?c=d" && r.Header.Get("X-Late") == "" && r.TLS == nil
		}},
		{"wrong port", "http://port.example/", false, 0, func(_ *http.Response, err error) bool { return err != nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sent := false
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, tt.address, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := providertest.Transport(handlers).RoundTrip(req)
			if resp != nil {
				defer resp.Body.Close()
				if resp.StatusCode != tt.status {
					t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
				}
			}
			if sent != tt.sent || !tt.check(resp, err) {
				t.Errorf("sent %v, want %v; %v, %v", sent, tt.sent, resp, err)
			}
		})
	}
}

func TestTransportEnds(t *testing.T) {
	t.Parallel()
	network := providertest.Transport(map[string]http.Handler{
		"quiet.example": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		"crash.example": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") }),
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://quiet.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := network.RoundTrip(req); !errors.Is(err, context.Canceled) { //nolint:bodyclose // there is no reply
		t.Errorf("a cancelled request: %v", err)
	}
	defer func() {
		if recover() != "a mistake" {
			t.Error("a handler's own panic got lost")
		}
	}()
	req = req.WithContext(t.Context())
	req.URL.Host = "crash.example"
	_, _ = network.RoundTrip(req) //nolint:bodyclose // there is no reply
}
