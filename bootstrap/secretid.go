package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// What the metadata of a secret-id says of where it comes from. A login with it
// carries that on, so the audit log tells such logins from others.
const (
	issuedBy     = "issued_by"
	issuedBySelf = "ai-keys-bootstrap"
	issuedAs     = "issued_as"
	issueNonce   = "issue"
)

// defaultWrap is how long a wrapping token waits for its taker.
const defaultWrap = time.Hour

var issueBlock = &schema.Block{
	Name: "issue_secret_id", Labels: []string{"name"},
	Doc: "A secret-id, issued once and handed over as a wrapping token in a file. Another is issued when it is used up, expired or destroyed.",
	Fields: []*schema.Field{
		{Name: "to", Required: true, Local: true, Doc: "The file for the wrapping token. Whoever takes it may remove the file."},
		{Name: "wrap_ttl", Type: schema.Duration, Local: true, Check: longerThanNothing, Doc: "How long the wrapping token is good; left out: one hour."},
		{Name: "metadata", Type: schema.Map, Immutable: true, Check: checkMetadata, Doc: "What logins with it carry in their metadata."},
		{Name: "cidr_list", Type: schema.Set, Immutable: true, Check: checkBlocks, Doc: "Blocks of addresses from which it can be used."},
		{Name: "token_bound_cidrs", Type: schema.Set, Immutable: true, Check: checkBlocks, Doc: "Blocks of addresses from which its tokens can be used."},
		{Name: "ttl", Type: schema.Duration, ReadAs: "secret_id_ttl", Immutable: true, Keep: true, Doc: "How long it is good; left out: as the role says."},
		{Name: "num_uses", Type: schema.Int, Local: true, Doc: "How many logins it is good for; left out: as the role says."},
	},
}

var secretIDKind = &Kind{
	Name: "secret-id", Stage: StageSecretID, Block: issueBlock,
	Path:    secretIDPath,
	Prepare: prepareSecretID, Read: readSecretID, Write: writeSecretID, Delete: deleteSecretID,
	Review: reviewSecretID, Access: secretIDAccess,
}

func secretIDPath(o *Object) string { return o.within("role", o.Parent.Key(), "secret-id") }

func accessorPath(o *Object, do string) string {
	return o.within("role", o.Parent.Key(), "secret-id-accessor", do)
}

func longerThanNothing(v any) error {
	if n, _ := v.(int64); n < 1 {
		return errors.New(`it needs a time, as "1h"`)
	}
	return nil
}

func checkMetadata(v any) error {
	m, _ := v.(map[string]string)
	for _, name := range []string{issuedBy, issuedAs, issueNonce} {
		if _, set := m[name]; set {
			return fmt.Errorf("%q is what this program itself writes there: choose another name", name)
		}
	}
	return nil
}

// prepareSecretID finds what Vault would refuse when everything else is done.
func prepareSecretID(o *Object, _ *file.Node) file.Diagnostics {
	var found file.Diagnostics
	for field, limit := range map[string]string{"ttl": "secret_id_ttl", "num_uses": "secret_id_num_uses"} {
		if most := amount(o.Parent, limit); most > 0 && amount(o, field) > most {
			found = append(found, mistake(o.Values[field].At, field+" is more than the role's "+limit, "Vault refuses that: make one of them fit.")...)
		}
	}
	return found
}

// checkFiles finds secret-ids of a role that would overwrite each other.
func checkFiles(n *file.Node) file.Diagnostics {
	var found file.Diagnostics
	taken := make(map[string]bool)
	for _, inner := range n.Nodes {
		to := filepath.Clean(inner.String("to"))
		if taken[to] {
			found = append(found, mistake(inner.Values["to"].At, "another secret-id of the role goes to the same file", "Give each a file of its own.")...)
		}
		taken[to] = true
	}
	return found
}

func secretIDAccess(o *Object) []Access {
	return []Access{
		{o.Parent.Kind.Path(o.Parent), []string{"read"}},
		{secretIDPath(o), []string{"list", "update"}},
		{accessorPath(o, "lookup"), []string{"update"}},
		{accessorPath(o, "destroy"), []string{"update"}},
	}
}

// readSecretID finds the secret-id that was handed out. One that was issued and
// perhaps not delivered counts as absent.
func readSecretID(ctx context.Context, s *Session, o *Object) (*State, error) {
	role, err := s.Vault.Read(ctx, o.Parent.Kind.Path(o.Parent))
	if err != nil || role == nil {
		return absent, err
	}
	e, err := s.Entry(ctx, o)
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	switch is, recorded := e.Issued[o.Key()]; {
	case !recorded: // the record may be lost: what was handed out then is still in use
		var found []map[string]any
		if found, err = s.taggedSecretIDs(ctx, o, issuedAs, o.Key()); len(found) > 0 {
			answer = found[0]
		}
	case is.Accessor != "":
		answer, err = s.secretIDOf(ctx, o, is.Accessor)
	}
	if err != nil || answer == nil {
		return absent, err
	}
	answer["metadata"] = untagged(answer["metadata"])
	return StateOf(o, answer)
}

// untagged is metadata as the file has it.
func untagged(v any) map[string]any {
	m, _ := v.(map[string]any)
	m = copyOf(m)
	for _, name := range []string{issuedBy, issuedAs, issueNonce} {
		delete(m, name)
	}
	return m
}

// secretIDOf is what Vault says of a secret-id; nil if it is used up, expired
// or destroyed.
func (s *Session) secretIDOf(ctx context.Context, o *Object, accessor string) (map[string]any, error) {
	answer, err := s.Vault.Write(ctx, accessorPath(o, "lookup"), map[string]any{"secret_id_accessor": accessor})
	if vault.StatusOf(err) == 404 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// taggedSecretIDs are the role's secret-ids that this program has issued, and
// whose metadata has that value. It takes a request for each of the role's.
func (s *Session) taggedSecretIDs(ctx context.Context, o *Object, name, value string) ([]map[string]any, error) {
	accessors, err := s.Vault.List(ctx, secretIDPath(o))
	if err != nil {
		return nil, err
	}
	all := make([]map[string]any, len(accessors))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, accessor := range accessors {
		group.Go(func() (err error) {
			all[i], err = s.secretIDOf(ctx, o, accessor)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m map[string]any) bool {
		meta, _ := m["metadata"].(map[string]any)
		return textOf(meta, issuedBy) != issuedBySelf || textOf(meta, name) != value
	}), nil
}

// reviewSecretID says before anything is written whether the file can be made.
func reviewSecretID(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	e, err := s.Entry(ctx, o)
	if err != nil {
		return err
	}
	is, recorded := e.Issued[o.Key()]
	if !c.State.Exists {
		if recorded && is.Accessor != "" {
			c.Notes = append(c.Notes, "the one of "+is.At.Format(time.DateTime)+" UTC is used up, expired or destroyed")
		}
		if _, err := checkDelivery(o.Text("to")); err != nil {
			c.Refused, c.Notes = err.Error(), append(c.Notes, err.Error())
		}
		return nil
	}
	way := "vault write " + accessorPath(o, "destroy") + " secret_id_accessor=" + textOf(c.State.Answer, "secret_id_accessor")
	if len(c.Fields) > 0 {
		c.Notes = append(c.Notes, "a secret-id cannot be changed; for another one, end this one: "+way)
	}
	if _, err := os.Lstat(o.Text("to")); err == nil && recorded && time.Since(is.At) > wrapTTL(o) {
		c.Notes = append(c.Notes, o.Text("to")+" is still there, and its wrapping token has expired. If nobody took the secret-id out in time, end it, and apply issues another: "+way)
	}
	return nil
}
