package bootstrap

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
)

// without is the rights but for one capability.
func (r Rights) without(capability string) Rights {
	out := make(Rights, len(r))
	for path, all := range r {
		if rest := slices.DeleteFunc(slices.Clone(all), func(c string) bool { return c == capability }); len(rest) > 0 {
			out[path] = rest
		}
	}
	return out
}

// reading is what of the rights a plan takes. Some things can only be asked for
// by a write that changes nothing.
func (r Rights) reading() Rights {
	out := make(Rights)
	for path, all := range r {
		caps := only(all, "read", "list")
		if strings.HasSuffix(path, "/lookup") || strings.Contains(path, "/hmac/") || strings.HasPrefix(path, "sys/capabilities") {
			caps = all
		}
		if len(caps) > 0 {
			out[path] = caps
		}
	}
	return out
}

// refusedPlan is [denied] for a plan. Where one right is missing, all are named
// that are missing for a plan of the file: nobody should learn of them one by
// one.
func (s *Session) refusedPlan(ctx context.Context, d *Desired, errs []error) error {
	return s.nameAll(ctx, denied("this plan", errs), s.needs(d).reading())
}

// NameAll adds to a refusal what else the token would lack in an apply. Any
// other error stays as it is.
func (s *Session) NameAll(ctx context.Context, d *Desired, err error) error {
	err = s.nameAll(ctx, err, s.needs(d).without("delete"))
	if refusal, ok := errors.AsType[*DeniedError](err); ok {
		refusal.Doing = "this apply"
	}
	return err
}

// needs is [Needs] of what the session is about.
func (s *Session) needs(d *Desired) Rights {
	objects, err := s.targets(d)
	if err != nil || len(s.Options.Targets) == 0 {
		return Needs(d)
	}
	return Needs(&Desired{Objects: objects})
}

func (s *Session) nameAll(ctx context.Context, err error, want Rights) error {
	refusal, ok := errors.AsType[*DeniedError](err)
	if !ok {
		return err
	}
	missing, failed := s.lacks(ctx, want)
	if failed != nil {
		return err // what was refused is something to begin with
	}
	for path, capabilities := range refusal.Missing {
		missing.add(Access{path, capabilities})
	}
	return &DeniedError{Doing: refusal.Doing, Missing: missing}
}

// ownNeeds is what of [ownRights] an apply of the plan takes: nothing for a
// mount that is there already, nor for fingerprints where nothing is secret.
func (s *Session) ownNeeds(ctx context.Context, p *Plan) (Rights, error) {
	want := ownRights().without("delete")
	for _, path := range []string{recordMount, fingerprintMount} {
		m, err := s.MountOf(ctx, path)
		if err != nil {
			return nil, err
		}
		if m != nil {
			delete(want, "sys/mounts/"+path)
		}
	}
	secrets := false
	for _, c := range p.Pending() {
		secrets = secrets || len(c.Object.secrets(c.Withheld)) > 0
		if c.Action == Delete {
			want.add(Access{recordMount + "/metadata/*", []string{"delete"}})
		}
	}
	if !secrets {
		maps.DeleteFunc(want, func(path string, _ []string) bool { return strings.Contains(path, fingerprintMount) })
	}
	return want, nil
}
