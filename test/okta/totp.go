package okta

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238 with its default hash, as authenticator apps have it
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// period is how long a one-time code is shown.
const period = 30 * time.Second

// step is the number of the period that an instant is in.
func step(at time.Time) int64 { return at.Unix() / int64(period/time.Second) }

// Code is the one-time code of an instant: RFC 6238 with SHA-1, 30 seconds and
// six digits. The secret is in base32, as in an otpauth URL.
func Code(secret string, at time.Time) (string, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(strings.ToUpper(secret), "="))
	if err != nil {
		return "", fmt.Errorf("the secret of a one-time code must be in base32: %w", err)
	}
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, step(at)) // a hash takes everything
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[offset:])&0x7fffffff%1_000_000), nil
}

type verdict int

const (
	wrong verdict = iota
	replayed
	right
)

// accept compares a code with that of now and those of its neighbours, because
// clocks differ. A code is good once.
func (f *factor) accept(code string, now time.Time) verdict {
	for _, at := range []time.Time{now, now.Add(-period), now.Add(period)} {
		expected, err := Code(f.Secret, at)
		if err != nil || !hmac.Equal([]byte(code), []byte(expected)) {
			continue
		}
		if step(at) <= f.used {
			return replayed
		}
		f.used = step(at)
		return right
	}
	return wrong
}
