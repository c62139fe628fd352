package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// TestStories runs testdata/*.txtar with Vault's own command line. Each has the
// engine mounted at $MOUNT, and these commands besides testscript's own:
//
//	as <persona>          go on with a token of the policy <persona>.hcl
//	vault <arguments>     run it; stdout and stderr look at what it wrote
//	keep <var> <field>    remember a field of what vault wrote as JSON
//	use <key> <status>    ask the provider something with a key; patient with 401
//	console <var>         make a key at Anthropic, as a person does there
//	live <n>              wait until so many minted keys are live at OpenAI
func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s := begin(t)
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: s.prepare,
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"as": as, "vault": vault, "keep": keep, "use": use, "console": console, "live": live,
				},
			})
		})
	}
}

// prepare tells a script where everything is.
func (s *story) prepare(env *testscript.Env) error {
	told := *s
	told.TB = env.T().(testing.TB)
	env.Values["story"] = &told
	for _, v := range s.vault.Environment("") {
		name, value, _ := strings.Cut(v, "=")
		env.Setenv(name, value)
	}
	for name, value := range map[string]string{
		"MOUNT": s.engine.Path, "OPENAI": s.fakes.OpenAI.BaseURL, "PROJECT": s.fakes.OpenAI.ProjectID, "ANTHROPIC": s.fakes.Anthropic.BaseURL,
	} {
		env.Setenv(name, value)
	}
	for name, key := range map[string]string{"openai.key": s.fakes.OpenAI.AdminKey, "anthropic.key": s.fakes.Anthropic.AdminKey} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(key), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func storyOf(ts *testscript.TestScript, neg bool, args []string, want int) *story {
	if neg || len(args) != want {
		ts.Fatalf("this command takes %d arguments, and no !", want)
	}
	return ts.Value("story").(*story)
}

func as(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts, neg, args, 1)
	ts.Setenv("VAULT_TOKEN", s.login(args[0], ts.ReadFile(args[0]+".hcl")).Token())
}

func vault(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("vault", args...)
	switch {
	case neg && err == nil:
		ts.Fatalf("vault did what it should refuse")
	case !neg:
		ts.Check(err)
	}
}

func keep(ts *testscript.TestScript, neg bool, args []string) {
	storyOf(ts, neg, args, 2)
	var said struct {
		Lease string         `json:"lease_id"`
		Data  map[string]any `json:"data"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &said))
	value, _ := said.Data[args[1]].(string)
	if args[1] == "lease_id" {
		value = said.Lease
	}
	if value == "" {
		ts.Fatalf("vault wrote no %s", args[1])
	}
	ts.Setenv(args[0], value)
}

func use(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts, neg, args, 2)
	at, ok := s.cloud.Key(args[0])
	if !ok {
		ts.Fatalf("no provider ever made this key")
	}
	base := map[string]string{providertest.ProviderOpenAI: s.fakes.OpenAI.BaseURL, providertest.ProviderAnthropic: s.fakes.Anthropic.BaseURL}
	k := key{fields: fields{"provider": at.Provider, "api_key": args[0], "api_base": base[at.Provider]}}
	if args[1] == strconv.Itoa(http.StatusUnauthorized) {
		s.dies(k, "the key")
		return
	}
	if status := s.use(k); strconv.Itoa(status) != args[1] {
		ts.Fatalf("the provider answers %d", status)
	}
}

func console(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts, neg, args, 1)
	ts.Setenv(args[0], s.cloud.Anthropic.AddKey("by hand", "", 0).Secret)
}

func live(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts, neg, args, 1)
	s.until(args[0]+" keys are live", func() bool { return strconv.Itoa(len(s.minted())) == args[0] })
}
