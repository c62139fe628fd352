package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/cognitiveservices/armcognitiveservices"
	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// A wire is a request as a vendor sees it, without what may differ.
type wire struct {
	Method, Path string
	Query        url.Values
	Header       map[string]string
	Body         any
}

// A tap is a round tripper that keeps the requests to one host.
type tap struct {
	http.RoundTripper
	host string
	sent []wire
}

// telling are the headers that mean something to a vendor.
var telling = []string{"Authorization", "X-Api-Key", "Api-Key", "Anthropic-Version", "Openai-Organization", "Content-Type"}

// RoundTrip implements [http.RoundTripper].
func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != p.host {
		return p.RoundTripper.RoundTrip(r)
	}
	w := wire{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.Query(), Header: map[string]string{}}
	var raw []byte
	if r.Body != nil {
		var err error
		if raw, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &w.Body); err != nil {
			return nil, errors.New("a body that is not JSON")
		}
	}
	for _, name := range telling {
		if v := r.Header.Get(name); v != "" && (name != "Content-Type" || len(raw) > 0) {
			w.Header[name] = v
		}
	}
	if strings.HasPrefix(p.host, "management.") {
		delete(w.Header, "Authorization") // each signs in for itself
	}
	p.sent = append(p.sent, w)
	return p.RoundTripper.RoundTrip(r)
}

// A pair is one thing to ask of a vendor, by an adapter and by an SDK. Each
// has a Cloud of its own, set up in the same way, so ids are the same.
type pair struct {
	name    string
	adapter func(ctx context.Context, k provider.Keys, o provider.Owners) error
	sdk     func(ctx context.Context, rt http.RoundTripper) error
}

// compare runs a pair and holds the requests against each other.
func compare(t *testing.T, name, host string, p pair, setup func(*providertest.Cloud), fields func(providertest.Options) provider.Account) {
	t.Helper()
	var sent [2][]wire
	for i := range sent {
		cloud := providertest.New(providertest.Options{})
		setup(cloud)
		rt := &tap{RoundTripper: cloud.Transport(), host: host}
		var err error
		if i == 0 {
			def, ok := provider.Lookup(name)
			if !ok {
				t.Fatalf("there is no provider %q", name)
			}
			client, e := provider.NewClient(provider.Options{BaseURL: def.BaseURL, Transport: rt})
			if e != nil {
				t.Fatal(e)
			}
			defer client.Close()
			account := fields(cloud.Options())
			var owners provider.Owners
			if def.Owner != nil {
				owners = def.Owner.Open(client, account)
			}
			err = p.adapter(t.Context(), def.Open(client, account), owners)
		} else {
			err = p.sdk(t.Context(), rt)
		}
		if err != nil {
			t.Errorf("%s: %v", []string{"adapter", "SDK"}[i], err)
		}
		sent[i] = rt.sent
	}
	if len(sent[1]) == 0 {
		t.Error("the SDK sent nothing")
	}
	if d := cmp.Diff(sent[1], sent[0]); d != "" {
		t.Errorf("the adapter's requests differ from the SDK's (- SDK, + adapter):\n%s", d)
	}
}

func TestOpenAIAdapter(t *testing.T) {
	t.Parallel()
	const sa, key, userSecret = "svc_acct_000001", "key_000002", "sk-live"
	scope := provider.Scope{"project_id": project, "service_account_id": sa, "scopes": "api.model.read,model.request"}
	o := providertest.New(providertest.Options{}).Options()
	projects := func(rt http.RoundTripper) openai.AdminOrganizationProjectService {
		return openai.NewAdminOrganizationProjectService(append(openAIOptions(rt, o), openaioption.WithOrganization(o.OpenAI.Organization))...)
	}
	for _, p := range []pair{
		{
			"check", func(ctx context.Context, k provider.Keys, _ provider.Owners) error { return k.Check(ctx) },
			func(ctx context.Context, rt http.RoundTripper) error {
				s := projects(rt)
				_, err := s.List(ctx, openai.AdminOrganizationProjectListParams{Limit: openai.Int(1)})
				return err
			},
		},
		{"mint", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			_, err := k.(provider.Minter).Mint(ctx, provider.Order{Tag: "tag-1", Scope: scope, Lifetime: time.Hour})
			return err
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := projects(rt)
			_, err := s.ServiceAccounts.APIKeys.New(ctx, project, sa, openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{
				Name: openai.String("tag-1"), Scopes: []string{"api.model.read", "model.request"}, ExpiresInSeconds: openai.Int(3600),
			})
			return err
		}},
		{"mint without scopes and end", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			_, err := k.(provider.Minter).Mint(ctx, provider.Order{Tag: "tag-1", Scope: provider.Scope{"project_id": project, "service_account_id": sa}})
			return err
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := projects(rt)
			_, err := s.ServiceAccounts.APIKeys.New(ctx, project, sa, openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{Name: openai.String("tag-1")})
			return err
		}},
		{"find", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			ids, err := k.(provider.Minter).Find(ctx, scope, "tag-0")
			return expect(err, ids, provider.KeyID(key))
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := projects(rt)
			_, err := s.APIKeys.List(ctx, project, openai.AdminOrganizationProjectAPIKeyListParams{
				Limit: openai.Int(100), OwnerProjectAccess: openai.AdminOrganizationProjectAPIKeyListParamsOwnerProjectAccessAny,
			})
			return err
		}},
		{
			"revoke", func(ctx context.Context, k provider.Keys, _ provider.Owners) error { return k.Revoke(ctx, scope, key) },
			func(ctx context.Context, rt http.RoundTripper) error {
				s := projects(rt)
				_, err := s.APIKeys.Delete(ctx, project, key)
				return err
			},
		},
		{"verify", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			return dead(k.Verify(ctx, scope, provider.NewSecret(userSecret)))
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := openai.NewModelService(append(openAIOptions(rt, o), openaioption.WithAPIKey(userSecret))...)
			_, err := s.List(ctx)
			return refused(err)
		}},
		{"create owner", func(ctx context.Context, _ provider.Keys, o provider.Owners) error {
			_, err := o.Create(ctx, scope, "tag-2")
			return err
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := projects(rt)
			made, err := s.ServiceAccounts.New(ctx, project, openai.AdminOrganizationProjectServiceAccountNewParams{Name: "tag-2"})
			if err != nil {
				return err
			}
			_, err = s.APIKeys.Delete(ctx, project, made.APIKey.ID)
			return err
		}},
		{"find owner", func(ctx context.Context, _ provider.Keys, o provider.Owners) error {
			ids, err := o.Find(ctx, scope, "role-0")
			return expect(err, ids, sa)
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := projects(rt)
			_, err := s.ServiceAccounts.List(ctx, project, openai.AdminOrganizationProjectServiceAccountListParams{Limit: openai.Int(100)})
			return err
		}},
		{
			"delete owner", func(ctx context.Context, _ provider.Keys, o provider.Owners) error { return o.Delete(ctx, scope, sa) },
			func(ctx context.Context, rt http.RoundTripper) error {
				s := projects(rt)
				_, err := s.ServiceAccounts.Delete(ctx, project, sa)
				return err
			},
		},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			compare(t, "openai", "api.openai.com", p, func(c *providertest.Cloud) {
				s := openai.NewAdminOrganizationProjectService(openAIOptions(c.Transport(), c.Options())...)
				must[any](t)(s.ServiceAccounts.New(t.Context(), project, openai.AdminOrganizationProjectServiceAccountNewParams{
					Name: "role-0", CreateServiceAccountOnly: openai.Bool(true),
				}))
				must[any](t)(s.ServiceAccounts.APIKeys.New(t.Context(), project, sa,
					openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{Name: openai.String("tag-0")}))
			}, func(o providertest.Options) provider.Account {
				return provider.Account{
					Fields:  map[string]string{"organization_id": o.OpenAI.Organization},
					Secrets: map[string]provider.Secret{"admin_key": provider.NewSecret(o.OpenAI.AdminKey)},
				}
			})
		})
	}
}

// expect says whether exactly one id was found.
func expect[T comparable](err error, ids []T, want T) error {
	if err != nil {
		return err
	}
	if len(ids) != 1 || ids[0] != want {
		return fmt.Errorf("found %v, want %v", ids, want)
	}
	return nil
}

// dead turns the answer that a test wants of Verify into success.
func dead(err error) error {
	if errors.Is(err, provider.ErrDead) {
		return nil
	}
	return errors.Join(errors.New("a key that nobody knows is not refused"), err)
}

// refused does so for the SDKs.
func refused(err error) error {
	if o := (*openai.Error)(nil); errors.As(err, &o) && o.StatusCode == http.StatusUnauthorized {
		return nil
	}
	if a := (*anthropic.Error)(nil); errors.As(err, &a) && a.StatusCode == http.StatusUnauthorized {
		return nil
	}
	return errors.Join(errors.New("a key that nobody knows is not refused"), err)
}

func TestAnthropicAdapter(t *testing.T) {
	t.Parallel()
	const id = "apikey_000001"
	scope := provider.Scope{"workspace_id": "wrkspc_a"}
	o := providertest.New(providertest.Options{}).Options()
	organization := func(rt http.RoundTripper) anthropic.OrganizationService {
		return anthropic.NewOrganizationService(anthropicOptions(rt, o)...)
	}
	for _, p := range []pair{
		{
			"check", func(ctx context.Context, k provider.Keys, _ provider.Owners) error { return k.Check(ctx) },
			func(ctx context.Context, rt http.RoundTripper) error {
				s := organization(rt)
				_, err := s.Get(ctx)
				return err
			},
		},
		{"verify", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			return dead(k.Verify(ctx, scope, provider.NewSecret("sk-ant-live")))
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := anthropic.NewModelService(append(anthropicOptions(rt, o), anthropicoption.WithAPIKey("sk-ant-live"))...)
			_, err := s.List(ctx, anthropic.ModelListParams{Limit: anthropic.Int(1)})
			return refused(err)
		}},
		{"identify", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			_, err := k.Identify(ctx, scope, provider.NewSecret("sk-ant-api03-unknown-to-the-vendor"))
			return err
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := organization(rt)
			_, err := s.APIKeys.List(ctx, anthropic.OrganizationAPIKeyListParams{Limit: anthropic.Int(100), WorkspaceID: anthropic.String("wrkspc_a")})
			return err
		}},
		{
			"revoke", func(ctx context.Context, k provider.Keys, _ provider.Owners) error { return k.Revoke(ctx, scope, id) },
			func(ctx context.Context, rt http.RoundTripper) error {
				s := organization(rt)
				if _, err := s.APIKeys.Get(ctx, id); err != nil {
					return err
				}
				_, err := s.APIKeys.Update(ctx, id, anthropic.OrganizationAPIKeyUpdateParams{Status: anthropic.OrganizationAPIKeyUpdateParamsStatusInactive})
				return err
			},
		},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			compare(t, "anthropic", "api.anthropic.com", p,
				func(c *providertest.Cloud) { c.Anthropic.AddKey("by hand", "wrkspc_a", 0) },
				func(o providertest.Options) provider.Account {
					return provider.Account{Secrets: map[string]provider.Secret{"admin_key": provider.NewSecret(o.Anthropic.AdminKey)}}
				})
		})
	}
}

func TestAzureAdapter(t *testing.T) {
	t.Parallel()
	group, name := providertest.AzureGroup, providertest.AzureResourceName
	scope := provider.Scope{"resource_group": group, "resource_name": name}
	o := providertest.New(providertest.Options{}).Options()
	for _, p := range []pair{
		{
			"check", func(ctx context.Context, k provider.Keys, _ provider.Owners) error { return k.Check(ctx) },
			func(ctx context.Context, rt http.RoundTripper) error {
				_, err := azureAccounts(t, rt, o).NewListPager(nil).NextPage(ctx)
				return err
			},
		},
		{"read", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			_, err := k.(provider.TwoSlotter).Read(ctx, scope, "Key1")
			return err
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s := azureAccounts(t, rt, o)
			_, err := s.Get(ctx, group, name, nil)
			_, err2 := s.ListKeys(ctx, group, name, nil)
			return errors.Join(err, err2)
		}},
		{"regenerate", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
			_, err := k.(provider.TwoSlotter).Regenerate(ctx, scope, "Key2")
			return err
		}, func(ctx context.Context, rt http.RoundTripper) error {
			s, slot := azureAccounts(t, rt, o), armcognitiveservices.KeyNameKey2
			_, err := s.Get(ctx, group, name, nil)
			_, err2 := s.RegenerateKey(ctx, group, name, armcognitiveservices.RegenerateKeyParameters{KeyName: &slot}, nil)
			return errors.Join(err, err2)
		}},
		{
			"revoke", func(ctx context.Context, k provider.Keys, _ provider.Owners) error {
				return k.Revoke(ctx, scope, "Key1")
			},
			func(ctx context.Context, rt http.RoundTripper) error {
				slot := armcognitiveservices.KeyNameKey1
				_, err := azureAccounts(t, rt, o).RegenerateKey(ctx, group, name, armcognitiveservices.RegenerateKeyParameters{KeyName: &slot}, nil)
				return err
			},
		},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			compare(t, "azure-openai", "management.azure.com", p, func(*providertest.Cloud) {}, azureAccount)
		})
	}
}

func azureAccount(o providertest.Options) provider.Account {
	return provider.Account{
		Fields: map[string]string{
			"tenant_id": o.Azure.TenantID, "client_id": o.Azure.ClientID, "subscription_id": o.Azure.SubscriptionID,
		},
		Secrets: map[string]provider.Secret{"client_secret": provider.NewSecret(o.Azure.ClientSecret)},
	}
}

// signIn gets a token of the fake Entra.
func signIn(ctx context.Context, rt http.RoundTripper, o providertest.AzureOptions) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {o.ClientID}, "client_secret": {o.ClientSecret},
		"scope": {"https://management.azure.com/.default"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"https://login.microsoftonline.com/"+o.TenantID+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return "", err
	}
	return out.Token, nil
}
