package providertest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// control serves what is below /_fake/. See [Cloud.ServeHTTP].
func (c *Cloud) control(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		http.Error(w, "the control endpoint answers callers on this machine only", http.StatusForbidden)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, controlPrefix)
	switch call := r.Method + " " + path; {
	case path == "followed":
		c.mu.Lock()
		c.counts.RedirectsFollowed++
		c.mu.Unlock()
		tell(w, http.StatusOK, object{})
	case call == "GET ":
		c.page(w)
	case call == "GET keys":
		c.listKeys(w, r)
	case call == "POST keys":
		c.makeKey(w, r)
	case r.Method == http.MethodDelete && strings.HasPrefix(path, "keys/"):
		c.endKey(w, r, strings.TrimPrefix(path, "keys/"))
	case call == "GET calls":
		tell(w, http.StatusOK, object{"calls": c.Calls(), "counts": c.Counts()})
	case call == "GET faults":
		tell(w, http.StatusOK, object{"faults": c.Faults()})
	case call == "POST faults":
		c.addFault(w, r)
	case call == "DELETE faults":
		c.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	case call == "POST settings":
		c.settings(w, r)
	case call == "POST reset":
		c.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// tell writes an answer of the control endpoint.
func tell(w http.ResponseWriter, status int, v any) { jsonReply(status, v).send(w) }

// ask reads a request of the control endpoint, strictly, and answers if it cannot.
func ask(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		http.Error(w, "the body must be one JSON object of the known fields: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// span is a duration written as in "250ms"; empty: none.
func span(w http.ResponseWriter, name, text string) (time.Duration, bool) {
	d, err := time.ParseDuration(cmp.Or(text, "0s"))
	if err != nil || d < 0 {
		http.Error(w, name+` must be a duration such as "250ms"`, http.StatusBadRequest)
		return 0, false
	}
	return d, true
}

func (c *Cloud) listKeys(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	keys := slices.DeleteFunc(c.Keys(), func(k Key) bool { return q.Get("live") == "true" && !k.Live })
	for i := range keys {
		if q.Get("secrets") != "true" {
			keys[i].Secret = ""
		}
	}
	tell(w, http.StatusOK, object{"keys": keys, "owners": c.Owners(), "counts": c.Counts()})
}

func (c *Cloud) makeKey(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Provider  string `json:"provider"`
		Name      string `json:"name"`
		Project   string `json:"project_id"`
		Workspace string `json:"workspace_id"`
		Seconds   int64  `json:"expires_in_seconds"`
	}
	if !ask(w, r, &in) {
		return
	}
	switch {
	case in.Name == "" || in.Seconds < 0:
		http.Error(w, "name must be given, and expires_in_seconds not be negative", http.StatusBadRequest)
	case in.Provider == ProviderAnthropic:
		tell(w, http.StatusCreated, c.Anthropic.AddKey(in.Name, in.Workspace, time.Duration(in.Seconds)*time.Second))
	case in.Provider == ProviderOpenAI && in.Seconds == 0:
		tell(w, http.StatusCreated, c.OpenAI.AddUserKey(cmp.Or(in.Project, MainProject), in.Name))
	default:
		http.Error(w, "a person can make keys at anthropic, and at openai without expires_in_seconds", http.StatusBadRequest)
	}
}

func (c *Cloud) endKey(w http.ResponseWriter, r *http.Request, id string) {
	provider := r.URL.Query().Get("provider")
	for _, p := range []string{ProviderOpenAI, ProviderAnthropic, ProviderAzure} {
		if (provider == "" || provider == p) && c.Kill(p, id) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	http.Error(w, "there is no live key of that id", http.StatusNotFound)
}

func (c *Cloud) addFault(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Fault
		Latency string `json:"latency"`
	}
	if !ask(w, r, &in) {
		return
	}
	d, ok := span(w, "latency", in.Latency)
	if !ok {
		return
	}
	if !slices.Contains(kinds, in.Kind) || in.Skip < 0 || in.Times < 0 || in.Status != 0 && (in.Status < 200 || in.Status > 599) {
		http.Error(w, fmt.Sprintf("kind must be one of %v; skip and times 0 or more; status from 200 to 599", kinds), http.StatusBadRequest)
		return
	}
	in.Fault.Latency = d
	c.Fault(in.Fault)
	w.WriteHeader(http.StatusNoContent)
}

func (c *Cloud) settings(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Latency     *string `json:"latency"`
		Propagation *string `json:"propagation"`
		AzureAsync  *string `json:"azure_async"`
	}
	if !ask(w, r, &in) {
		return
	}
	var set []func()
	for _, s := range []struct {
		name string
		text *string
		set  func(time.Duration)
	}{
		{"latency", in.Latency, c.SetLatency},
		{"propagation", in.Propagation, c.SetPropagation},
		{"azure_async", in.AzureAsync, func(d time.Duration) { c.Azure.SetAsync(d, false) }},
	} {
		if s.text == nil {
			continue
		}
		d, ok := span(w, s.name, *s.text)
		if !ok {
			return
		}
		set = append(set, func() { s.set(d) })
	}
	for _, f := range set {
		f()
	}
	w.WriteHeader(http.StatusNoContent)
}

// page shows the live keys to people. It refreshes itself, so that a demo can
// leave it open beside a terminal.
func (c *Cloud) page(w http.ResponseWriter) {
	keys := slices.DeleteFunc(c.Keys(), func(k Key) bool { return !k.Live })
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	err := livePage.Execute(w, object{"Keys": keys, "Counts": c.Counts(), "Now": time.Now().UTC()})
	if err != nil {
		return // the reader has gone
	}
}

var livePage = template.Must(template.New("live").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>Live keys at the fake providers</title>
<style>body{font:16px system-ui;margin:2rem}table{border-collapse:collapse}th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #ccc}code{font-size:90%}</style></head>
<body><h1>Live keys at the fake providers</h1>
<p>{{len .Keys}} live, {{.Counts.Calls}} calls, {{.Counts.DeadUses}} with a key after its end. {{.Now.Format "15:04:05"}} UTC</p>
<table><tr><th>Provider</th><th>Id</th><th>Name</th><th>Owner</th><th>Where</th><th>Hint</th><th>Made</th><th>Ends</th><th>Uses</th></tr>
{{range .Keys}}<tr><td>{{.Provider}}{{if .Admin}} (admin){{end}}</td><td><code>{{.ID}}</code></td><td>{{.Name}}</td><td>{{.Owner}}</td><td>{{.Scope}}</td><td><code>{{.Hint}}</code></td><td>{{.Created.UTC.Format "15:04:05"}}</td><td>{{if .Expires.IsZero}}never{{else}}{{.Expires.UTC.Format "2006-01-02 15:04:05"}}{{end}}</td><td>{{.Uses}}</td></tr>
{{end}}</table></body></html>
`))
