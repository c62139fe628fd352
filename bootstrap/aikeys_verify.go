package bootstrap

import (
	"context"
	"fmt"
	"strings"
)

// verifyAIKeys asks the engine how it is. Roles that wait for a person to bring
// their first key are no fault of the file's.
func verifyAIKeys(ctx context.Context, s *Session, o *Object) (string, error) {
	path := o.within("status")
	status, err := s.Vault.Read(ctx, path)
	if err != nil {
		return "", err
	}
	if status["healthy"] == true {
		return "healthy", nil
	}
	var waiting, troubles []string
	for _, name := range stringsOf(status["overdue"]) {
		waits, err := s.waitsForPerson(ctx, o, name)
		switch {
		case err != nil:
			return "", err
		case waits:
			waiting = append(waiting, name)
		default:
			troubles = append(troubles, "overdue: "+name)
		}
	}
	for _, name := range stringsOf(status["withdrawn"]) {
		troubles = append(troubles, "revoked: "+name)
	}
	failing, _ := status["failing"].(map[string]any)
	for _, name := range sortedKeys(failing) {
		troubles = append(troubles, name+": "+textOf(failing, name))
	}
	if transit, _ := status["transit"].(map[string]any); transit["failing"] == true {
		troubles = append(troubles, "transit: "+textOf(transit, "last_error"))
	}
	if len(troubles) > 0 || len(waiting) == 0 {
		return "", fmt.Errorf("the engine says that it is not healthy (%s): %s", path, strings.Join(troubles, "; "))
	}
	return "healthy, but for roles that wait for a person to bring a key: " + strings.Join(waiting, ", "), nil
}

// waitsForPerson tells whether a role never had a key, because its provider has
// no API that makes one.
func (s *Session) waitsForPerson(ctx context.Context, o *Object, role string) (bool, error) {
	if strings.Contains(role, "/") {
		return false, nil // an account
	}
	status, err := s.Vault.Read(ctx, o.within("status", role))
	if err != nil || textOf(status, "phase") != "empty" {
		return false, err
	}
	def, err := s.Vault.Read(ctx, o.within("providers", textOf(status, "provider")))
	return textOf(def, "life") == "import", err
}

// verifyAIKeysAccount asks the engine how the admin credential stands.
func verifyAIKeysAccount(ctx context.Context, s *Session, o *Object) (string, error) {
	account, err := s.Vault.Read(ctx, o.Kind.Path(o))
	if err != nil {
		return "", err
	}
	if why := textOf(account, "last_error"); why != "" {
		return "", fmt.Errorf("the last rotation of its admin credential failed: %s", why)
	}
	if last := textOf(account, "last_vault_rotation"); last != "" {
		return "admin credential rotated at " + last, nil
	}
	return "no error", nil
}

// verifyAIKeysRole asks the engine how the role stands. It reads no key: that
// would mint one for a dynamic role.
func verifyAIKeysRole(ctx context.Context, s *Session, o *Object) (string, error) {
	status, err := s.Vault.Read(ctx, o.within("status", o.Key()))
	if err != nil {
		return "", err
	}
	switch phase := textOf(status, "phase"); {
	case status["disabled"] == true:
		return "disabled", nil
	case textOf(status, "last_error") != "":
		return "", fmt.Errorf("the last attempt failed: %s", textOf(status, "last_error"))
	case phase == "empty":
		way := "vault write " + o.within("import", o.Key())
		if waits, err := s.waitsForPerson(ctx, o, o.Key()); err != nil || waits {
			return "waits for a person to bring a key: " + way, err
		}
		return "", fmt.Errorf("it has no key yet: vault write -f %s", o.within("rotate-role", o.Key()))
	case phase == "withdrawn":
		return "", fmt.Errorf("its keys were revoked: vault write -f %s", o.within("rotate-role", o.Key()))
	case status["overdue"] == true:
		return "", fmt.Errorf("its rotation is overdue since %s", textOf(status, "next_rotation"))
	}
	if id := textOf(status, "key_id"); id != "" {
		return "serves " + id, nil
	}
	return "no error", nil
}

// statusAccess is what the proofs of a mount read.
func statusAccess(o *Object) []Access {
	return []Access{
		{o.within("status"), []string{"read"}},
		{o.within("status", "+"), []string{"read"}},
		{o.within("providers", "+"), []string{"read"}},
	}
}
