package bootstrap

import (
	"context"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// recordsKind is what the program itself keeps on the server about a file's
// objects. A destroy takes it away last; that of a whole file with the mounts
// that it is in, when nothing else is recorded there. It is in no list of kinds:
// no file names it.
func recordsKind(names []string, whole bool) *Kind {
	return &Kind{
		Name: "records of ai-keys-bootstrap",
		Delete: func(ctx context.Context, s *Session, _ *Object) error {
			return s.dropRecords(ctx, names, whole)
		},
		Access: func(*Object) []Access {
			return []Access{
				{recordMount + "/metadata/objects", []string{"list"}},
				{"sys/mounts/" + recordMount, []string{"delete"}},
				{"sys/mounts/" + fingerprintMount, []string{"delete"}},
			}
		},
	}
}

// planRecords adds what is recorded of the objects to what a destroy takes
// away: of all that do not stay, also of those that are gone already.
func (s *Session) planRecords(ctx context.Context, d *Desired, f *fate, p *Plan) error {
	there := false
	for _, path := range []string{recordMount, fingerprintMount} {
		m, err := s.MountOf(ctx, path)
		if err != nil {
			return err
		}
		there = there || m != nil
	}
	var names []string
	for _, o := range f.objects {
		if f.kept[o] == "" && !o.Loose {
			names = append(names, o.Name())
		}
	}
	whole := len(f.kept) == 0 && len(f.objects) == len(d.Objects)
	if p.Empty() {
		if !there {
			return nil
		}
		ours, others, err := s.recordedOf(ctx, names)
		if err != nil || len(ours) == 0 && (len(others) > 0 || !whole) {
			return err
		}
	}
	c := &Change{Object: &Object{Kind: recordsKind(names, whole)}, Action: Delete, State: &State{Exists: true}}
	if whole {
		c.Notes = append(c.Notes, "with the mounts "+recordMount+" and "+fingerprintMount+", if nothing else is recorded there")
	}
	p.Changes = append(p.Changes, c)
	return nil
}

// dropRecords forgets objects, and takes the program's own mounts away if that
// is wanted and nothing is recorded there any more. The fingerprints go first: without the
// record they would be of no use, and with it and without them the next apply
// sends the secrets again.
func (s *Session) dropRecords(ctx context.Context, names []string, mounts bool) error {
	ours, others, err := s.recordedOf(ctx, names)
	if err != nil {
		return err
	}
	for _, path := range ours {
		if err := s.Vault.Delete(ctx, path); err != nil {
			return err
		}
	}
	if len(others) > 0 || !mounts {
		return nil
	}
	for _, path := range []string{fingerprintMount, recordMount} {
		if err := s.Vault.Delete(ctx, "sys/mounts/"+path); err != nil {
			return err
		}
	}
	return nil
}

// recordedOf are the paths of the entries of objects, and of all others.
func (s *Session) recordedOf(ctx context.Context, names []string) (ours, others []string, err error) {
	all, err := s.recorded(ctx, recordPath("metadata", ""))
	for _, path := range all {
		if slices.ContainsFunc(names, func(name string) bool { return recordPath("metadata", name) == path }) {
			ours = append(ours, path)
		} else {
			others = append(others, path)
		}
	}
	return ours, others, err
}

// recorded are the paths of all entries below one.
func (s *Session) recorded(ctx context.Context, below string) ([]string, error) {
	names, err := s.Vault.List(ctx, below)
	if vault.IsAbsentMount(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		path := slashed(strings.TrimSuffix(below, "/"), strings.TrimSuffix(name, "/"))
		if !strings.HasSuffix(name, "/") {
			out = append(out, path)
			continue
		}
		inner, err := s.recorded(ctx, path)
		if err != nil {
			return nil, err
		}
		out = append(out, inner...)
	}
	return out, nil
}
