package bootstrap

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// kinds is every kind of object there is. A new one is a line here; what lives
// in a mount stands in its type's block below too.
var kinds = []*Kind{
	auditKind, pluginKind, pluginMountsKind, policyKind, mountKind, authKind, quotaKind,
	transitKeyKind,
	kvConfigKind, kvDataKind,
	awsRootKind, awsLeaseKind, awsRoleKind, awsStaticRoleKind,
	databaseConnectionKind, databaseRoleKind, databaseStaticRoleKind,
	rotationKind,
	oktaConfigKind, oktaGroupKind, oktaUserKind,
	jwtConfigKind, jwtRoleKind,
	approleRoleKind, secretIDKind,
	groupKind, groupAliasKind,
	mfaKind, enforcementKind,
	aikeysConfigKind, wiringPolicyKind, aikeysTransitKind, aikeysAccountKind, aikeysRoleKind,
}

// mountTypes and authTypes are what may stand in a mount of that type. The
// types with nothing in them can be mounted and tuned, and no more.
var (
	mountTypes = withSimple(map[string]*schema.Block{
		"ai-keys":  {Blocks: blocks(aikeysConfigKind, aikeysTransitKind, aikeysAccountKind, aikeysRoleKind)},
		"aws":      {Fields: awsMountFields, Blocks: blocks(awsRootKind, awsLeaseKind, awsRoleKind, awsStaticRoleKind)},
		"database": {Blocks: blocks(databaseConnectionKind, databaseRoleKind, databaseStaticRoleKind)},
		"kv":       {Blocks: blocks(kvConfigKind, kvDataKind)},
		"kv-v2":    {Blocks: blocks(kvConfigKind, kvDataKind)},
		"transit":  {Blocks: blocks(transitKeyKind)},
	}, "alicloud", "azure", "consul", "gcp", "gcpkms", "kubernetes", "ldap", "mongodbatlas", "nomad", "pki", "rabbitmq", "ssh", "terraform", "totp")

	authTypes = withSimple(map[string]*schema.Block{
		"approle": {Blocks: blocks(approleRoleKind)},
		"jwt":     {Blocks: blocks(jwtConfigKind, jwtRoleKind)},
		"oidc":    {Blocks: blocks(jwtConfigKind, jwtRoleKind)},
		"okta":    {Blocks: blocks(oktaConfigKind, oktaGroupKind, oktaUserKind)},
	}, "alicloud", "aws", "azure", "cert", "cf", "gcp", "github", "kerberos", "kubernetes", "ldap", "oci", "radius", "userpass")
)

func blocks(of ...*Kind) []*schema.Block {
	out := make([]*schema.Block, len(of))
	for i, k := range of {
		out[i] = k.Block
	}
	return out
}

func withSimple(types map[string]*schema.Block, names ...string) map[string]*schema.Block {
	for _, name := range names {
		types[name] = &schema.Block{}
	}
	return types
}

// topBlocks are the blocks that a file consists of.
func topBlocks() []*schema.Block {
	top := []*schema.Block{checkBlock, ownershipBlock}
	for _, k := range kinds {
		if k.Block != nil && !nested(k) {
			top = append(top, k.Block)
		}
	}
	return top
}

// nested tells whether a kind's block stands in another.
func nested(k *Kind) bool {
	for _, types := range []map[string]*schema.Block{mountTypes, authTypes} {
		for _, t := range types {
			if slices.Contains(t.Blocks, k.Block) {
				return true
			}
		}
	}
	return slices.ContainsFunc(kinds, func(other *Kind) bool {
		return other.Block != nil && slices.Contains(other.Block.Blocks, k.Block)
	})
}

// kindOf is the kind of object that a node is; nil for a part of one.
func kindOf(n *file.Node) *Kind {
	for _, k := range kinds {
		// A block with variants is copied for each, so its pointer says nothing.
		if k.Block == n.Block || k.Block != nil && k.Block.Variants != nil && k.Block.Name == n.Block.Name {
			return k
		}
	}
	return nil
}

// prunable are the kinds that ownership may name.
func prunable() []string {
	var names []string
	for _, k := range kinds {
		if k.ListPath != nil {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return names
}

var ownershipBlock = &schema.Block{
	Name: "ownership", Most: 1,
	Doc: "What may be deleted although no file names it any more.",
	Fields: []*schema.Field{
		{Name: "prune", Type: schema.List, Doc: "Kinds of objects that --prune deletes when they are in no file."},
		{Name: "protect", Type: schema.List, Doc: "Objects that are never deleted, by the names that a plan shows."},
	},
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func quotedList(names []string) string { return strings.Join(quotedAll(names), ", ") }

func quotedAll(names []string) []string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	return quoted
}

// slashed joins the parts of a path.
func slashed(parts ...string) string { return strings.Join(parts, "/") }
