package devvault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"
)

// RawStorage reads all of storage below a prefix, as it is behind Vault's own
// encryption: path to value. Empty: everything that sys/raw shows.
func (s *Server) RawStorage(ctx context.Context, prefix string) (map[string][]byte, error) {
	c, err := s.Client(s.RootToken)
	if err != nil {
		return nil, err
	}
	entries := map[string][]byte{}
	return entries, collect(ctx, c, prefix, entries)
}

func collect(ctx context.Context, c *api.Client, prefix string, into map[string][]byte) error {
	list, err := c.Logical().ListWithContext(ctx, "sys/raw/"+prefix)
	if err != nil {
		return fmt.Errorf("listing storage below %q: %w", prefix, err)
	}
	if list == nil {
		return nil
	}
	names, _ := list.Data["keys"].([]any) // a list without keys is empty
	for _, n := range names {
		name, _ := n.(string) // names are texts
		if strings.HasSuffix(name, "/") {
			if err := collect(ctx, c, prefix+name, into); err != nil {
				return err
			}
			continue
		}
		if err := readRaw(ctx, c, prefix+name, into); err != nil {
			return err
		}
	}
	return nil
}

func readRaw(ctx context.Context, c *api.Client, path string, into map[string][]byte) error {
	got, err := readEncoded(ctx, c, path, "true")
	if isRefusal(err) { // it only looked compressed
		got, err = readEncoded(ctx, c, path, "false")
	}
	if isRefusal(err) && strings.HasPrefix(path, "core/") {
		return nil // the server's own keys and names, outside the barrier, where no engine can write
	}
	if err != nil {
		return fmt.Errorf("reading %q from storage: %w", path, err)
	}
	if got == nil {
		return nil // deleted meanwhile
	}
	text, _ := got.Data["value"].(string) // a value is a text
	value, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("decoding %q from storage: %w", path, err)
	}
	into[path] = value
	return nil
}

func readEncoded(ctx context.Context, c *api.Client, path, compressed string) (*api.Secret, error) {
	return c.Logical().ReadWithDataWithContext(ctx, "sys/raw/"+path, map[string][]string{
		"encoding": {"base64"}, "compressed": {compressed},
	})
}

func isRefusal(err error) bool {
	var refused *api.ResponseError
	return errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest
}
