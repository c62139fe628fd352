package bootstrap

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// How long keys may take to be withdrawn at their provider before whoever
// deletes is told what is left. Rate limits of providers are a minute long.
const (
	withdrawTime  = 2 * time.Minute
	withdrawPause = time.Second
)

// withdrawAIKeys ends every key at its provider before the mount goes: Vault
// tells an engine nothing when that happens, and with the mount goes all that
// is known of its keys.
//
//  1. Every account is disabled, so that nothing new is minted meanwhile. Killed
//     after it: nothing is served, and the next run goes on.
//  2. Every account's keys are revoked; the engine goes on by itself from here.
//  3. The inventory of every account is waited for until it is empty.
//  4. Roles and accounts are deleted, and with them what the engine has made for
//     them: service accounts, and admin credentials that nobody else knows.
func withdrawAIKeys(ctx context.Context, s *Session, o *Object) error {
	accounts, err := s.Vault.List(ctx, o.MountPath()+"/accounts")
	if vault.IsAbsentMount(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking which keys are live at a provider (to give them up and unmount all the same: vault secrets disable %s): %w", o.MountPath(), err)
	}
	var byHand []string
	for _, name := range accounts {
		if _, err := s.Vault.Write(ctx, slashed(o.MountPath(), "accounts", name), map[string]any{"disabled": true}); err != nil {
			return err
		}
		answer, err := s.Vault.Write(ctx, slashed(o.MountPath(), "revoke-account", name), nil)
		switch {
		case vault.StatusOf(err) == 503 && !vault.IsSealed(err): // the engine goes on trying
		case err != nil:
			return err
		default:
			byHand = append(byHand, stringsOf(answer.Data["by_hand"])...)
		}
	}
	if err := s.awaitWithdrawn(ctx, o, accounts); err != nil {
		return err
	}
	if len(byHand) > 0 {
		return fmt.Errorf("not unmounted: these keys can be withdrawn by no API. Disable them at their provider by hand, and run this again: %s", strings.Join(byHand, ", "))
	}
	return s.emptyAIKeys(ctx, o, accounts)
}

// emptyAIKeys deletes every role and account.
func (s *Session) emptyAIKeys(ctx context.Context, o *Object, accounts []string) error {
	roles, err := s.Vault.List(ctx, o.MountPath()+"/roles")
	if err != nil {
		return err
	}
	for _, name := range roles {
		if err := s.Vault.Delete(ctx, slashed(o.MountPath(), "roles", name)); err != nil {
			return err
		}
	}
	for _, name := range accounts {
		if err := deleteAIKeysAccount(ctx, s, &Object{Kind: aikeysAccountKind, Parent: o, Labels: []string{name}}); err != nil {
			return err
		}
	}
	return nil
}

// awaitWithdrawn waits until no account has a key any more.
func (s *Session) awaitWithdrawn(ctx context.Context, o *Object, accounts []string) error {
	started := time.Now()
	for {
		var left []string
		for _, name := range accounts {
			path := slashed(o.MountPath(), "keys", name)
			keys, info, err := s.Vault.ListInfo(ctx, path)
			if err != nil {
				return err
			}
			for _, key := range keys {
				m, _ := info[key].(map[string]any)
				left = append(left, strings.TrimSpace(fmt.Sprintf("  %s/%s %s %s", path, key, textOf(m, "key_id"), textOf(m, "last_error"))))
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Since(started) > withdrawTime {
			return fmt.Errorf("not unmounted: these keys may still be live at their provider after %s, and the engine goes on withdrawing them. Run this again later, or give them up: vault secrets disable %s\n  %s",
				withdrawTime, o.MountPath(), strings.Join(left, "\n  "))
		}
		if err := pause(ctx, withdrawPause); err != nil {
			return err
		}
	}
}

// withdrawAccess is what [withdrawAIKeys] needs: of accounts and roles that no
// file names as well.
func withdrawAccess(o *Object) []Access {
	return append(statusAccess(o), []Access{
		{o.within("accounts"), []string{"list"}},
		{o.within("accounts", "+"), []string{"create", "read", "update", "delete"}},
		{o.within("roles"), []string{"list"}},
		{o.within("roles", "+"), []string{"read", "delete"}},
		{o.within("revoke-account", "+"), []string{"create", "update"}},
		{o.within("keys", "+"), []string{"list"}},
	}...)
}
