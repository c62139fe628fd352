package servers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// AWS is moto: IAM and STS of one account. It checks signatures and policies as
// AWS does, but for the resources of a policy of IAM: it must allow actions on
// "*". GetFederationToken and GetSessionToken answer with credentials that are
// always the same, and not even moto's own checks accept them. The policies that
// AWS itself manages (arn:aws:iam::aws:policy/…) are not there.
type AWS struct {
	// Endpoint is iam_endpoint and sts_endpoint for Vault.
	Endpoint string
	// Region is any; IAM has none.
	Region string
	// Account is the number that stands in every ARN.
	Account string

	admin  AccessKey // of the tests' own user
	client *http.Client
}

// An AccessKey is what IAM and STS give out. Session is STS's alone.
type AccessKey struct{ ID, Secret, Session string }

// unsigned is how many requests moto takes without a signature after its
// start: those that make the tests' own user.
const unsigned = 3

// Moto starts moto's server.
func Moto(t *testing.T) *AWS {
	t.Helper()
	root, err := devvault.SourceTree()
	if err != nil {
		t.Fatal(err)
	}
	python, ok := program(filepath.Join(root, "bin", "moto", "bin", "python"))
	if !ok {
		missing(t, "moto (bin/moto)")
	}
	port := strconv.Itoa(freePort(t))
	a := &AWS{
		Endpoint: "http://" + loopback + ":" + port,
		Region:   "us-east-1",
		Account:  "123456789012",
		// Before there is a key, as moto wants to see which service is meant.
		admin: AccessKey{ID: "AKIATESTSNOBODY00000", Secret: "none"},
		client: &http.Client{
			Timeout:       patience,
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	h := newHome(t)
	server := h.command(python, "-m", "moto.server", "-H", loopback, "-p", port)
	server.Env = append(server.Env, "INITIAL_NO_AUTH_ACTION_COUNT="+strconv.Itoa(unsigned), "PYTHONDONTWRITEBYTECODE=1")
	h.serve(t, server, syscall.SIGKILL, a.answers)
	a.admin = a.User(t, "tests", "*")
	return a
}

// answers tells whether anything does: what is asked for here is none of AWS's
// services, and so none of the unsigned requests.
func (a *AWS) answers(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Endpoint+"/moto-api/", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// User makes an IAM user that may call some actions, such as "iam:*", and gives
// it its first access key.
func (a *AWS) User(t *testing.T, name string, actions ...string) AccessKey {
	t.Helper()
	allowed := policy(t, map[string]any{"Effect": "Allow", "Action": actions, "Resource": "*"})
	a.iam(t, "CreateUser", url.Values{"UserName": {name}})
	a.iam(t, "PutUserPolicy", url.Values{"UserName": {name}, "PolicyName": {"first"}, "PolicyDocument": {allowed}})
	made := a.iam(t, "CreateAccessKey", url.Values{"UserName": {name}})
	return AccessKey{ID: made.KeyID, Secret: made.Secret}
}

// Role makes an IAM role that some of the users may assume, and returns its
// ARN. Their own policies must allow sts:AssumeRole as well.
func (a *AWS) Role(t *testing.T, name string, users ...string) string {
	t.Helper()
	arns := make([]string, len(users))
	for i, u := range users {
		arns[i] = "arn:aws:iam::" + a.Account + ":user/" + u
	}
	trust := policy(t, map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": arns}, "Action": "sts:AssumeRole"})
	return a.iam(t, "CreateRole", url.Values{"RoleName": {name}, "AssumeRolePolicyDocument": {trust}}).RoleARN
}

// policy is a document with one statement.
func policy(t *testing.T, statement map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{statement}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Users are the names of the IAM users, sorted, without the tests' own.
func (a *AWS) Users(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range a.iam(t, "ListUsers", nil).Users {
		if name != "tests" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// AccessKeys are the ids of a user's access keys.
func (a *AWS) AccessKeys(t *testing.T, user string) []string {
	t.Helper()
	return a.iam(t, "ListAccessKeys", url.Values{"UserName": {user}}).Keys
}

// UserPolicies are the names of a user's inline policies.
func (a *AWS) UserPolicies(t *testing.T, user string) []string {
	t.Helper()
	return a.iam(t, "ListUserPolicies", url.Values{"UserName": {user}}).Policies
}

// Caller is the ARN that an access key stands for. One that AWS does not know,
// or a wrong secret, is an [ErrRefused].
func (a *AWS) Caller(ctx context.Context, key AccessKey) (string, error) {
	answer, err := a.call(ctx, key, "sts", "2011-06-15", "GetCallerIdentity", nil)
	return answer.Caller, err
}

// Call asks for an IAM action with an access key, to see what it may do.
func (a *AWS) Call(ctx context.Context, key AccessKey, action string, parameters url.Values) error {
	_, err := a.call(ctx, key, "iam", "2010-05-08", action, parameters)
	return err
}

func (a *AWS) iam(t *testing.T, action string, parameters url.Values) answer {
	t.Helper()
	got, err := a.call(t.Context(), a.admin, "iam", "2010-05-08", action, parameters)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// An answer is what is read of any of them; each fills in its own.
type answer struct {
	KeyID    string   `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
	Secret   string   `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	RoleARN  string   `xml:"CreateRoleResult>Role>Arn"`
	Users    []string `xml:"ListUsersResult>Users>member>UserName"`
	Keys     []string `xml:"ListAccessKeysResult>AccessKeyMetadata>member>AccessKeyId"`
	Policies []string `xml:"ListUserPoliciesResult>PolicyNames>member"`
	Caller   string   `xml:"GetCallerIdentityResult>Arn"`

	Code    string `xml:"Error>Code"`
	Message string `xml:"Error>Message"`
}

// call sends one signed request.
func (a *AWS) call(ctx context.Context, key AccessKey, service, version, action string, parameters url.Values) (answer, error) {
	form := url.Values{"Action": {action}, "Version": {version}}
	maps.Copy(form, parameters)
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Endpoint+"/", strings.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("preparing %s: %w", action, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	err = signer.NewSigner().SignHTTP(ctx, aws.Credentials{
		AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.Session,
	}, req, hex.EncodeToString(sum[:]), service, a.Region, time.Now())
	if err != nil {
		return answer{}, fmt.Errorf("signing %s: %w", action, err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("asking moto for %s: %w", action, err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return answer{}, fmt.Errorf("reading moto's answer to %s: %w", action, err)
	}
	var got answer
	if err := xml.Unmarshal(text, &got); err != nil {
		return answer{}, fmt.Errorf("reading moto's answer to %s (%s): %w", action, resp.Status, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return got, nil
	case http.StatusForbidden:
		return got, fmt.Errorf("%s: %w: %s: %s", action, ErrRefused, got.Code, got.Message)
	default:
		return got, fmt.Errorf("%s: %s: %s: %s", action, resp.Status, got.Code, got.Message)
	}
}
