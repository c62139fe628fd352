package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// settle ends the faults and gives every role what it needs for rest: a key, and
// no schedule. What was being deleted is deleted.
func (w *world) settle() {
	w.Helper()
	w.cloud.ClearFaults()
	w.cloud.Before(nil)
	w.cloud.After(nil)
	w.cloud.SetLatency(0)
	for i := range w.roles {
		w.again("roles/"+calm(i), fields{"rotation_period": 0})
	}
	for i := range wildRoles {
		w.again("rotate-role/"+wild(i), nil)
	}
	for role := range w.gone {
		w.forget(role)
	}
}

// again writes until it is done: a provider may still be avoided, or an attempt
// be unresolved.
func (w *world) again(path string, data fields) {
	w.Helper()
	w.until(func() string {
		if _, err := w.write(w.Context(), path, data); err != nil {
			return "writing " + path + ": " + err.Error()
		}
		return ""
	})
}

func (w *world) forget(role string) {
	w.Helper()
	w.until(func() string {
		if err := w.remove(context.WithoutCancel(w.Context()), "roles/"+role); err != nil {
			return "deleting " + role + ": " + err.Error()
		}
		return ""
	})
}

// persons is the name of keys that are no business of the engine's.
const persons = "by hand: somebody's own"

// alive are the ids of the provider's live keys, admin keys included.
func (w *world) alive() map[string]bool {
	ids := map[string]bool{}
	for _, k := range w.cloud.Keys() {
		if k.Provider == providertest.ProviderOpenAI && k.Live {
			ids[k.ID] = true
		}
	}
	return ids
}

// admins counts the live admin keys.
func (w *world) admins() int {
	return len(slices.DeleteFunc(w.cloud.Keys(), func(k providertest.Key) bool {
		return k.Provider != providertest.ProviderOpenAI || !k.Admin || !k.Live
	}))
}

// A held key is a line of the engine's inventory.
type held struct{ id, role, state string }

// inventory is what the engine says it holds, by tag.
func (w *world) inventory() (map[string]held, error) {
	s, err := w.client.Logical().ListWithContext(w.Context(), mount+"/keys/main")
	if err != nil || s == nil {
		return nil, err
	}
	lines := map[string]held{}
	info, _ := s.Data["key_info"].(map[string]any)
	for tag, of := range info {
		line, _ := of.(map[string]any)
		text := func(name string) string { return fmt.Sprint(line[name]) }
		lines[tag] = held{text("key_id"), text("role"), text("state")}
	}
	return lines, nil
}

// atRest waits until the engine rests, and provider and ledger agree.
func (w *world) atRest() {
	w.Helper()
	w.until(func() string {
		status, err := w.read(w.Context(), "status")
		if err != nil {
			return err.Error()
		}
		if status.Data["healthy"] != true {
			return fmt.Sprintf("status: %v", status.Data)
		}
		if n := w.admins(); n != 2 {
			return fmt.Sprintf("%d admin keys are live, want the engine's and a person's", n)
		}
		return w.disagreement()
	})
	for i := range w.roles {
		w.sample(w.Context(), calm(i), calmGrace)
	}
	for i := range wildRoles {
		w.sample(w.Context(), wild(i), 0)
	}
	w.noNameTwice()
	n := w.cloud.Counts()
	if n.DuplicateNames+n.ReusedNames+n.RedirectsFollowed+n.SecretsInURLs != 0 {
		w.Errorf("the provider saw what must never happen: %+v", n)
	}
}

// noNameTwice names what the provider was asked for twice.
func (w *world) noNameTwice() {
	w.Helper()
	seen := map[string]int{}
	for _, k := range w.cloud.Keys() {
		if seen["key "+k.Name]++; strings.HasPrefix(k.Name, "vault-") && seen["key "+k.Name] > 1 {
			w.Errorf("the key %s was asked for twice", k.Name)
		}
	}
	for _, o := range w.cloud.Owners() {
		if seen["owner "+o.Name]++; seen["owner "+o.Name] > 1 {
			w.Errorf("the service account %s was asked for twice", o.Name)
		}
	}
}

// disagreement says how inventory and provider differ, if they do.
func (w *world) disagreement() string {
	lines, err := w.inventory()
	if err != nil {
		return err.Error()
	}
	known, ofRole := map[string]bool{}, map[string]int{}
	for tag, l := range lines {
		if l.state != "current" && l.state != "live" {
			return fmt.Sprintf("%s of %s is %s", tag, l.role, l.state)
		}
		if l.state == "current" {
			ofRole[l.role]++
		}
		known[l.id] = true
	}
	for i := range w.roles {
		if ofRole[calm(i)] != 1 {
			return fmt.Sprintf("%s holds %d keys", calm(i), ofRole[calm(i)])
		}
	}
	for role := range ofRole {
		if strings.HasPrefix(role, "brief-") {
			return role + " was deleted, and holds a key"
		}
	}
	return w.unknown(known)
}

// unknown compares ids: each live key is the engine's or a person's, and each of
// the engine's is live.
func (w *world) unknown(known map[string]bool) string {
	for _, k := range w.cloud.Live(providertest.ProviderOpenAI) {
		own := k.Name == persons || w.unanswered[k.ID]
		if !known[k.ID] && !own {
			return fmt.Sprintf("%s (%s) is live, and not in the inventory", k.ID, k.Name)
		}
	}
	live := w.alive()
	for id := range known {
		if !live[id] {
			return id + " is in the inventory, and not live"
		}
	}
	return ""
}

// didEverything: a run in which little succeeded proves little.
func (w *world) didEverything(least map[string]uint64) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for kind, n := range least {
		if uint64(w.done[kind]) < n {
			w.Errorf("%s succeeded %d times, want %d at least", kind, w.done[kind], n)
		}
	}
}

// end deletes every role: nothing that the engine made is left.
func (w *world) end() {
	w.Helper()
	w.again("revoke-account/main", nil)
	for i := range w.roles {
		w.forget(calm(i))
	}
	for i := range wildRoles {
		w.forget(wild(i))
	}
	w.forget("leased")
	w.until(func() string {
		for _, k := range w.cloud.Live(providertest.ProviderOpenAI) {
			if !strings.HasPrefix(k.Name, "by hand") {
				return fmt.Sprintf("%s (%s) is left", k.ID, k.Name)
			}
		}
		for _, o := range w.cloud.Owners() {
			if o.Live {
				return fmt.Sprintf("the service account %s (%s) is left", o.ID, o.Name)
			}
		}
		return ""
	})
}
