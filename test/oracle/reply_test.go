package oracle

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// checkReply reports what is wrong with a reply that an SDK of OpenAI's or
// Anthropic's has read: a required field that is missing, a value of the wrong
// type, a constant with another value, a field that the type does not have.
// tolerated are such fields that the vendor's reference has all the same.
func checkReply(t *testing.T, what string, reply any, tolerated ...string) {
	t.Helper()
	for _, complaint := range complaints(reflect.ValueOf(reply), what, tolerated) {
		t.Error(complaint)
	}
}

// field is what both SDKs' respjson.Field offers.
type field interface {
	Raw() string
	Valid() bool
}

// complaints walks a type as both SDKs generate them: each struct has a struct
// JSON, with what was read for each field.
func complaints(v reflect.Value, path string, tolerated []string) []string {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return []string{path + ": nothing was read"}
		}
		v = v.Elem()
	}
	var found []string
	switch v.Kind() { //nolint:exhaustive // other kinds hold no fields
	case reflect.Slice:
		for i := range v.Len() {
			found = append(found, complaints(v.Index(i), fmt.Sprintf("%s[%d]", path, i), tolerated)...)
		}
		return found
	case reflect.Struct:
	default:
		return nil
	}
	read := v.FieldByName("JSON")
	if !read.IsValid() {
		return nil
	}
	for i := range v.NumField() {
		def := v.Type().Field(i)
		if def.Anonymous && def.Type.Kind() == reflect.Struct {
			found = append(found, complaints(v.Field(i), path, slices.Concat(tolerated, names(v.Type())))...)
			tolerated = slices.Concat(tolerated, names(def.Type))
		}
		meta := read.FieldByName(def.Name)
		name, _, _ := strings.Cut(def.Tag.Get("json"), ",")
		if !meta.IsValid() || !def.IsExported() || name == "" || name == "-" {
			continue
		}
		found = append(found, complain(v.Field(i), def, meta.Interface().(field), path+"."+name, tolerated)...)
	}
	if extra := read.FieldByName("ExtraFields"); extra.IsValid() {
		for _, name := range extra.MapKeys() {
			if !slices.Contains(tolerated, name.String()) {
				found = append(found, path+"."+name.String()+": the SDK does not know this field")
			}
		}
	}
	return found
}

func complain(v reflect.Value, def reflect.StructField, read field, path string, tolerated []string) []string {
	constant := def.Tag.Get("default")
	switch raw := read.Raw(); {
	case raw == "" && (constant != "" || def.Tag.Get("api") == "required"):
		return []string{path + ": required, but missing"}
	case raw == "" || raw == "null":
		return nil
	case !read.Valid():
		return []string{path + ": of the wrong type: " + raw}
	case constant != "" && fmt.Sprint(v.Interface()) != constant:
		return []string{fmt.Sprintf("%s: %v, want %s", path, v.Interface(), constant)}
	}
	return complaints(v, path, tolerated)
}

// names are the JSON names of a type's own fields.
func names(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

// checkLossless reports what is lost when a reply is read into a type of
// Azure's SDK and written again: those types drop what they do not know.
func checkLossless(t *testing.T, what string, raw []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	again, err := json.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	var sent, kept any
	if err := json.Unmarshal(raw, &sent); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &kept); err != nil {
		t.Fatal(err)
	}
	for _, lost := range lost(sent, kept, what) {
		t.Error(lost)
	}
}

// lost lists what is in a and not in b.
func lost(a, b any, path string) []string {
	var out []string
	switch a := a.(type) {
	case map[string]any:
		other, ok := b.(map[string]any)
		if !ok && len(a) > 0 {
			return []string{path + ": not an object to the SDK"}
		}
		for name, v := range a {
			w, ok := other[name]
			if !ok {
				out = append(out, path+"."+name+": the SDK does not know this field")
				continue
			}
			out = append(out, lost(v, w, path+"."+name)...)
		}
	case []any:
		other, ok := b.([]any)
		if !ok || len(other) != len(a) {
			return []string{path + ": not the same list to the SDK"}
		}
		for i := range a {
			out = append(out, lost(a[i], other[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
	case string: // times may be written in another way
		if _, ok := b.(string); !ok {
			return []string{path + ": not a string to the SDK"}
		}
	default:
		if !reflect.DeepEqual(a, b) {
			return []string{fmt.Sprintf("%s: %v became %v", path, a, b)}
		}
	}
	return out
}

// TestComplaints shows that the checks above see what they are for.
func TestComplaints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, want string }{
		{"missing", `{"id":"sa","object":"organization.project.service_account","name":"n","created_at":1}`, "x.role: required, but missing"},
		{"unknown", `{"id":"sa","object":"organization.project.service_account","name":"n","created_at":1,"role":"none","new":1}`, "x.new: the SDK does not know this field"},
		{"type", `{"id":"sa","object":"organization.project.service_account","name":["n"],"created_at":1,"role":"none"}`, `x.name: of the wrong type: ["n"]`},
		{"constant", `{"id":"sa","object":"account","name":"n","created_at":1,"role":"none"}`, "x.object: account, want organization.project.service_account"},
	} {
		var into openaiServiceAccount
		if err := json.Unmarshal([]byte(tt.body), &into); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := complaints(reflect.ValueOf(into), "x", nil); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := lost(map[string]any{"a": 1.0, "b": []any{true}}, map[string]any{"b": []any{false}}, "x"); len(got) != 2 {
		t.Errorf("lost: %q, want two", got)
	}
}
