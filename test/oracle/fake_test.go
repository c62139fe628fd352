package oracle

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/cognitiveservices/armcognitiveservices"
	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

type openaiServiceAccount = openai.ProjectServiceAccount

const project = providertest.MainProject

// listFields are in OpenAI's lists by its reference, but not in its SDK's
// types of a page.
var listFields = []string{"object", "first_id", "last_id"}

// oldWorkspace is deprecated: only the SDK's beta types still have it.
const oldWorkspace = "workspace_id"

// The SDKs, pointed at a round tripper. None of them reads the environment
// when it is made like this, and none retries.

func openAIOptions(rt http.RoundTripper, o providertest.Options) []openaioption.RequestOption {
	return []openaioption.RequestOption{
		openaioption.WithBaseURL("https://api.openai.com/v1/"), openaioption.WithMaxRetries(0),
		openaioption.WithHTTPClient(&http.Client{Transport: rt}), openaioption.WithAdminAPIKey(o.OpenAI.AdminKey),
	}
}

func anthropicOptions(rt http.RoundTripper, o providertest.Options) []anthropicoption.RequestOption {
	return []anthropicoption.RequestOption{
		anthropicoption.WithBaseURL("https://api.anthropic.com/"), anthropicoption.WithMaxRetries(0),
		anthropicoption.WithHTTPClient(&http.Client{Transport: rt}), anthropicoption.WithAPIKey(o.Anthropic.AdminKey),
	}
}

// azureCredential signs in at the fake Entra.
type azureCredential struct {
	rt http.RoundTripper
	o  providertest.AzureOptions
}

// GetToken implements [azcore.TokenCredential].
func (c azureCredential) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := signIn(ctx, c.rt, c.o)
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, err
}

// courier is a round tripper in azcore's words.
type courier struct{ http.RoundTripper }

// Do implements the transport of azcore.
func (c courier) Do(r *http.Request) (*http.Response, error) { return c.RoundTrip(r) }

func azureAccounts(t *testing.T, rt http.RoundTripper, o providertest.Options) *armcognitiveservices.AccountsClient {
	t.Helper()
	client, err := armcognitiveservices.NewAccountsClient(o.Azure.SubscriptionID, azureCredential{rt, o.Azure}, &arm.ClientOptions{
		ClientOptions:         azcore.ClientOptions{Transport: courier{rt}, Retry: policy.RetryOptions{MaxRetries: -1}},
		DisableRPRegistration: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// must is for calls that have to work.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestOpenAIFake(t *testing.T) {
	t.Parallel()
	ctx, cloud := t.Context(), providertest.New(providertest.Options{})
	options := openAIOptions(cloud.Transport(), cloud.Options())
	projects := openai.NewAdminOrganizationProjectService(options...)

	list, err := projects.List(ctx, openai.AdminOrganizationProjectListParams{})
	checkReply(t, "projects", must[any](t)(list, err), listFields...)
	one, err := projects.Get(ctx, project)
	checkReply(t, "project", must[any](t)(one, err))

	whole, err := projects.ServiceAccounts.New(ctx, project, openai.AdminOrganizationProjectServiceAccountNewParams{
		Name: "whole", ExpiresInSeconds: openai.Int(60),
	})
	checkReply(t, "account with key", must[any](t)(whole, err))
	alone, err := projects.ServiceAccounts.New(ctx, project, openai.AdminOrganizationProjectServiceAccountNewParams{
		Name: "alone", CreateServiceAccountOnly: openai.Bool(true),
	})
	checkReply(t, "account alone", must[any](t)(alone, err))
	account, err := projects.ServiceAccounts.Get(ctx, project, alone.ID)
	checkReply(t, "account", must[any](t)(account, err))
	account, err = projects.ServiceAccounts.Update(ctx, project, alone.ID, openai.AdminOrganizationProjectServiceAccountUpdateParams{
		Role: openai.AdminOrganizationProjectServiceAccountUpdateParamsRoleMember,
	})
	checkReply(t, "account updated", must[any](t)(account, err))
	accounts, err := projects.ServiceAccounts.List(ctx, project, openai.AdminOrganizationProjectServiceAccountListParams{Limit: openai.Int(1)})
	checkReply(t, "accounts", must[any](t)(accounts, err), listFields...)
	next, err := accounts.GetNextPage()
	checkReply(t, "accounts, page 2", must[any](t)(next, err), listFields...)

	key, err := projects.ServiceAccounts.APIKeys.New(ctx, project, alone.ID, openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{
		Name: openai.String("tag"), Scopes: []string{"api.model.read", "api.model.request"}, ExpiresInSeconds: openai.Int(3600),
	})
	checkReply(t, "key", must[any](t)(key, err))
	cloud.OpenAI.AddUserKey(project, "somebody's")
	keys, err := projects.APIKeys.List(ctx, project, openai.AdminOrganizationProjectAPIKeyListParams{OwnerProjectAccess: "any"})
	checkReply(t, "keys", must[any](t)(keys, err), listFields...)
	if n := len(keys.Data); n != 3 {
		t.Errorf("%d keys listed, want 3", n)
	}
	got, err := projects.APIKeys.Get(ctx, project, key.ID)
	checkReply(t, "key again", must[any](t)(got, err))
	got, err = projects.APIKeys.Update(ctx, project, key.ID, openai.AdminOrganizationProjectAPIKeyUpdateParams{ExpiresInSeconds: 60})
	checkReply(t, "key updated", must[any](t)(got, err))

	openAIDataPlane(t, append(options, openaioption.WithAPIKey(key.Value)))
	gone, err := projects.APIKeys.Delete(ctx, project, key.ID)
	checkReply(t, "key deleted", must[any](t)(gone, err))
	goneAccount, err := projects.ServiceAccounts.Delete(ctx, project, alone.ID)
	checkReply(t, "account deleted", must[any](t)(goneAccount, err))
	if n := len(cloud.Live(providertest.ProviderOpenAI)); n != 2 {
		t.Errorf("%d keys live, want 2", n)
	}
}

func openAIDataPlane(t *testing.T, options []openaioption.RequestOption) {
	t.Helper()
	modelService := openai.NewModelService(options...)
	models, err := modelService.List(t.Context())
	checkReply(t, "models", must[any](t)(models, err), listFields...)
	chat := openai.NewChatCompletionService(options...)
	completion, err := chat.New(t.Context(), openai.ChatCompletionNewParams{
		Model: "gpt-fake", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	})
	checkReply(t, "completion", must[any](t)(completion, err))
}

func TestOpenAIFakeAdminKeys(t *testing.T) {
	t.Parallel()
	ctx, cloud := t.Context(), providertest.New(providertest.Options{})
	keys := openai.NewAdminOrganizationAdminAPIKeyService(openAIOptions(cloud.Transport(), cloud.Options())...)
	made, err := keys.New(ctx, openai.AdminOrganizationAdminAPIKeyNewParams{Name: "next", ExpiresInSeconds: openai.Int(60)})
	checkReply(t, "admin key", must[any](t)(made, err))
	list, err := keys.List(ctx, openai.AdminOrganizationAdminAPIKeyListParams{Order: "desc"})
	checkReply(t, "admin keys", must[any](t)(list, err), listFields...)
	got, err := keys.Get(ctx, made.ID)
	checkReply(t, "admin key again", must[any](t)(got, err))
	gone, err := keys.Delete(ctx, made.ID)
	checkReply(t, "admin key deleted", must[any](t)(gone, err))
}

func TestOpenAIFakeErrors(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	options := append(openAIOptions(cloud.Transport(), cloud.Options()), openaioption.WithAdminAPIKey("sk-admin-wrong"))
	projects := openai.NewAdminOrganizationProjectService(options...)
	_, err := projects.List(t.Context(), openai.AdminOrganizationProjectListParams{})
	refused, ok := err.(*openai.Error) //nolint:errorlint // the very type is what is tested
	if !ok || refused.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a wrong key: %v", err)
	}
	checkReply(t, "error", *refused)
}

func TestAnthropicFake(t *testing.T) {
	t.Parallel()
	ctx, cloud := t.Context(), providertest.New(providertest.Options{})
	options := anthropicOptions(cloud.Transport(), cloud.Options())
	organization := anthropic.NewOrganizationService(options...)
	info, err := organization.Get(ctx)
	checkReply(t, "organization", must[any](t)(info, err))

	key := cloud.Anthropic.AddKey("by hand", "wrkspc_a", time.Hour)
	cloud.Anthropic.AddKey("another", "wrkspc_a", 0)
	list, err := organization.APIKeys.List(ctx, anthropic.OrganizationAPIKeyListParams{
		WorkspaceID: anthropic.String("wrkspc_a"), Status: "active", Limit: anthropic.Int(1),
	})
	checkReply(t, "keys", must[any](t)(list, err), oldWorkspace)
	next, err := list.GetNextPage()
	checkReply(t, "keys, page 2", must[any](t)(next, err), oldWorkspace)
	got, err := organization.APIKeys.Get(ctx, key.ID)
	checkReply(t, "key", must[any](t)(got, err), oldWorkspace)

	user := append(options, anthropicoption.WithAPIKey(key.Secret)) //nolint:gocritic // a second list is wanted
	modelService := anthropic.NewModelService(user...)
	models, err := modelService.List(ctx, anthropic.ModelListParams{Limit: anthropic.Int(1)})
	checkReply(t, "models", must[any](t)(models, err))
	messages := anthropic.NewMessageService(user...)
	message, err := messages.New(ctx, anthropic.MessageNewParams{
		Model: "claude-fake", MaxTokens: 16, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))},
	})
	checkReply(t, "message", must[any](t)(message, err))

	updated, err := organization.APIKeys.Update(ctx, key.ID, anthropic.OrganizationAPIKeyUpdateParams{Status: "inactive"})
	checkReply(t, "key updated", must[any](t)(updated, err), oldWorkspace)
	if _, err := modelService.List(ctx, anthropic.ModelListParams{}); err == nil {
		t.Error("an inactive key works")
	}
}

// recorded keeps the replies that pass through it.
type recorded struct {
	http.RoundTripper
	last []byte
}

// RoundTrip implements [http.RoundTripper].
func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if r.last, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(r.last))
	return resp, nil
}

func TestAzureFake(t *testing.T) {
	t.Parallel()
	ctx, cloud := t.Context(), providertest.New(providertest.Options{})
	o, replies := cloud.Options(), &recorded{RoundTripper: cloud.Transport()}
	accounts := azureAccounts(t, replies, o)
	group, name := providertest.AzureGroup, providertest.AzureResourceName

	account := must[armcognitiveservices.AccountsClientGetResponse](t)(accounts.Get(ctx, group, name, nil))
	checkLossless(t, "account", replies.last, &armcognitiveservices.Account{})
	if e := account.Properties.Endpoint; e == nil || !strings.HasPrefix(*e, "https://"+name) {
		t.Errorf("endpoint %v", e)
	}
	for pager := accounts.NewListPager(nil); pager.More(); {
		must[armcognitiveservices.AccountsClientListResponse](t)(pager.NextPage(ctx))
		checkLossless(t, "accounts", replies.last, &armcognitiveservices.AccountListResult{})
	}
	old := must[armcognitiveservices.AccountsClientListKeysResponse](t)(accounts.ListKeys(ctx, group, name, nil))
	checkLossless(t, "keys", replies.last, &armcognitiveservices.APIKeys{})
	slot := armcognitiveservices.KeyNameKey1
	fresh := must[armcognitiveservices.AccountsClientRegenerateKeyResponse](t)(
		accounts.RegenerateKey(ctx, group, name, armcognitiveservices.RegenerateKeyParameters{KeyName: &slot}, nil))
	checkLossless(t, "keys regenerated", replies.last, &armcognitiveservices.APIKeys{})
	if *old.Key1 == *fresh.Key1 || *old.Key2 != *fresh.Key2 {
		t.Error("regenerating key 1 changed the wrong one")
	}
}
