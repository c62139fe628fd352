package providertest

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"
)

// AzureOptions is the tenant and subscription that the fake Azure serves.
type AzureOptions struct {
	TenantID, ClientID, ClientSecret, SubscriptionID string
	// Resources are the Azure OpenAI resources; empty: one, [AzureGroup]/[AzureResourceName].
	Resources []AzureResource
	// Endpoint is where the data plane of a resource is, with {name} for its
	// name; empty: the vendor's own host names.
	Endpoint string
}

// An AzureResource is one Azure OpenAI resource: an account in the
// management API's words.
type AzureResource struct{ Group, Name string }

// The resource there is when [AzureOptions].Resources is empty.
const (
	AzureGroup        = "rg-ai"
	AzureResourceName = "ai-main"
)

func (o *AzureOptions) defaults(marker string) {
	o.TenantID = cmp.Or(o.TenantID, "00000000-0000-4000-8000-00000000000a")
	o.ClientID = cmp.Or(o.ClientID, "00000000-0000-4000-8000-00000000000b")
	o.ClientSecret = cmp.Or(o.ClientSecret, marker+"~azure-client-secret")
	o.SubscriptionID = cmp.Or(o.SubscriptionID, "00000000-0000-4000-8000-00000000000c")
	o.Endpoint = cmp.Or(o.Endpoint, "https://{name}.openai.azure.com/")
	if len(o.Resources) == 0 {
		o.Resources = []AzureResource{{AzureGroup, AzureResourceName}}
	}
}

// Azure is a fake of what a two-slot key needs of Azure: Entra's token
// endpoint, the management API of Cognitive Services accounts, and the data
// plane of Azure OpenAI. One handler serves all hosts; their paths differ.
//
// Sources: github.com/Azure/azure-rest-api-specs, Microsoft.CognitiveServices
// stable/2025-06-01 (cognitiveservices.json and examples/RegenerateKey.json,
// ListKeys.json, GetAccount.json), by way of the code generated from it,
// .../resourcemanager/cognitiveservices/armcognitiveservices v1.8.0;
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
// for tokens; https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
// for status 202; https://learn.microsoft.com/azure/ai-foundry/openai/reference for the data plane.
//
// The specification knows only 200 for regenerateKey; 202 is seen in the wild,
// so there is a switch for it: [Azure.SetAsync]. Error texts are assumed.
type Azure struct {
	c *Cloud

	tokens     map[string]azureToken
	operations []*operation
	async      time.Duration
	asyncFails bool
}

type azureToken struct {
	audience string
	expires  time.Time
}

// An operation regenerates a key later.
type operation struct {
	id       string
	resource AzureResource
	slot     string
	done     time.Time
	settled  bool
	fails    bool
}

// The slots of a resource. They are called so when they are named, and
// key1 and key2 when their values are listed.
var azureSlots = []string{"Key1", "Key2"}

func (z *Azure) name() string { return ProviderAzure }

// ServeHTTP serves Entra, the management API, the data plane and the control endpoint.
func (z *Azure) ServeHTTP(w http.ResponseWriter, r *http.Request) { z.c.serve(z, w, r) }

func (z *Azure) reset() {
	z.tokens, z.operations = map[string]azureToken{}, nil
	z.async, z.asyncFails = 0, false
	for _, res := range z.c.options.Azure.Resources {
		for _, slot := range azureSlots {
			z.issue(res, slot)
		}
	}
}

// issue gives a slot a new value; the old one dies at once.
func (z *Azure) issue(res AzureResource, slot string) *record {
	if old := z.slot(res, slot); old != nil {
		z.c.kill(old)
	}
	secret := z.c.secret("")
	for len(secret) < 84 {
		secret += rand.Text()
	}
	return z.c.add(&record{Key: Key{
		Provider: ProviderAzure, ID: slot, Owner: res.Name, Scope: res.Group, Secret: secret[:84], Hint: hint(secret[:84], 3, 3),
	}})
}

// slot is the newest value of a slot, which may be dead if somebody killed it.
func (z *Azure) slot(res AzureResource, slot string) *record {
	for _, r := range slices.Backward(z.c.records) {
		if r.Provider == ProviderAzure && r.Owner == res.Name && r.Scope == res.Group && r.ID == slot {
			return r
		}
	}
	return nil
}

// Regenerate does what the portal's button does, at once.
func (z *Azure) Regenerate(res AzureResource, slot string) Key {
	z.c.mu.Lock()
	defer z.c.mu.Unlock()
	z.settle()
	return z.issue(res, slot).view(time.Now())
}

// SetAsync makes regenerateKey answer 202 and take effect after d; 0 makes it
// answer 200 again. With fails, operations end as failed and change nothing.
func (z *Azure) SetAsync(d time.Duration, fails bool) {
	z.c.mu.Lock()
	defer z.c.mu.Unlock()
	z.async, z.asyncFails = d, fails
}

// settle carries out the operations whose time has come. The caller holds mu.
func (z *Azure) settle() {
	for _, op := range z.operations {
		if !op.settled && !time.Now().Before(op.done) {
			op.settled = true
			if !op.fails {
				z.issue(op.resource, op.slot)
			}
		}
	}
}

func (z *Azure) endpoint(res AzureResource) string {
	return strings.ReplaceAll(z.c.options.Azure.Endpoint, "{name}", strings.ToLower(res.Name))
}

func (z *Azure) handle(r *http.Request, body []byte) reply {
	z.settle()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case strings.EqualFold(parts[0], "subscriptions"):
		return z.management(r, parts, body)
	case strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token"):
		return z.token(r, parts[0], body)
	case strings.HasSuffix(r.URL.Path, "/v2.0/.well-known/openid-configuration"):
		return z.discovery(r, parts[0])
	case strings.Contains(r.URL.Path, "/openai/v1/"):
		return z.dataPlane(r, body)
	default:
		return z.fail(http.StatusNotFound, "NotFound", "no such path")
	}
}

// dataPlane takes a key of the resource that is addressed and of no other one.
func (z *Azure) dataPlane(r *http.Request, body []byte) reply {
	before, path, _ := strings.Cut(r.URL.Path, "/openai/v1/")
	who := z.c.use(ProviderAzure, r.Header.Get("api-key"))
	if who == nil || !strings.HasPrefix(z.endpoint(AzureResource{Name: who.Owner}), "https://"+strings.ToLower(r.Host)+before+"/") {
		return z.fail(http.StatusUnauthorized, "401", "Access denied due to invalid subscription key or wrong API endpoint. "+
			"Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.")
	}
	switch r.Method + " " + path {
	case "GET models":
		return jsonReply(http.StatusOK, openAIModels(who.Created))
	case "POST chat/completions":
		model, err := readModel(body)
		if err != nil {
			return z.fail(http.StatusBadRequest, "BadRequest", err.Error())
		}
		return jsonReply(http.StatusOK, completion(z.c.id("chatcmpl-"), model))
	default:
		return z.fail(http.StatusNotFound, "404", "Resource not found")
	}
}

func (z *Azure) refusal(status int) reply {
	return z.fail(status, strings.ReplaceAll(http.StatusText(status), " ", ""), http.StatusText(status))
}

func (z *Azure) fail(status int, code, message string) reply {
	return jsonReply(status, object{"error": object{"code": code, "message": message}})
}
