package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// ExportOptions are what an operator may ask of an export.
type ExportOptions struct {
	// From is what the file says about where it comes from: the server.
	From string
	// Targets limits it to the objects of these names, with what is in them.
	// Only what stands at the top of a file can be named. Empty: all.
	Targets []string
}

// Export writes what the server has as a file in HCL. Nothing is written to the
// server, and no secret to the file: where one belongs, the file declares where
// it is to be had.
//
// The file is read again and compared with the server before it is handed out.
// What a file cannot say stands in it as a comment, and in the notes; so does
// what a plan with this very file would change.
func (s *Session) Export(ctx context.Context, o ExportOptions, w io.Writer) (notes []string, err error) {
	s.forget()
	s.record.reload()
	e := &exporter{s: s, options: o, names: make(map[schema.Reference]string), taken: make(map[string]bool)}
	if e.accessors, err = s.accessors(ctx); err != nil {
		if err := e.unread(nil, "the auth methods", err); err != nil {
			return nil, err
		}
	}
	if err := e.collect(ctx); err != nil {
		return nil, err
	}
	text, err := e.settle(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return nil, fmt.Errorf("writing the export: %w", err)
	}
	return e.notes, nil
}

// An exporter is one export.
type exporter struct {
	s       *Session
	options ExportOptions
	top     []*exported
	// accessors are those of the auth mounts, with their paths.
	accessors map[string]string
	// names are those of ids that were looked up; "" for what is not there.
	names map[schema.Reference]string
	// secrets are declared in this order; taken are their names.
	secrets []declared
	taken   map[string]bool
	// denied are the errors of what the token may not do.
	denied []error
	notes  []string
}

// An exported is an object as it will stand in the file: its Values are as if
// they had been read from there.
type exported struct {
	*Object
	state *State
	// rules are those of a policy.
	rules []policyRule
	// hidden are fields that Vault does not return, and that have to be set.
	hidden []string
	inner  []*exported
	// remarks stand above it as comments; those that were told are notes as well.
	remarks, told []string
	// without says why it cannot stand in a file. It is a comment then.
	without string
	// first and last are its lines.
	first, last int
}

// tell puts something above an object, and tells the operator.
func (x *exported) tell(text string) {
	x.remarks = append(x.remarks, text)
	x.told = append(x.told, text)
}

// note tells the operator something.
func (e *exporter) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(e.notes, text) {
		e.notes = append(e.notes, text)
	}
}

// collect reads everything there is.
func (e *exporter) collect(ctx context.Context) error {
	for _, k := range slices.SortedStableFunc(slices.Values(kinds), func(x, y *Kind) int { return cmp.Compare(x.Stage, y.Stage) }) {
		if k.Block == nil || nested(k) {
			continue
		}
		found, err := e.those(ctx, k, nil)
		if err != nil {
			return err
		}
		e.top = append(e.top, found...)
	}
	if err := e.refusal(); err != nil {
		return err
	}
	for _, t := range e.options.Targets {
		if !slices.ContainsFunc(e.top, func(x *exported) bool { return x.Name() == t }) {
			return fmt.Errorf("--target %q names nothing that an export can be limited to: it takes policies, mounts, groups and the like, by the names that a plan shows", t)
		}
	}
	return e.unwire(ctx)
}

// refusal names every right that is missing; nil if none is.
func (e *exporter) refusal() error {
	err := denied("this export", e.denied)
	if d, is := errors.AsType[*DeniedError](err); is {
		for path := range d.Missing {
			if path == "sys/audit" || strings.HasPrefix(path, "sys/plugins/catalog/") {
				d.Missing.add(Access{path, []string{"sudo"}}) // Vault does not say that it wants it
			}
		}
	}
	return err
}

// those are the objects of a kind: in a mount, or in none. What is in them
// comes with them.
func (e *exporter) those(ctx context.Context, k *Kind, parent *exported) ([]*exported, error) {
	var in *Object
	if parent != nil {
		in = parent.Object
	}
	objects, err := e.list(ctx, k, in)
	if err != nil {
		return nil, e.unread(parent, "what there is of "+k.Name, err)
	}
	slices.SortStableFunc(objects, func(x, y *Object) int {
		return cmp.Or(strings.Compare(x.Key(), y.Key()), slices.Compare(x.Labels, y.Labels))
	})
	out := make([]*exported, len(objects))
	errs := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, o := range objects {
		out[i] = &exported{Object: o}
		group.Go(func() error {
			out[i].state, errs[i] = e.read(ctx, out[i])
			return nil
		})
	}
	_ = group.Wait() // what went wrong is looked at one by one
	for i, x := range out {
		err := errs[i]
		if err == nil && x.without == "" && x.state.Exists {
			err = e.fill(ctx, x)
		}
		if err != nil {
			if err = e.unread(x, "it", err); err != nil {
				return nil, err
			}
		}
	}
	return slices.DeleteFunc(out, (*exported).isNothing), nil
}

// list finds the objects of a kind that are to be exported.
func (e *exporter) list(ctx context.Context, k *Kind, parent *Object) ([]*Object, error) {
	switch {
	case k.ListPath == nil && len(k.Block.Labels) > 0:
		return nil, nil // kv entries, secret-ids: nobody but the file can say which are meant
	case k.ListPath == nil:
		return []*Object{{Kind: k, Parent: parent}}, nil
	}
	objects, err := e.s.list(ctx, k, parent)
	if parent != nil || len(e.options.Targets) == 0 {
		return objects, err
	}
	return slices.DeleteFunc(objects, func(o *Object) bool { return !slices.Contains(e.options.Targets, o.Name()) }), err
}

// read looks at one object.
func (e *exporter) read(ctx context.Context, x *exported) (*State, error) {
	if variants := x.Kind.Block.Variants; variants != nil && variants[x.Labels[0]] == nil {
		x.without = fmt.Sprintf("a file does not know the type %q", x.Labels[0])
		return absent, nil
	}
	if before := exporting[x.Kind].before; before != nil {
		if err := before(ctx, e, x); err != nil {
			return nil, err
		}
	}
	return e.s.Read(ctx, x.Object)
}

// unread settles what could not be read: a right that is missing is told
// together with all others, and what the server itself cannot do, as with a
// mount whose plugin is gone, is left out.
func (e *exporter) unread(x *exported, what string, err error) error {
	switch status := vault.StatusOf(err); {
	case status == 403:
		e.denied = append(e.denied, err)
	case status == 0:
		return err
	case x == nil:
		e.note("%s could not be read: %v", what, err)
	case what == "it":
		x.without = "it could not be read: " + err.Error()
	default:
		x.tell(what + " could not be read: " + err.Error())
	}
	return nil
}

// isNothing tells whether there is nothing to write: settings that nobody has
// changed, or what could not be read.
func (x *exported) isNothing() bool {
	if x.without != "" {
		return false
	}
	one := x.Kind.ListPath == nil // of which there is one at most
	return x.state == nil || !x.state.Exists || one && len(x.Values)+len(x.inner)+len(x.remarks) == 0
}

// every walks what is to stand in the file, each before what is in it.
func every(all []*exported, visit func(x *exported)) {
	for _, x := range all {
		if x.without == "" {
			visit(x)
			every(x.inner, visit)
		}
	}
}
