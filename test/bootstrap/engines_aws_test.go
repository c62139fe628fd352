package bootstrap_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// awsFile is a file with an AWS engine; more stands in its root block.
func awsFile(cloud *servers.AWS, more, beside string) string {
	return fmt.Sprintf(`
secret "id" { from = "env:AWS_KEY_ID" }
secret "key" { from = "env:AWS_KEY" }
mount "aws" "aws" {
  root {
    access_key   = secret.id
    secret_key   = secret.key
    region       = "us-east-1"
    iam_endpoint = %[1]q
    sts_endpoint = %[1]q
    %[2]s
  }
%[3]s}
`, cloud.Endpoint, more, beside)
}

func awsRoles(role string) string {
	return fmt.Sprintf(`
  lease {
    lease     = "30m"
    lease_max = "1d"
  }
  role "lister" {
    credential_type = "iam_user"
    policy_document = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "iam:ListUsers", Resource = "*" }] })
    iam_tags        = { team = "ai" }
    user_path       = "/ai/"
  }
  role "deployer" {
    credential_type = "assumed_role"
    role_arns       = [%q]
    default_sts_ttl = "15m"
    max_sts_ttl     = 3600
    session_tags    = { team = "ai" }
    external_id     = "ext"
  }
  role "federation" {
    credential_type = "federation_token"
    policy_arns     = ["arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::aws:policy/IAMFullAccess"]
  }
  role "session" { credential_type = "session_token" }
  static_role "robot" {
    username        = "robot"
    rotation_period = "24h"
  }
`, role)
}

// cloud starts moto with a user for Vault, whose access key is in the environment.
func (h *harness) cloud() (*servers.AWS, servers.AccessKey) {
	h.t.Helper()
	cloud := servers.Moto(h.t)
	root := cloud.User(h.t, "vault", "iam:*", "sts:*")
	h.env["AWS_KEY_ID"] = root.ID
	h.secret("AWS_KEY", root.Secret)
	return cloud, root
}

func TestAWS(t *testing.T) {
	t.Parallel()
	h := start(t)
	cloud, _ := h.cloud()
	cloud.User(t, "robot", "iam:ListUsers")
	arn := cloud.Role(t, "deployer", "vault")
	h.story(awsFile(cloud, `sts_fallback_endpoints = ["https://sts.eu-west-1.amazonaws.com"]
    sts_fallback_regions = ["eu-west-1"]`, awsRoles(arn)), func(*api.Client) {
		h.vault("aws/config/root", map[string]any{"region": "eu-west-1", "max_retries": 3, "username_template": "x-{{random 20}}", "access_key": "AKIAOUTOFBANDCHANGE1"})
		h.vault("aws/config/lease", map[string]any{"lease": "40m", "lease_max": "24h"})
		h.vault("aws/roles/lister", map[string]any{"policy_document": `{"Version":"2012-10-17","Statement":[]}`, "iam_tags": "a=b", "permissions_boundary_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"})
		h.vault("aws/roles/deployer", map[string]any{"max_sts_ttl": "2h", "external_id": "other"})
	},
		updates("aws root", "region", "max_retries", "username_template", "access_key"),
		updates("aws lease", "lease"),
		updates("aws role lister", "policy_document", "iam_tags", "permissions_boundary_arn"),
		updates("aws role deployer", "max_sts_ttl", "external_id"),
	)
	h.vault("aws/static-roles/robot", map[string]any{"rotation_period": "2h"})
	h.plan("story.hcl", updates("aws static_role robot", "rotation_period"))
	h.apply("story.hcl")
	static := h.has("aws/static-creds/robot")
	h.hide(static["secret_key"].(string))
	if _, err := cloud.Caller(t.Context(), servers.AccessKey{ID: static["access_key"].(string), Secret: static["secret_key"].(string)}); err != nil {
		t.Error(err)
	}

	// A new key in the sources is sent.
	other := cloud.User(t, "vault2", "iam:*", "sts:*")
	h.env["AWS_KEY_ID"] = other.ID
	h.secret("AWS_KEY", other.Secret)
	h.plan("story.hcl", updates("aws root", "access_key", "secret_key"))
	h.apply("story.hcl")
}

func TestAWSRootRotation(t *testing.T) {
	t.Parallel()
	h := start(t)
	cloud, root := h.cloud()
	h.write("a.hcl", awsFile(cloud, "rotate_root = true", ""))
	h.least("a.hcl").run("apply", "-f", "a.hcl", "--auto-approve").exits(0).says("aws root root rotation")
	rotated := func(user string, before servers.AccessKey) {
		t.Helper()
		if _, err := cloud.Caller(t.Context(), before); !errors.Is(err, servers.ErrRefused) {
			t.Errorf("the key before the rotation: %v, want refused", err)
		}
		if diff := gocmp.Diff([]string{h.has("aws/config/root")["access_key"].(string)}, cloud.AccessKeys(t, user)); diff != "" {
			t.Errorf("the user's keys after the rotation (-want +got):\n%s", diff)
		}
		h.run("plan", "-f", "a.hcl").exits(0).says("Nothing to do")
	}
	rotated("vault", root)

	// Other settings change without the key, and without resetting any.
	h.vault("aws/config/root", map[string]any{"region": "eu-west-1"})
	h.plan("a.hcl", updates("aws root", "region"))
	h.apply("a.hcl")

	// The record is lost: the server's access key tells.
	h.forget("aws%20root")
	r := h.plan("a.hcl")
	if got := r.find(t, "aws root"); len(got.Notes) == 0 {
		t.Errorf("no word about the lost record: %+v", got)
	}
	delete(h.env, "AWS_KEY")
	h.plan("a.hcl")

	// The operator gives Vault another user.
	other := cloud.User(t, "vault2", "iam:*", "sts:*")
	h.env["AWS_KEY_ID"] = other.ID
	h.secret("AWS_KEY", other.Secret)
	h.plan("a.hcl")
	h.run("apply", "-f", "a.hcl", "--auto-approve", "--resend-secret", "key").exits(0).says("aws root root rotation")
	rotated("vault2", other)
}

// explains checks that a sentence was printed, wherever its lines break.
func (r result) explains(text string) result {
	r.t.Helper()
	if !strings.Contains(strings.Join(strings.Fields(r.stdout+r.stderr), " "), text) {
		r.t.Errorf("%s does not say %q:\n%s%s", strings.Join(r.args, " "), text, r.stdout, r.stderr)
	}
	return r
}

// Vault answers 500 when it has the new key and cannot delete the old one.
func TestAWSRootRotationHalf(t *testing.T) {
	t.Parallel()
	h := start(t)
	cloud := servers.Moto(t)
	root := cloud.User(t, "vault", "iam:GetUser", "iam:CreateAccessKey")
	h.env["AWS_KEY_ID"] = root.ID
	h.secret("AWS_KEY", root.Secret)
	h.write("a.hcl", awsFile(cloud, "rotate_root = true", ""))
	h.run("apply", "-f", "a.hcl", "--auto-approve").exits(3).explains("delete it in IAM")
	h.run("plan", "-f", "a.hcl").exits(0).says("Nothing to do")
	if keys := cloud.AccessKeys(t, "vault"); len(keys) != 2 {
		t.Errorf("the user has the keys %v", keys)
	}
}

// What never happened is not taken for a rotation: the file's key is sent
// again when it has changed.
func TestAWSRootRotationRefused(t *testing.T) {
	t.Parallel()
	h := start(t)
	cloud := servers.Moto(t)
	root := cloud.User(t, "vault", "iam:ListUsers")
	h.env["AWS_KEY_ID"] = root.ID
	h.secret("AWS_KEY", root.Secret)
	h.write("a.hcl", awsFile(cloud, "rotate_root = true", ""))
	h.run("apply", "-f", "a.hcl", "--auto-approve").exits(3).explains("the root credential was not rotated")
	h.plan("a.hcl", want{"rotate", "aws root root rotation", nil})

	other := cloud.User(t, "vault2", "iam:*", "sts:*")
	h.env["AWS_KEY_ID"] = other.ID
	h.secret("AWS_KEY", other.Secret)
	h.plan("a.hcl", updates("aws root", "access_key", "secret_key"), want{"rotate", "aws root root rotation", nil})
	h.run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
	h.plan("a.hcl")
	if err := cloud.Call(t.Context(), other, "ListUsers", url.Values{}); !errors.Is(err, servers.ErrRefused) {
		t.Errorf("the key before the rotation: %v, want refused", err)
	}
}
