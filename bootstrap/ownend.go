package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// ownEnd finds what the program's own token depends on: without it everything
// after it would fail. It returns why an object cannot go; "" if it can.
func (s *Session) ownEnd(ctx context.Context) (func(*Object, *State) string, error) {
	token, err := s.view(ctx, "auth/token/lookup-self")
	if err != nil {
		return nil, fmt.Errorf("finding out whose token this is: %w", err)
	}
	who, err := s.operator(ctx)
	if err != nil {
		return nil, err
	}
	const other = "; use a token that does not depend on it"
	policies := append(stringsOf(token["policies"]), stringsOf(token["identity_policies"])...)
	path := "/" + textOf(token, "path")
	child := strings.HasPrefix(path, "/auth/token/") && token["orphan"] != true
	return func(o *Object, st *State) string {
		switch {
		case slices.Contains(policies, "root"):
			return ""
		case o.Kind.Mounts == AuthMount && (strings.HasPrefix(path, "/"+o.MountPath()+"/") || child && who.logsInAt(o.MountPath())):
			return "this token comes from a login there, and would end with it" + other
		case o.Kind == policyKind && slices.Contains(policies, o.Key()):
			return "this token has its rights from it" + other
		case o.Kind == groupKind && slices.Contains(who.groups, textOf(st.Answer, "id")):
			return "this token's identity is in it, and may have its rights from it" + other
		}
		return ""
	}, nil
}

func (who *operator) logsInAt(path string) bool {
	return slices.ContainsFunc(who.login, func(m loginMount) bool { return m.path == path })
}

// silences tells whether changes delete every audit device that there is, and
// make no other before.
func (s *Session) silences(ctx context.Context, changes []*Change) (bool, error) {
	doomed, made := 0, 0
	for _, c := range changes {
		switch {
		case c.Object.Kind != auditKind:
		case c.Action == Delete:
			doomed++
		case c.Action == Create:
			made++
		}
	}
	if doomed == 0 || made > 0 {
		return false, nil
	}
	all, err := s.view(ctx, "sys/audit")
	return doomed >= len(all), err
}
