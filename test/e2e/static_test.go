package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

func TestStaticKeyLife(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.static("main", fields{"rotation_period": "24h", "grace_period": "2s"}))
	first := s.creds("app")
	s.works(first, "the first key")
	if first.lease != "" || first.number("version") != 1 || first.number("rotation_period") != 86400 {
		t.Errorf("lease %q, version %v, rotation_period %v", first.lease, first.fields["version"], first.fields["rotation_period"])
	}
	if ttl := first.number("ttl"); ttl < 86000 || ttl > 86400 {
		t.Errorf("ttl is %d, want a day", ttl)
	}
	if _, err := time.Parse(time.RFC3339, first.fields["last_vault_rotation"].(string)); err != nil {
		t.Error(err)
	}
	if again := s.creds("app"); again.secret() != first.secret() {
		t.Error("two readers of a static role got two keys")
	}
	s.refused(http.StatusBadRequest, http.MethodGet, "creds/app?ttl=1m", nil, "ttl is for dynamic roles")

	done := s.write("rotate-role/app", nil)
	second := s.creds("app")
	if done.Data["key_id"] != second.id() || done.Data["previous_key_id"] != first.id() || second.number("version") != 2 {
		t.Errorf("rotate-role answers %v", done.Data)
	}
	s.works(second, "the second key")
	s.works(first, "the first key, in its grace")
	status := s.read("status/app")
	if status["phase"] != "overlap" || status["previous_key_id"] != first.id() || status["key_id"] != second.id() {
		t.Errorf("status in the grace: %v", status)
	}
	s.dies(first, "the first key, after its grace")
	s.until("the role is stable", func() bool { return s.read("status/app")["phase"] == "stable" })

	s.write("rotate-role/app", fields{"grace_period": 0})
	s.dead(second, "a key replaced with grace_period=0")
	third := s.creds("app")
	s.works(third, "the third key")

	// Two rotations within one grace: never more than two keys.
	s.write("rotate-role/app", fields{"grace_period": "1h"})
	s.write("rotate-role/app", fields{"grace_period": "1h"})
	s.dies(third, "the elder of two previous keys")
	if n := len(s.minted()); n != 2 {
		t.Errorf("%d keys are live, want 2", n)
	}
}

func TestScheduledRotation(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.static("main", fields{"rotation_period": "3s", "grace_period": "1s"}))
	first := s.creds("app")
	if ttl := first.number("ttl"); ttl < 1 || ttl > 3 {
		t.Errorf("ttl is %d, want at most the rotation period", ttl)
	}
	var second key
	s.until("a new key appears", func() bool {
		second = s.creds("app")
		return second.secret() != first.secret()
	})
	s.works(second, "the new key")
	if second.number("version") != 2 {
		t.Errorf("version %v, want 2", second.fields["version"])
	}
	if at, _ := s.cloud.Key(first.secret()); !at.Live { // asked of the book: it may be close
		if lived := at.Died.Sub(at.Created); lived < 4*time.Second {
			t.Errorf("the old key died %s after it was made, want the period and the grace", lived)
		}
	}
	s.dies(first, "the old key, after its grace")
	// On demand from now on: the schedule ends at once.
	s.write("roles/app", fields{"rotation_period": 0})
	last := s.creds("app")
	if last.number("ttl") != -1 || last.number("rotation_period") != -1 {
		t.Errorf("a role without a period says ttl %v, rotation_period %v", last.fields["ttl"], last.fields["rotation_period"])
	}
}

func TestCronSchedule(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.static("main", fields{"rotation_schedule": "0 3 * * SAT", "rotation_window": "2h"}))
	k := s.creds("app")
	if k.fields["rotation_schedule"] != "0 3 * * SAT" || k.number("rotation_window") != 7200 || k.number("ttl") < 1 || k.number("ttl") > 7*86400 {
		t.Errorf("schedule %v, window %v, ttl %v", k.fields["rotation_schedule"], k.fields["rotation_window"], k.fields["ttl"])
	}
	next, err := time.Parse(time.RFC3339, s.read("status/app")["next_rotation"].(string))
	if err != nil || next.Weekday() != time.Saturday || next.UTC().Hour() != 3 {
		t.Errorf("the next rotation is at %s (%v), want a Saturday at three", next, err)
	}
	s.refused(http.StatusBadRequest, http.MethodPut, "roles/app", fields{"rotation_schedule": "0 3 30 2 *"}, "never comes")
	s.refused(http.StatusBadRequest, http.MethodPut, "roles/app", fields{"rotation_schedule": "often"}, "five cron fields")
}

func TestStaticLeak(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.static("main", fields{"grace_period": "1h"}))
	first := s.creds("app")
	s.write("rotate-role/app", nil)
	second := s.creds("app")
	s.write("revoke/app", nil)
	s.dead(first, "the previous key, after revoke")
	s.dead(second, "the current key, after revoke")
	s.refused(http.StatusConflict, http.MethodGet, "creds/app", nil, "was withdrawn", "rotate-role/app")
	if st := s.read("status"); st["healthy"] != false || !cmp.Equal(st["withdrawn"], []any{"app"}) {
		t.Errorf("status: healthy %v, withdrawn %v", st["healthy"], st["withdrawn"])
	}
	s.write("revoke/app", nil) // again: no harm
	s.write("rotate-role/app", nil)
	third := s.creds("app")
	s.works(third, "the key after the leak")
	if third.number("version") != 3 {
		t.Errorf("version %v, want 3: versions are never used twice", third.fields["version"])
	}
	if st := s.read("status"); st["healthy"] != true {
		t.Errorf("status after the leak: %v", st)
	}
}

func TestTwoSlots(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.azure("cloud")
	scope := fields{
		"account": "cloud", "resource_group": s.fakes.Azure.ResourceGroup, "resource_name": s.fakes.Azure.ResourceName,
		"rotation_period": "24h", "grace_period": "2s",
	}
	s.refused(http.StatusBadRequest, http.MethodPut, "roles/chat", with(fields{"type": "dynamic"}, fields{
		"account": "cloud", "resource_group": "g", "resource_name": "n",
	}), "cannot mint keys on demand")
	s.write("roles/chat", scope)
	first := s.creds("chat")
	if first.id() != "Key1" {
		t.Errorf("the first key is %s: the engine takes Key1 as it is", first.id())
	}
	s.works(first, "Key1")
	s.refused(http.StatusBadRequest, http.MethodPut, "roles/second", scope, `role "chat" already holds`)

	s.write("rotate-role/chat", nil)
	second := s.creds("chat")
	if second.id() != "Key2" {
		t.Errorf("the second key is %s, want Key2", second.id())
	}
	s.works(second, "Key2")
	s.works(first, "Key1, in its grace")
	s.dies(first, "Key1, after its grace")
	s.works(second, "Key2, after the grace of Key1")

	s.write("rotate-role/chat", fields{"grace_period": 0})
	third := s.creds("chat")
	if third.id() != "Key1" {
		t.Errorf("the third key is %s, want Key1", third.id())
	}
	s.dead(second, "Key2, replaced with grace_period=0")
	s.write("revoke/chat", nil)
	s.dead(third, "a leaked slot")
	s.refused(http.StatusConflict, http.MethodGet, "creds/chat", nil, "was withdrawn")
	s.write("rotate-role/chat", nil)
	s.works(s.creds("chat"), "a slot after the leak")
}

func TestSlowSlots(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.write("config", fields{"provider_timeout": "10s", "verify_timeout": "10s"})
	s.azure("cloud")
	s.write("roles/chat", fields{
		"account": "cloud", "resource_group": s.fakes.Azure.ResourceGroup, "resource_name": s.fakes.Azure.ResourceName,
	})
	first := s.creds("chat")
	s.cloud.Azure.SetAsync(200*time.Millisecond, false) // 202, and later
	s.write("rotate-role/chat", fields{"grace_period": "1h"})
	s.works(s.creds("chat"), "a slot that took its time")
	s.works(first, "the other slot")
}

func TestImportedKey(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.anthropic("claude")
	s.write("roles/bot", fields{"account": "claude", "rotation_period": "24h", "grace_period": "2s"})
	s.refused(http.StatusConflict, http.MethodGet, "creds/bot", nil, "import/bot")
	s.refused(http.StatusConflict, http.MethodPut, "rotate-role/bot", nil, "import")

	first := s.cloud.Anthropic.AddKey("by hand 1", "", 0)
	s.refused(http.StatusConflict, http.MethodPut, "import/bot", fields{"api_key": first.Secret, "cas": 3}, "cas is 3")
	s.write("import/bot", fields{"api_key": first.Secret, "cas": 0})
	k1 := s.creds("bot")
	if k1.secret() != first.Secret || k1.id() != first.ID || k1.number("version") != 1 {
		t.Errorf("id %s, want %s; version %v", k1.id(), first.ID, k1.fields["version"])
	}
	s.works(k1, "an imported key")
	if again := s.write("import/bot", fields{"api_key": first.Secret}); (key{fields: again.Data}).number("version") != 1 {
		t.Errorf("importing the current key made version %v", again.Data["version"])
	}

	second := s.cloud.Anthropic.AddKey("by hand 2", "", 0)
	s.write("import/bot", fields{"api_key": second.Secret, "key_id": second.ID, "cas": 1})
	k2 := s.creds("bot")
	s.works(k2, "the second imported key")
	s.works(k1, "the first imported key, in its grace")
	s.dies(k1, "the first imported key, after its grace")
	if status := s.cloud.Anthropic.Status(first.ID); status != "inactive" {
		t.Errorf("the first key is %s, want inactive", status)
	}
	s.refused(http.StatusBadRequest, http.MethodPut, "import/bot", fields{"api_key": first.Secret}, "refuses this key")
	s.refused(http.StatusBadRequest, http.MethodPut, "import/bot", fields{"api_key": "sk-ant-" + mark}, "refuses this key")
	s.refused(http.StatusBadRequest, http.MethodPut, "import/bot", fields{}, "api_key is required")
	if k := s.creds("bot"); k.secret() != k2.secret() {
		t.Error("a refused import changed the key")
	}

	// A role's end leaves a person's key alone; revoke does not.
	s.remove("roles/bot")
	s.works(k2, "an imported key whose role is gone")
	s.write("roles/bot", fields{"account": "claude"})
	s.write("import/bot", fields{"api_key": second.Secret})
	s.write("revoke/bot", nil)
	s.dead(k2, "a leaked imported key")
}

func TestImportAtMint(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	stranger := s.cloud.OpenAI.AddUserKey(s.fakes.OpenAI.ProjectID, "by hand: a stranger's")
	s.write("roles/app", s.static("main", fields{"grace_period": 0}))
	minted := s.creds("app")
	person := s.cloud.OpenAI.AddUserKey(s.fakes.OpenAI.ProjectID, "by hand: to import")
	s.write("import/app", fields{"api_key": person.Secret})
	s.dies(minted, "the minted key that an imported one replaced")
	k := s.creds("app")
	s.works(k, "an imported key")
	s.remove("roles/app")
	s.works(k, "an imported key whose role is gone")
	s.write("revoke-account/main", nil)
	if at, ok := s.cloud.Key(stranger.Secret); !ok || !at.Live {
		t.Error("a key that the engine never knew is dead")
	}
	if at, ok := s.cloud.Key(person.Secret); !ok || !at.Live || at.Provider != providertest.ProviderOpenAI {
		t.Error("a person's key died with an account that no longer used it")
	}
}

func TestRotationWhileProviderIsAway(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.static("main", fields{"rotation_period": "2s", "grace_period": "1s"}))
	first := s.creds("app")
	s.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: http.StatusServiceUnavailable})
	s.until("status tells of the failure", func() bool { return s.read("status/app")["last_error"] != "" })
	if st := s.read("status"); st["healthy"] != false {
		t.Errorf("status is healthy while a rotation fails: %v", st)
	}
	if k := s.creds("app"); k.secret() != first.secret() {
		t.Error("another key is served than the one that works")
	}
	s.refused(http.StatusServiceUnavailable, http.MethodPut, "rotate-role/app", nil)
	s.cloud.ClearFaults()
	s.works(first, "the key, once the provider is back")
	s.until("the rotation is made good", func() bool { return s.creds("app").secret() != first.secret() })
	s.dies(first, "the old key")
	s.until("status is healthy again", func() bool { return s.read("status")["healthy"] == true })
}

func TestLostReplies(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/dyn", s.dynamic("main", nil))
	s.write("roles/sta", s.static("main", fields{"grace_period": "1h"}))
	s.creds("dyn") // makes the service account
	before := len(s.minted())
	for _, kind := range []providertest.Kind{providertest.Broken, providertest.CutShort, providertest.Hang} {
		for _, path := range []struct{ method, path string }{{http.MethodGet, "creds/dyn"}, {http.MethodPut, "rotate-role/sta"}} {
			s.cloud.Fault(providertest.Fault{Kind: kind, Method: http.MethodPost, Path: "/api_keys", Times: 1, After: true})
			s.refused(http.StatusServiceUnavailable, path.method, path.path, nil)
			if len(s.cloud.Faults()) != 0 {
				t.Fatalf("%s: %s never asked for a key", kind, path.path)
			}
		}
	}
	// The rotation is made good by itself; a lost leased key is withdrawn.
	s.until("what was lost is withdrawn", func() bool {
		return len(s.minted()) <= before+1 && s.read("status")["healthy"] == true
	})
	s.works(s.creds("sta"), "the static key")
	s.works(s.creds("dyn"), "a leased key")
}
