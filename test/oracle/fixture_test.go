package oracle

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/cognitiveservices/armcognitiveservices"
	"github.com/anthropics/anthropic-sdk-go"
	anthropicpage "github.com/anthropics/anthropic-sdk-go/packages/pagination"
	"github.com/openai/openai-go/v3"
	openaipage "github.com/openai/openai-go/v3/packages/pagination"
	"golang.org/x/tools/txtar"
)

// A route says which type of an SDK takes a reply of the vendor's.
type route struct {
	request   string // a regular expression over "METHOD /path", without the query
	into      func() any
	tolerated []string
}

func stainless[T any](request string, tolerated ...string) route {
	return route{request, func() any { return new(T) }, tolerated}
}

// routes are by fixture. nil: the SDK has no type for it, or the adapter reads
// nothing of the reply but its status.
var routes = map[string][]route{
	"openai": {
		stainless[openaipage.ConversationCursorPage[openai.Project]](`GET .*/organization/projects`, listFields...),
		stainless[openaipage.ConversationCursorPage[openai.ProjectAPIKey]](`GET .*/projects/[^/]+/api_keys`, listFields...),
		stainless[openaipage.ConversationCursorPage[openai.ProjectServiceAccount]](`GET .*/service_accounts`, listFields...),
		stainless[openaipage.CursorPage[openai.AdminAPIKey]](`GET .*/admin_api_keys`, listFields...),
		stainless[openai.AdminOrganizationAdminAPIKeyNewResponse](`POST .*/admin_api_keys`),
		stainless[openai.AdminOrganizationAdminAPIKeyDeleteResponse](`DELETE .*/admin_api_keys/[^/]+`),
		stainless[openai.AdminOrganizationProjectServiceAccountAPIKeyNewResponse](`POST .*/service_accounts/[^/]+/api_keys`),
		stainless[openai.AdminOrganizationProjectServiceAccountNewResponse](`POST .*/service_accounts`),
		stainless[openai.ProjectServiceAccount](`POST .*/service_accounts/[^/]+`),
		stainless[openai.AdminOrganizationProjectServiceAccountDeleteResponse](`DELETE .*/service_accounts/[^/]+`),
		stainless[openai.AdminOrganizationProjectAPIKeyDeleteResponse](`DELETE .*/api_keys/[^/]+`),
		stainless[openaipage.Page[openai.Model]](`GET .*/models`, listFields...),
	},
	"anthropic": {
		stainless[anthropic.OrganizationInfo](`GET /v1/organizations/me`),
		stainless[anthropicpage.Page[anthropic.APIKey]](`GET /v1/organizations/api_keys`, oldWorkspace),
		stainless[anthropic.APIKey](`(GET|POST) /v1/organizations/api_keys/[^/]+`, oldWorkspace),
		{request: `GET /v1/models`},
	},
	"azure-openai": {
		stainless[armcognitiveservices.Account](`GET .*/accounts/[^/]+`),
		stainless[armcognitiveservices.AccountListResult](`GET .*/accounts`),
		stainless[armcognitiveservices.APIKeys](`POST .*/(listKeys|regenerateKey)`),
		{request: `GET .*/openai/v1/models`},
		{request: `GET .*/openid-configuration`},
		{request: `POST .*/oauth2/v2.0/token`},
		{request: `GET .*/operation.*`},
	},
}

func TestFixtures(t *testing.T) {
	t.Parallel()
	for name, table := range routes {
		archive, err := txtar.ParseFile(filepath.Join("..", "..", "backend", "provider", "testdata", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for _, f := range archive.Files {
			files[f.Name] = string(f.Data)
		}
		seen := 0
		for section, reply := range files {
			request, ok := strings.CutSuffix(section, ".reply")
			status, rest, _ := strings.Cut(reply, "\n")
			if !ok || !strings.HasPrefix(status, "200") {
				continue
			}
			_, body, _ := strings.Cut(rest, "\n\n")
			if strings.HasPrefix(rest, "\n") { // no headers
				body = rest[1:]
			}
			line, _, _ := strings.Cut(files[request], "\n")
			line, _, _ = strings.Cut(line, "?")
			seen++
			t.Run(name+" "+request, func(t *testing.T) {
				t.Parallel()
				readFixture(t, table, line, []byte(body))
			})
		}
		if seen == 0 {
			t.Errorf("%s: no replies found", name)
		}
	}
}

func readFixture(t *testing.T, table []route, line string, body []byte) {
	t.Helper()
	for _, r := range table {
		if !regexp.MustCompile(`^` + r.request + `$`).MatchString(line) {
			continue
		}
		if r.into == nil {
			return
		}
		into := r.into()
		switch into.(type) {
		case *armcognitiveservices.Account, *armcognitiveservices.AccountListResult, *armcognitiveservices.APIKeys:
			checkLossless(t, line, body, into)
		default:
			if err := json.Unmarshal(body, into); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			checkReply(t, line, into, r.tolerated...)
		}
		return
	}
	t.Errorf("the SDK knows no request %q", line)
}
