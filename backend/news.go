package backend

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// Types of the events that the mount sends to Vault, as best effort: whoever must
// not miss anything reads status and keys. They hold names and ids, no secret.
const (
	eventMinted           = "ai-keys/key-minted"
	eventWithdrawn        = "ai-keys/key-withdrawn"
	eventRotated          = "ai-keys/key-rotated"
	eventRotationFailed   = "ai-keys/rotation-failed"
	eventRevoked          = "ai-keys/role-revoked"
	eventRootRotated      = "ai-keys/root-rotated"
	eventRootRotateFailed = "ai-keys/root-rotation-failed"
)

// eventsHelp is where a person finds them.
const eventsHelp = `Events (vault events subscribe 'ai-keys/*'), best effort: key-minted, key-withdrawn,
key-rotated, rotation-failed, role-revoked, root-rotated, root-rotation-failed.`

// news are events on their way to Vault. Sending one is a call, for which nothing
// here waits: when there are more than fit, they are lost.
type news struct{ waiting chan event }

type event struct {
	kind  string
	pairs []string
	// key, if not empty, is told as key_id: see [news.together].
	key string
}

func newNews() news { return news{make(chan event, 4096)} }

// newsPause lies between two deliveries: a mount that mints a thousand keys in a
// second does not make a thousand calls to say so.
const newsPause = 100 * time.Millisecond

// tell sends an event. pairs are names and values.
func (b *Backend) tell(kind string, pairs ...string) { b.pass(event{kind, pairs, ""}) }

// tellKey sends an event about a key.
func (b *Backend) tellKey(kind string, key provider.KeyID, pairs ...string) {
	b.pass(event{kind, pairs, string(key)})
}

func (b *Backend) pass(e event) {
	select {
	case b.news.waiting <- e:
	default:
	}
}

// sendNews hands events to Vault until ctx ends.
func (b *Backend) sendNews(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-b.news.waiting:
			for _, e := range b.news.together(e) {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				_ = logical.SendEvent(ctx, b, e.kind, e.metadata()...) // nobody may be listening, or this Vault has no events
				cancel()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(newsPause):
		}
	}
}

// together is an event with all that wait behind it, in their order. What happened
// to one key of an account after the other is one event, with the ids of all.
func (n news) together(first event) []event {
	out := []event{first}
	for range cap(n.waiting) {
		select {
		case e := <-n.waiting:
			last := &out[len(out)-1]
			if e.key != "" && last.key != "" && e.kind == last.kind && slices.Equal(e.pairs, last.pairs) {
				last.key += "," + e.key
			} else {
				out = append(out, e)
			}
		default:
			return out
		}
	}
	return out
}

func (e event) metadata() []string {
	if e.key == "" {
		return e.pairs
	}
	return append(slices.Clip(e.pairs), "key_id", e.key)
}

// note counts and tells what storage has just been told of a credential.
func (b *Backend) note(c change) {
	pairs := []string{
		"provider", c.provider, "account", c.account, "key_id", c.keyID, "version", strconv.Itoa(c.version),
	}
	failed := append(slices.Clip(pairs), "attempts", strconv.Itoa(c.attempts), "error", c.reason)
	role := []string{"role", c.role, logical.EventMetadataDataPath, "creds/" + c.role}
	switch c.what {
	case keyRotated:
		b.meters.rotations.WithLabelValues(c.provider, c.account, "role").Inc()
		b.tell(eventRotated, append(append(pairs, role...), logical.EventMetadataModified, "true")...)
	case rootRotated:
		b.meters.rotations.WithLabelValues(c.provider, c.account, "root").Inc()
		b.tell(eventRootRotated, pairs...)
	case rotationFailed:
		b.tell(eventRotationFailed, append(failed, role...)...)
	case rootRotationFailed:
		b.tell(eventRootRotateFailed, failed...)
	}
}
