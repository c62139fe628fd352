package backend

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func fieldText(v any) string {
	if list, ok := v.([]string); ok {
		return strings.Join(list, ",")
	}
	s, _ := v.(string)
	return strings.TrimSpace(s)
}

// checkCAS compares a cas field, if the caller sent one, with the version of
// the stored entry; 0 means that there must be none.
func checkCAS(data *framework.FieldData, version int, what string) error {
	v, ok := data.GetOk("cas")
	if !ok {
		return nil
	}
	if cas, _ := v.(int); cas != version {
		return problemf(statusConflict, "cas is %d, but %s is at version %d: read it again and repeat the change", cas, what, version)
	}
	return nil
}

// Shared pieces of path schemas.
var (
	casField = &framework.FieldSchema{
		Type:        framework.TypeInt,
		Description: "Check-and-set: the version that this write replaces; 0 if it must not exist yet. Without it the write is unconditional.",
	}
	afterField = &framework.FieldSchema{Type: framework.TypeString, Description: "List only names after this one.", Query: true}
	limitField = &framework.FieldSchema{Type: framework.TypeInt, Description: "List at most this many names; 0 or absent: all.", Query: true}
)

// page cuts a sorted list by the after and limit of a request.
func page(data *framework.FieldData, names []string) ([]string, error) {
	if after := fieldText(data.Get("after")); after != "" {
		i, found := slices.BinarySearch(names, after)
		if found {
			i++
		}
		names = names[i:]
	}
	limit := 0
	take(data, "limit", &limit)
	if limit < 0 {
		return nil, invalidf("limit: cannot be negative")
	}
	if limit > 0 && limit < len(names) {
		names = names[:limit]
	}
	return names, nil
}

// responds documents a path's answer for OpenAPI.
func responds(description string, fields map[string]*framework.FieldSchema) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{Description: description, Fields: fields}}}
}

func done(description string) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusNoContent: {{Description: description}}}
}

func text(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeString, Description: help}
}

func secretText(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeString, Description: help, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}}
}

func number(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeInt, Description: help}
}

func seconds(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeDurationSecond, Description: help}
}

func yesno(help string, byDefault bool) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeBool, Description: help, Default: byDefault}
}

func moment(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeString, Description: help + " RFC 3339, UTC."}
}

// take sets into if the caller gave the field. T is what the field's schema
// makes of it.
func take[T any](data *framework.FieldData, name string, into *T) {
	if v, ok := data.GetOk(name); ok {
		if t, ok := v.(T); ok {
			*into = t
		}
	}
}

// takeText is take for a text, without the spaces around it.
func takeText(data *framework.FieldData, name string, into *string) {
	if v, ok := data.GetOk(name); ok {
		*into = fieldText(v)
	}
}

// takeDuration is take for a TypeDurationSecond.
func takeDuration(data *framework.FieldData, name string, into *time.Duration) {
	if v, ok := data.GetOk(name); ok {
		if n, ok := v.(int); ok {
			*into = time.Duration(n) * time.Second
		}
	}
}

// listPath is a list of names with after and limit.
func listPath(pattern string, names func(context.Context, logical.Storage) ([]string, error), summary, help string) *framework.Path {
	list := func(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
		all, err := names(ctx, req.Storage)
		if err != nil {
			return nil, err
		}
		some, err := page(data, all)
		if err != nil {
			return nil, err
		}
		return logical.ListResponse(some), nil
	}
	return &framework.Path{
		Pattern: pattern,
		Fields:  map[string]*framework.FieldSchema{"after": afterField, "limit": limitField},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: &framework.PathOperation{Callback: list, Summary: summary},
		},
		HelpSynopsis:    summary,
		HelpDescription: help,
	}
}

// exists tells Vault whether a write creates or updates.
func exists[T any](t *table[T]) framework.ExistenceFunc {
	return func(ctx context.Context, req *logical.Request, data *framework.FieldData) (bool, error) {
		v, err := t.get(ctx, req.Storage, fieldText(data.Get("name")))
		return v != nil, err
	}
}
