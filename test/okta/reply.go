package okta

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

type object = map[string]any

// A reply is what an endpoint answers.
type reply struct {
	status int
	body   any
}

func ok(body any) reply { return reply{http.StatusOK, body} }

// A failure is one of Okta's errors.
type failure struct {
	status        int
	code, summary string
}

// The errors' summaries are Okta's words.
var (
	malformed       = failure{http.StatusBadRequest, "E0000003", "The request body was not well-formed."}
	unauthenticated = failure{http.StatusUnauthorized, "E0000004", "Authentication failed"}
	noSession       = failure{http.StatusForbidden, "E0000005", "Invalid session"}
	noSuchPath      = failure{http.StatusNotFound, "E0000008", "The requested path was not found"}
	badToken        = failure{http.StatusUnauthorized, "E0000011", "Invalid token provided"}
	badMethod       = failure{http.StatusMethodNotAllowed, "E0000022", "The endpoint does not support the provided HTTP method"}
	badSearch       = failure{http.StatusBadRequest, "E0000031", "Invalid search criteria."}
	badPasscode     = failure{http.StatusForbidden, "E0000068", "Invalid Passcode/Answer"}
)

func notFound(kind, id string) failure {
	return failure{http.StatusNotFound, "E0000007", "Not found: Resource not found: " + id + " (" + kind + ")"}
}

// reply is the failure as Okta words it, with causes in words.
func (f failure) reply(causes ...string) reply {
	list := make([]object, 0, len(causes))
	for _, c := range causes {
		list = append(list, object{"errorSummary": c})
	}
	return reply{f.status, object{
		"errorCode": f.code, "errorSummary": f.summary, "errorLink": f.code,
		"errorId": newID("oae"), "errorCauses": list,
	}}
}

// routes is the table of endpoints. A path without a method in front is what
// remains of it: the methods that it does not have.
func (o *Org) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) reply{
		"POST /api/v1/authn":                                                   o.authenticate,
		"POST /api/v1/authn/factors/{factor}/verify":                           o.verifyLogin,
		"GET /api/v1/users":                                                    o.trusted(o.listUsers),
		"GET /api/v1/users/{user}":                                             o.trusted(o.withUser(showUser)),
		"GET /api/v1/users/{user}/groups":                                      o.trusted(o.withUser(o.listGroups)),
		"GET /api/v1/users/{user}/factors":                                     o.trusted(o.withUser(o.listFactors)),
		"POST /api/v1/users/{user}/factors/{factor}/verify":                    o.trusted(o.withUser(o.verifyFactor)),
		"GET /api/v1/users/{user}/factors/{factor}/transactions/{transaction}": o.trusted(o.withUser(o.showTransaction)),
	} {
		_, path, _ := strings.Cut(pattern, " ")
		mux.Handle(pattern, o.endpoint(pattern, answer))
		mux.Handle(path, o.endpoint("", func(*http.Request) reply { return badMethod.reply() }))
	}
	mux.Handle("/", o.endpoint("", func(*http.Request) reply { return noSuchPath.reply() }))
	return mux
}

// ServeHTTP implements [http.Handler].
func (o *Org) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.router.ServeHTTP(w, r) }

// endpoint counts, holds the lock while it answers, and writes the answer. The
// body is read before: a slow client holds up nobody.
func (o *Org) endpoint(name string, answer func(*http.Request) reply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return // the client is gone, or no client of Okta
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
		o.mu.Lock()
		o.calls[name]++
		said := answer(r)
		o.mu.Unlock()
		write(w, said.status, said.body)
	})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // it fails when the client is gone, and then nobody minds
}

// link is a HAL link with the one method that it takes.
func (o *Org) link(path, method string) object {
	return object{"href": "https://" + o.options.Host + path, "hints": object{"allow": []string{method}}}
}

// stamp writes an instant as Okta does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// read decodes a request's body; an empty one leaves everything as it is.
func read(r *http.Request, into any) bool {
	err := json.NewDecoder(r.Body).Decode(into)
	return err == nil || errors.Is(err, io.EOF)
}
