package bootstrap

import (
	"context"
	"fmt"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// awsMountFields: what older versions of other tools set on the mount stands in
// its root block.
var awsMountFields []*schema.Field

// awsUserName is what Vault has for username_template when it is not told, and
// falls back to in every write that leaves it out.
const awsUserName = `{{ if (eq .Type "STS") }}{{ printf "vault-%s-%s"  (unix_time) (random 20) | truncate 32 }}{{ else }}` +
	`{{ printf "vault-%s-%s-%s" (printf "%s-%s" (.DisplayName) (.PolicyName) | truncate 42) (unix_time) (random 20) | truncate 64 }}{{ end }}`

var awsRootKind = &Kind{
	Name: "aws root", Word: "root", Stage: StageEngine, Forever: true, FullReplace: true,
	Block: &schema.Block{
		Name: "root", Labels: []string{}, Most: 1, Doc: "The IAM user, or the role, with which Vault makes credentials.",
		Fields: []*schema.Field{
			{Name: "access_key", Secrecy: schema.Sensitive, Rotates: true, Doc: "Id of the access key."},
			{Name: "secret_key", Secrecy: schema.Secret, Rotates: true, Doc: "Secret of the access key."},
			{Name: "rotate_root", Type: schema.Bool, Local: true, Doc: "Let Vault replace the access key once, so that nobody else knows it."},
			{Name: "region", Doc: "Region of the API calls."},
			{Name: "iam_endpoint", Doc: "Another address of IAM."},
			{Name: "sts_endpoint", Doc: "Another address of STS."},
			{Name: "sts_region", Doc: "Region of the STS calls."},
			{Name: "sts_fallback_endpoints", Type: schema.List, Doc: "Addresses of STS to try next, each with its region."},
			{Name: "sts_fallback_regions", Type: schema.List, Doc: "The regions of sts_fallback_endpoints, in the same order."},
			{Name: "max_retries", Type: schema.Int, Default: -1, Doc: "How often a call is tried again; -1: as the AWS library does."},
			{Name: "username_template", Default: awsUserName, Doc: "Template of the names of the IAM users that are made."},
			{Name: "role_arn", Doc: "Role to assume with Vault's own identity token (Vault Enterprise)."},
			{Name: "identity_token_audience", Doc: "Audience of that token (Vault Enterprise)."},
			{Name: "identity_token_ttl", Type: schema.Duration, Doc: "Life of that token (Vault Enterprise)."},
		},
	},
	Path:   func(o *Object) string { return slashed(o.MountPath(), "config", "root") },
	Derive: deriveRotation, Rotated: awsRotated, Review: reviewRotates,
	Write: func(ctx context.Context, s *Session, c *Change) error {
		if err := startAnew(ctx, s, c); err != nil {
			return err
		}
		return s.write(ctx, c)
	},
	Access: func(o *Object) []Access {
		return []Access{{o.Kind.Path(o), []string{"create", "read", "update"}}}
	},
}

// awsRotated: the server has another access key than the file, and the file's
// is the older: its secret is the one that was sent last, or nothing is known of
// it. That key may be gone in AWS, and sending it would shut Vault out. Where the
// secret is another one than was sent, the file has a new key.
func awsRotated(ctx context.Context, s *Session, o *Object, st *State) (bool, error) {
	v, set := o.Value("access_key")
	if !set || !wantsRotation(o) {
		return false, nil
	}
	key, unknown, err := s.Resolve(ctx, v)
	if err != nil || len(unknown) == 0 && schema.Equal(key, st.Values["access_key"]) {
		return false, err
	}
	e, err := s.Entry(ctx, o)
	if err != nil || e.Fingerprints["secret_key"] == "" {
		return err == nil, err
	}
	if len(unknown) > 0 {
		return false, nil
	}
	source, err := s.sourceIsAsSent(ctx, o, "secret_key")
	return source == sourceSame, err
}

var awsLeaseKind = &Kind{
	Name: "aws lease", Word: "lease", Stage: StageEngine, Forever: true,
	Block: &schema.Block{
		Name: "lease", Labels: []string{}, Most: 1, Doc: "How long credentials of IAM users live.",
		Fields: []*schema.Field{
			// Vault wants both, and answers "768h0m0s".
			{Name: "lease", Type: schema.Duration, Required: true, Doc: "Life of a credential."},
			{Name: "lease_max", Type: schema.Duration, Required: true, Doc: "Its longest life, with every renewal."},
		},
	},
	Path: func(o *Object) string { return slashed(o.MountPath(), "config", "lease") },
	Access: func(o *Object) []Access {
		return []Access{{o.Kind.Path(o), []string{"read", "update"}}}
	},
}

var awsRoleKind = &Kind{
	Name: "aws role", Word: "role", Stage: StageEngineRole,
	Block: &schema.Block{
		Name: "role", Labels: []string{"name"}, Doc: "What a credential may do.",
		Fields: []*schema.Field{
			{
				Name: "credential_type", Required: true, OneOf: []string{"iam_user", "assumed_role", "federation_token", "session_token"},
				Doc: "How a credential is made.",
			},
			{Name: "role_arns", Type: schema.Set, Doc: "Roles that may be assumed (assumed_role)."},
			{Name: "policy_arns", Type: schema.Set, Doc: "Managed policies that the credential has, or is limited to."},
			{Name: "policy_document", Type: schema.JSON, Doc: "An IAM policy that the credential has, or is limited to."},
			{Name: "iam_groups", Type: schema.Set, Doc: "IAM groups of the user, or whose policies limit it."},
			{Name: "iam_tags", Type: schema.Map, Doc: "Tags of the IAM users that are made."},
			{Name: "session_tags", Type: schema.Map, Doc: "Tags of the session (assumed_role)."},
			{Name: "external_id", Doc: "External id for the role (assumed_role)."},
			{Name: "default_sts_ttl", Type: schema.Duration, Doc: "Life of an STS credential, where none is asked for."},
			{Name: "max_sts_ttl", Type: schema.Duration, Doc: "Longest life of an STS credential."},
			{Name: "user_path", Doc: "Path of the IAM users that are made (iam_user)."},
			{Name: "permissions_boundary_arn", Doc: "Policy that bounds the IAM users that are made (iam_user)."},
			{Name: "mfa_serial_number", Doc: "MFA device of Vault's own user (session_token)."},
		},
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "roles", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "roles") },
	Access:   updatedAccess,
}

// updatedAccess is what an object needs whose path has no existence check in
// Vault: to make it takes "update" too.
func updatedAccess(o *Object) []Access {
	return []Access{{o.Kind.Path(o), []string{"read", "update", "delete"}}}
}

var awsStaticRoleKind = &Kind{
	Name: "aws static role", Word: "static_role", Stage: StageEngineRole,
	Block: &schema.Block{
		Name: "static_role", Labels: []string{"name"}, Doc: "An IAM user whose access key Vault keeps and replaces.",
		Fields: []*schema.Field{
			// Vault keeps the user's id and refuses another user.
			{Name: "username", Required: true, Immutable: true, Doc: "The IAM user."},
			{
				Name: "rotation_period", Type: schema.Duration, Required: true,
				Check: longEnough(60, "Vault takes at least a minute"), Doc: "How often the access key is replaced.",
			},
		},
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "static-roles", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "static-roles") },
	Access:   updatedAccess,
	Review: func(_ context.Context, _ *Session, c *Change) error {
		if c.Action == Create {
			c.Notes = append(c.Notes, fmt.Sprintf("gives the IAM user %s a new access key at once, and deletes the oldest if there are two", schema.Show(c.Object.Text("username"))))
		}
		return nil
	},
}
