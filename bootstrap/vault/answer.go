package vault

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// An Answer is what came back from a write. Numbers in Data are json.Number.
type Answer struct {
	Data     map[string]any
	Warnings []string
	// Lease is empty when nothing was leased.
	Lease         string
	LeaseDuration time.Duration
	Renewable     bool
	// Auth is what a login gave.
	Auth *Auth
}

// Auth is a login.
type Auth struct {
	Token, Accessor string
	Policies        []string
	EntityID        string
	LeaseDuration   time.Duration
	Renewable       bool
	// MFARequest is the id of a login that still wants its second factor; the
	// token is empty then. Of the methods of each enforcement in MFA it wants one.
	MFARequest string
	MFA        map[string][]MFAMethod
}

// MFAMethod is a second factor that a login may bring. Without a passcode the
// server asks the person itself.
type MFAMethod struct {
	ID, Type, Name string
	Passcode       bool
}

// Wrapped is an answer that the server keeps until somebody comes with Token.
type Wrapped struct {
	Token, Accessor string
	TTL             time.Duration
	CreationPath    string
	// WrappedAccessor is that of the token or AppRole secret-id inside.
	WrappedAccessor string
}

// Health is how a server is.
type Health struct {
	Initialised, Sealed, Standby, PerformanceStandby bool
	Enterprise                                       bool
	Version, ClusterName, ClusterID                  string
}

// Format shows the names of the data, whatever the verb: the values may be
// secrets.
func (a Answer) Format(f fmt.State, _ rune) {
	names := slices.Sorted(maps.Keys(a.Data))
	_, _ = io.WriteString(f, "(answer with "+strings.Join(names, ", ")+")")
}

// Format shows the accessor, whatever the verb.
func (a Auth) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "(token with accessor "+a.Accessor+")")
}

// Format shows the accessor, whatever the verb.
func (w Wrapped) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "(wrapping token with accessor "+w.Accessor+")")
}

// A body is an answer as Vault writes it.
type body struct {
	RequestID     string         `json:"request_id"`
	Data          map[string]any `json:"data"`
	Warnings      []string       `json:"warnings"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int64          `json:"lease_duration"`
	Renewable     bool           `json:"renewable"`
	Auth          *struct {
		ClientToken   string   `json:"client_token"`
		Accessor      string   `json:"accessor"`
		Policies      []string `json:"policies"`
		EntityID      string   `json:"entity_id"`
		LeaseDuration int64    `json:"lease_duration"`
		Renewable     bool     `json:"renewable"`
		Requirement   *struct {
			ID          string `json:"mfa_request_id"`
			Constraints map[string]struct {
				Any []struct {
					ID       string `json:"id"`
					Type     string `json:"type"`
					Name     string `json:"name"`
					Passcode bool   `json:"uses_passcode"`
				} `json:"any"`
			} `json:"mfa_constraints"`
		} `json:"mfa_requirement"`
	} `json:"auth"`
	WrapInfo *struct {
		Token        string `json:"token"`
		Accessor     string `json:"accessor"`
		TTL          int64  `json:"ttl"`
		CreationPath string `json:"creation_path"`
		Wrapped      string `json:"wrapped_accessor"`
	} `json:"wrap_info"`
}

// parse reads an answer. Some of what is under sys/ has no envelope: all of it
// is data then.
func parse(text []byte) (*body, error) {
	var b body
	if err := decode(text, &b); err != nil {
		return nil, err
	}
	if b.RequestID == "" && b.Data == nil && b.Auth == nil && b.WrapInfo == nil {
		if err := decode(text, &b.Data); err != nil {
			return nil, err
		}
	}
	return &b, nil
}

func decode(text []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	return d.Decode(into)
}

// data is never nil, because nil says that there is nothing.
func (b *body) data() map[string]any {
	if b == nil || b.Data == nil {
		return map[string]any{}
	}
	return b.Data
}

func (b *body) answer() *Answer {
	if b == nil {
		return &Answer{}
	}
	a := &Answer{
		Data: b.Data, Warnings: b.Warnings,
		Lease: b.LeaseID, LeaseDuration: seconds(b.LeaseDuration), Renewable: b.Renewable,
	}
	if b.Auth != nil {
		a.Auth = &Auth{
			Token: b.Auth.ClientToken, Accessor: b.Auth.Accessor, Policies: b.Auth.Policies,
			EntityID: b.Auth.EntityID, LeaseDuration: seconds(b.Auth.LeaseDuration), Renewable: b.Auth.Renewable,
		}
		if b.Auth.Requirement != nil {
			a.Auth.MFARequest = b.Auth.Requirement.ID
			a.Auth.MFA = make(map[string][]MFAMethod)
			for name, c := range b.Auth.Requirement.Constraints {
				for _, m := range c.Any {
					a.Auth.MFA[name] = append(a.Auth.MFA[name], MFAMethod(m))
				}
			}
		}
	}
	return a
}

func (b *body) wrapped() *Wrapped {
	w := b.WrapInfo
	return &Wrapped{
		Token: w.Token, Accessor: w.Accessor, TTL: seconds(w.TTL),
		CreationPath: w.CreationPath, WrappedAccessor: w.Wrapped,
	}
}

func (b *body) health() (Health, error) {
	flag := func(name string) bool { v, _ := b.data()[name].(bool); return v }
	text := func(name string) string { v, _ := b.data()[name].(string); return v }
	if _, ok := b.data()["initialized"].(bool); !ok {
		return Health{}, &Error{Operation: "reading", Path: "sys/health", Messages: []string{"the answer is not one of a Vault server: is VAULT_ADDR right?"}}
	}
	return Health{
		Initialised: flag("initialized"), Sealed: flag("sealed"),
		Standby: flag("standby"), PerformanceStandby: flag("performance_standby"), Enterprise: flag("enterprise"),
		Version: text("version"), ClusterName: text("cluster_name"), ClusterID: text("cluster_id"),
	}, nil
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
