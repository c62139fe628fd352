package backend

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/prometheus/common/expfmt"
)

func pathsMetrics(b *Backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "metrics/?$",
		Operations: map[logical.Operation]framework.OperationHandler{
			// Not forwarded: reads are counted where they are served.
			logical.ReadOperation: &framework.PathOperation{
				Callback: b.readMetrics, Summary: "What this mount does, for Prometheus.",
				Responses: map[int][]framework.Response{http.StatusOK: {{Description: "Prometheus text.", MediaType: "text/plain"}}},
			},
		},
		HelpSynopsis: "Counters and gauges of this mount, in Prometheus' text format.",
		HelpDescription: `
It answers text, not JSON: scrape /v1/<mount>/metrics with a token that may read
this path, or look with curl. It is served from memory, without a call to storage,
transit or a provider, and is about the node that answers.

No label holds a role, a key or a secret: status and keys/<account> name those.

` + eventsHelp + "\n",
	}}
}

func (b *Backend) readMetrics(_ context.Context, _ *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	families, err := b.meters.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gathering metrics: %w", err)
	}
	var out bytes.Buffer
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	encode := expfmt.NewEncoder(&out, format)
	for _, family := range families {
		if err := encode.Encode(family); err != nil {
			return nil, fmt.Errorf("writing metrics: %w", err)
		}
	}
	return &logical.Response{Data: map[string]any{
		logical.HTTPContentType: string(format),
		logical.HTTPRawBody:     out.Bytes(),
		logical.HTTPStatusCode:  http.StatusOK,
	}}, nil
}
