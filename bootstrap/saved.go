package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
)

// savedVersion is of the form of a saved plan; another version is refused.
const savedVersion = 1

// A Saved plan is what the file wanted and what the plan said, for a later
// apply. It holds no secret: those stand in values by their names, and are
// loaded again from their sources.
type Saved struct {
	Version   int           `json:"version"`
	Server    string        `json:"server"`
	Options   Options       `json:"options"`
	Objects   []savedObject `json:"objects"`
	Checks    []savedCheck  `json:"checks,omitempty"`
	Ownership Ownership     `json:"ownership"`
	Secrets   []file.Secret `json:"secrets"`
	Files     []string      `json:"files"`
	// Unread are the secrets that could not be read when the plan was made.
	Unread []string `json:"unread,omitempty"`
	// Digest is that of the plan's changes.
	Digest string `json:"digest"`
}

type savedObject struct {
	Kind   string                `json:"kind"`
	Parent *int                  `json:"parent,omitempty"` // in Objects
	Labels []string              `json:"labels,omitempty"`
	Values map[string]file.Value `json:"values,omitempty"`
	Loose  bool                  `json:"loose,omitempty"`
	At     file.Position         `json:"at"`
}

type savedCheck struct {
	Labels []string              `json:"labels"`
	Values map[string]file.Value `json:"values,omitempty"`
	At     file.Position         `json:"at"`
}

// Save makes a saved plan of what the file wants and what the plan says.
func Save(server string, o Options, d *Desired, p *Plan) (*Saved, error) {
	s := &Saved{
		Version: savedVersion, Server: server, Options: o, Ownership: d.Ownership,
		Secrets: d.Secrets, Files: d.Files, Digest: p.Digest(),
	}
	for _, obj := range d.Objects {
		saved := savedObject{Kind: obj.Kind.Name, Labels: obj.Labels, Values: obj.Values, Loose: obj.Loose, At: obj.At}
		if obj.Parent != nil {
			i := slices.Index(d.Objects, obj.Parent)
			if i < 0 {
				return nil, fmt.Errorf("saving the plan: %s is in nothing", obj.Name())
			}
			saved.Parent = &i
		}
		s.Objects = append(s.Objects, saved)
	}
	for _, c := range d.Checks {
		s.Checks = append(s.Checks, savedCheck{c.Labels, c.Values, c.At})
	}
	return s, nil
}

var errDamaged = errors.New("the saved plan is damaged: make a new plan")

// Desired is what the file wanted when the plan was saved.
func (s *Saved) Desired() (*Desired, error) {
	if s.Version != savedVersion {
		return nil, fmt.Errorf("the saved plan has version %d, and this program reads %d: make a new plan", s.Version, savedVersion)
	}
	d := &Desired{Ownership: s.Ownership, Secrets: s.Secrets, Files: s.Files}
	for _, saved := range s.Objects {
		i := slices.IndexFunc(kinds, func(k *Kind) bool { return k.Name == saved.Kind })
		if i < 0 {
			return nil, fmt.Errorf("the saved plan has an object of kind %q, which this program does not know: make a new plan", saved.Kind)
		}
		if b := kinds[i].Block; b != nil && len(saved.Labels) != len(b.Labels) {
			return nil, errDamaged
		}
		d.Objects = append(d.Objects, &Object{Kind: kinds[i], Labels: saved.Labels, Values: saved.Values, Loose: saved.Loose, At: saved.At})
	}
	if err := s.adopt(d.Objects); err != nil {
		return nil, err
	}
	for _, c := range s.Checks {
		if len(c.Labels) != len(checkBlock.Labels) || checkBlock.Variants[c.Labels[0]] == nil {
			return nil, errDamaged
		}
		d.Checks = append(d.Checks, &Check{Labels: c.Labels, Values: c.Values, At: c.At})
	}
	return d, nil
}

// adopt gives the objects their parents. Nothing may be in itself.
func (s *Saved) adopt(objects []*Object) error {
	for i, saved := range s.Objects {
		switch {
		case saved.Parent == nil:
		case *saved.Parent < 0 || *saved.Parent >= len(objects) || *saved.Parent == i:
			return errDamaged
		default:
			objects[i].Parent = objects[*saved.Parent]
		}
	}
	for _, o := range objects {
		depth := 0
		for up := o.Parent; up != nil; up = up.Parent {
			if depth++; depth > len(objects) {
				return errDamaged
			}
		}
	}
	return nil
}

// Digest tells one plan from another: it covers every change, with the value
// that the server has now.
func (p *Plan) Digest() string {
	type line struct {
		Name, Action string
		Fields       []FieldChange
	}
	var lines []line
	for _, c := range p.Pending() {
		lines = append(lines, line{c.Object.Name(), string(c.Action), c.Fields})
	}
	text, err := json.Marshal(lines) //nolint:musttag // it is hashed, and never read again
	if err != nil {
		return "" // it is made of what came as JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
