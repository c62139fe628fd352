package envelope

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func validSettings() Settings {
	return Settings{
		Address: "https://vault.example.com:8200", Mount: "transit", Key: "ai-keys",
		AuthMethod: AuthAppRole, AuthMount: "approle", RoleID: "role-id", SecretID: canarySecret,
		DataKeyTTL: 5 * time.Minute, Timeout: 5 * time.Second,
	}
}

func TestSettingsThatAreTaken(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Settings){
		"as they are":     func(*Settings) {},
		"loopback v4":     func(s *Settings) { s.Address = "http://127.0.0.53:8200" },
		"loopback v6":     func(s *Settings) { s.Address = "http://[::1]:8200/" },
		"localhost":       func(s *Settings) { s.Address = "http://localhost" },
		"behind a prefix": func(s *Settings) { s.Address = "https://proxy.example.com/vault/" },
		"deep mount":      func(s *Settings) { s.Mount = "team/transit_2" },
		"namespace":       func(s *Settings) { s.Namespace = "admin/team-a/" },
		"no caching":      func(s *Settings) { s.DataKeyTTL, s.Timeout = 0, 0 },
		"token":           func(s *Settings) { s.AuthMethod, s.AuthMount, s.Token = AuthToken, "", "hvs.x" },
		"kubernetes":      func(s *Settings) { s.AuthMethod, s.Role, s.JWTFile = AuthKubernetes, "engine", "/run/token" },
	} {
		s := validSettings()
		change(&s)
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSettingsThatAreRefusedNameTheField(t *testing.T) {
	t.Parallel()
	for field, changes := range map[string][]func(*Settings){
		"address": {
			func(s *Settings) { s.Address = "" },
			func(s *Settings) { s.Address = "vault.example.com:8200" },
			func(s *Settings) { s.Address = "http://vault.example.com" },
			func(s *Settings) { s.Address = "http://localhost.example.com" },
			func(s *Settings) { s.Address = "unix:///run/vault.sock" },
			func(s *Settings) { s.Address = "https://user:" + canarySecret + "@vault.example.com" },
			func(s *Settings) { s.Address = "https://vault.example.com?x=" + canarySecret },
			func(s *Settings) { s.Address = "https://vault.example.com/?" },
			func(s *Settings) { s.Address = "https://vault.example.com#x" },
			func(s *Settings) { s.Address = "https://vault.example.com/../x" },
			func(s *Settings) { s.Address = "https://vault.example.com/%2e%2e/x" },
			func(s *Settings) { s.Address = "https://vault.example.com/a b\x00" },
		},
		"ca_cert":   {func(s *Settings) { s.CACert = "/etc/ssl/ca.pem" }},
		"namespace": {func(s *Settings) { s.Namespace = "a//b" }, func(s *Settings) { s.Namespace = "a\r\nX-Vault-Token: x" }},
		"mount": {
			func(s *Settings) { s.Mount = "" }, func(s *Settings) { s.Mount = "../sys" }, func(s *Settings) { s.Mount = "a//b" },
			func(s *Settings) { s.Mount = "transit/" }, func(s *Settings) { s.Mount = "a/./b" }, func(s *Settings) { s.Mount = "a%2fb" },
		},
		"key": {
			func(s *Settings) { s.Key = "" }, func(s *Settings) { s.Key = "../../sys/health" }, func(s *Settings) { s.Key = "a/b" },
			func(s *Settings) { s.Key = ".." }, func(s *Settings) { s.Key = "a?b" }, func(s *Settings) { s.Key = "a#b" },
		},
		"data_key_ttl": {func(s *Settings) { s.DataKeyTTL = -1 }, func(s *Settings) { s.DataKeyTTL = time.Millisecond }},
		"timeout":      {func(s *Settings) { s.Timeout = -1 }, func(s *Settings) { s.Timeout = time.Hour }},
		"auth_method":  {func(s *Settings) { s.AuthMethod = "" }, func(s *Settings) { s.AuthMethod = "userpass" }},
		"auth_mount":   {func(s *Settings) { s.AuthMount = "" }, func(s *Settings) { s.AuthMount = "../../sys" }},
		"secret_id":    {func(s *Settings) { s.SecretID = "" }, func(s *Settings) { s.RoleID = "" }},
		"token": {
			func(s *Settings) { s.AuthMethod, s.Token = AuthToken, "" },
			func(s *Settings) { s.AuthMethod, s.Token = AuthToken, canaryToken+"\n" },
		},
		"jwt_file": {
			func(s *Settings) { s.AuthMethod, s.Role = AuthJWT, "engine" },
			func(s *Settings) { s.AuthMethod, s.JWTFile = AuthKubernetes, "/run/token" },
		},
	} {
		for i, change := range changes {
			s := validSettings()
			change(&s)
			err := s.Validate()
			if err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s, case %d: error = %v", field, i, err)
			}
		}
	}
}

func TestSettingsDoNotPrint(t *testing.T) {
	t.Parallel()
	s := validSettings()
	s.Token, s.RoleID = canaryToken, "CANARY-ROLE"
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s", &s, &s, &s, &s), fmt.Sprintf("%+v %#v", s, s)} {
		if strings.Contains(text, "CANARY") {
			t.Errorf("printed: %s", text)
		}
	}
	raw, err := json.Marshal(s)
	var back Settings
	if err == nil {
		err = json.Unmarshal(raw, &back)
	}
	if diff := cmp.Diff(s, back); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}
