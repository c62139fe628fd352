package bootstrap

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what most authenticators use
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// passcodes makes one-time codes as RFC 6238 says, or has just one. Nil has none.
type passcodes struct {
	one    string
	key    []byte
	hash   func() hash.Hash
	digits int
	period time.Duration
}

var oneCode = regexp.MustCompile(`^[0-9]{6,8}$`)

// No error here quotes the text.
var errPasscodes = errors.New("what the codes are computed from is wanted: in base32, or as an otpauth://totp/ address; or one code of 6 to 8 digits")

// parsePasscodes reads what people get when an authenticator is enrolled.
func parsePasscodes(text string) (*passcodes, error) {
	text = strings.TrimSpace(text)
	if oneCode.MatchString(text) {
		return &passcodes{one: text}, nil
	}
	p := &passcodes{hash: sha1.New, digits: 6, period: 30 * time.Second}
	if strings.HasPrefix(text, "otpauth:") {
		u, err := url.Parse(text)
		if err != nil || u.Host != "totp" {
			return nil, errPasscodes
		}
		text = u.Query().Get("secret")
		if err := p.configure(u.Query()); err != nil {
			return nil, err
		}
	}
	plain := strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "=", "").Replace(text))
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain)
	if err != nil || len(key) == 0 {
		return nil, errPasscodes
	}
	p.key = key
	return p, nil
}

// configure takes the parameters of an address.
func (p *passcodes) configure(q url.Values) error {
	if name := q.Get("algorithm"); name != "" {
		known := map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}
		if p.hash = known[strings.ToUpper(name)]; p.hash == nil {
			return errors.New("the otpauth address has an algorithm that is not known; there are SHA1, SHA256 and SHA512")
		}
	}
	if text := q.Get("digits"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 6 || n > 8 {
			return errors.New("the otpauth address has digits that are not 6, 7 or 8")
		}
		p.digits = n
	}
	if text := q.Get("period"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 3600 {
			return errors.New("the otpauth address has a period that is no number of seconds up to an hour")
		}
		p.period = time.Duration(n) * time.Second
	}
	return nil
}

// at is the code of a moment; "" if there is none.
func (p *passcodes) at(now time.Time) string {
	switch {
	case p == nil:
		return ""
	case p.one != "":
		return p.one
	}
	mac := hmac.New(p.hash, p.key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now.Unix()/int64(p.period.Seconds())))) //nolint:gosec // time is positive
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	code := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	limit := uint32(1)
	for range p.digits {
		limit *= 10
	}
	return fmt.Sprintf("%0*d", p.digits, code%limit)
}

// renews tells whether there will be another code.
func (p *passcodes) renews() bool { return p != nil && p.one == "" }

// next is how long the code of a moment still counts.
func (p *passcodes) next(now time.Time) time.Duration {
	return p.period - time.Duration(now.UnixNano())%p.period
}
