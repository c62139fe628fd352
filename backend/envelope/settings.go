package envelope

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Mode is what protects the data keys.
type Mode string

// The two modes of the config path's field encryption.
const (
	ModeTransit Mode = "transit"
	ModeBarrier Mode = "barrier"
)

// Auth methods of config/transit.
const (
	AuthAppRole    = "approle"
	AuthToken      = "token"
	AuthJWT        = "jwt"
	AuthKubernetes = "kubernetes"
)

const (
	defaultTimeout = 5 * time.Second
	maxTimeout     = time.Minute
	minDataKeyTTL  = time.Second
)

// Settings say how to reach transit. They are stored at "transit"; their own
// credential is protected by Vault's barrier only. They do not print.
type Settings struct {
	// Address is https, or http on loopback: a token and data keys cross it.
	Address       string `json:"address"`
	Namespace     string `json:"namespace,omitempty"`
	CACert        string `json:"ca_cert,omitempty"` // PEM
	TLSServerName string `json:"tls_server_name,omitempty"`
	Mount         string `json:"mount"`
	Key           string `json:"key"`

	AuthMethod string `json:"auth_method"`
	// AuthMount is where the auth method is mounted; not used by [AuthToken].
	AuthMount string `json:"auth_mount,omitempty"`
	RoleID    string `json:"role_id,omitempty"`
	SecretID  string `json:"secret_id,omitempty"`
	Token     string `json:"token,omitempty"`
	Role      string `json:"role,omitempty"`
	// JWTFile is read on each login. Only a JWT is ever sent from it, so that
	// it cannot be used to read another file of the server.
	JWTFile string `json:"jwt_file,omitempty"`

	// DataKeyTTL is how long an unwrapped data key may stay in memory; 0: each
	// use asks transit (uses at the same moment share one answer).
	DataKeyTTL time.Duration `json:"data_key_ttl"`
	// Timeout bounds one use of transit; 0 means five seconds.
	Timeout time.Duration `json:"timeout"`
}

// String leaves the credentials out.
func (s Settings) String() string {
	return fmt.Sprintf("transit key %s/%s at %s", s.Mount, s.Key, s.Address)
}

// GoString leaves the credentials out.
func (s Settings) GoString() string { return s.String() }

var (
	// Transit takes such key names; mounts may have several segments.
	segment = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)
	// What an HTTP header can carry.
	printable = regexp.MustCompile(`^[\x21-\x7e]+$`)
)

// Validate checks s and changes nothing. An error names the field and the way
// out, and never a field's value that may be secret.
func (s *Settings) Validate() error {
	if err := s.validateAddress(); err != nil {
		return err
	}
	if s.CACert != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(s.CACert)) {
		return errors.New("ca_cert holds no certificate: give one or more certificates in PEM form, not a file name")
	}
	if s.Namespace != "" && !isPath(strings.TrimSuffix(s.Namespace, "/")) {
		return errors.New("namespace must be a path such as admin/team-a")
	}
	if !isPath(s.Mount) {
		return errors.New("mount must be the transit engine's path such as transit: letters, digits, '-', '_' and '.', with '/' between segments only")
	}
	if !segment.MatchString(s.Key) {
		return errors.New("key must be the transit key's name such as ai-keys: letters, digits, '-', '_' and '.'")
	}
	if s.DataKeyTTL < 0 || s.DataKeyTTL > 0 && s.DataKeyTTL < minDataKeyTTL {
		return fmt.Errorf("data_key_ttl must be 0 (unwrap on each use) or at least %s", minDataKeyTTL)
	}
	if s.Timeout < 0 || s.Timeout > maxTimeout {
		return fmt.Errorf("timeout must lie between 0 (meaning %s) and %s", defaultTimeout, maxTimeout)
	}
	return s.validateAuth()
}

func (s *Settings) validateAddress() error {
	u, err := url.Parse(s.Address)
	switch {
	case err != nil, u.Host == "", u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "", u.Opaque != "":
		return errors.New("address must be a plain URL such as https://vault.example.com:8200")
	case u.Path != "" && u.Path != "/" && !isPath(strings.Trim(u.Path, "/")):
		return errors.New("address has a path that is not plain: give it without '..', '//' or escapes")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("address must be https (http is taken for loopback only): a token and data keys travel over it")
	}
}

func (s *Settings) validateAuth() error {
	if s.AuthMethod != AuthToken && !isPath(s.AuthMount) {
		return errors.New("auth_mount must be the auth method's path such as approle, without auth/ before it")
	}
	switch s.AuthMethod {
	case AuthAppRole:
		if s.RoleID == "" || s.SecretID == "" {
			return errors.New("auth_method=approle needs role_id and secret_id")
		}
	case AuthToken:
		if !printable.MatchString(s.Token) {
			return errors.New("auth_method=token needs token: a token without spaces or line ends")
		}
	case AuthJWT, AuthKubernetes:
		if s.Role == "" || s.JWTFile == "" {
			return fmt.Errorf("auth_method=%s needs role and jwt_file", s.AuthMethod)
		}
	default:
		return errors.New("auth_method must be approle, token, jwt or kubernetes")
	}
	return nil
}

// place is what a data key's wrapping belongs to.
func (s *Settings) place() place {
	return place{
		Address:   strings.TrimSuffix(s.Address, "/"),
		Namespace: strings.TrimSuffix(s.Namespace, "/"),
		Mount:     s.Mount,
		Key:       s.Key,
	}
}

func (s *Settings) timeout() time.Duration {
	if s == nil || s.Timeout <= 0 {
		return defaultTimeout
	}
	return s.Timeout
}

// isPath reports whether p consists of plain segments only, none of which can
// climb or needs escaping.
func isPath(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if !segment.MatchString(part) {
			return false
		}
	}
	return true
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
