package bootstrap

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOptionsOfAnAuditDevice(t *testing.T) {
	t.Parallel()
	block := auditKind.Block.Variant("file")
	for _, row := range []struct {
		field string
		same  []any
	}{
		{"hmac_accessor", []any{nil, true, "true", "1", "T"}},
		{"hmac_accessor", []any{false, "false", "0"}},
		{"log_raw", []any{nil, false, "false", "0"}},
		{"log_raw", []any{true, "1"}},
		{"mode", []any{nil, "0600", "600"}},
		{"mode", []any{"0640", "640"}},
		{"mode", []any{"0000", "0"}},
		{"format", []any{nil, "json"}},
	} {
		f, _ := block.Field(row.field)
		want, err := f.Canonical(row.same[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range row.same[1:] {
			got, err := f.Canonical(v)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %v is not %v: %v %s", row.field, v, row.same[0], err, diff)
			}
		}
	}
	// What is off and what nobody said are not the same where on is the default.
	f, _ := block.Field("hmac_accessor")
	if off, err := f.Canonical(false); err != nil || off == nil {
		t.Errorf("hmac_accessor = false is %v (%v)", off, err)
	}
	address, _ := auditKind.Block.Variant("socket").Field("address")
	for given, want := range map[string]any{"[2001:0DB8::0001]:514": "[2001:db8::1]:514", "127.0.0.1:9090": "127.0.0.1:9090", "/run/log": "/run/log", "logs:514": "logs:514"} {
		if got, err := address.Canonical(given); err != nil || got != want {
			t.Errorf("%s is %v (%v)", given, got, err)
		}
	}
}

func TestVersionsOfAPlugin(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"1.2.3": "v1.2.3", "v1.2.3": "v1.2.3", " v1.2.3-rc.1+x ": "v1.2.3-rc.1+x"} {
		if got := pluginVersion(given); got != want || checkVersion(got) != nil {
			t.Errorf("%q is %q (%v)", given, got, checkVersion(got))
		}
	}
	for _, wrong := range []string{"v1", "v1.2", "v1.2.x", "v1.2.3+builtin.vault", "vlatest"} {
		if checkVersion(wrong) == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func TestWhichEntryOfTheCatalogIsMeant(t *testing.T) {
	t.Parallel()
	entries := map[string]string{"": "aa", "v1.0.0": "bb", "v1.1.0": "cc"}
	for _, row := range []struct {
		version, sum string
		entries      map[string]string
		want         string
		there        bool
	}{
		{"1.0.0", "zz", entries, "v1.0.0", true},
		{"v2.0.0", "bb", entries, "v2.0.0", false},
		{"", "BB", entries, "v1.0.0", true},
		{"", "aa", entries, "", true},
		{"", "zz", entries, "v1.1.0", true},
		{"", "zz", nil, "", false},
	} {
		o := &Object{Kind: pluginKind, Labels: []string{"secret", "x"}}
		o.Set("sha256", row.sum)
		if row.version != "" {
			o.Set("version", row.version)
		}
		if got, there := o.meant(row.entries); got != row.want || there != row.there {
			t.Errorf("%s %s: %q, %v", row.version, row.sum, got, there)
		}
	}
}

func TestWhatAMountRuns(t *testing.T) {
	t.Parallel()
	plugin := func(values map[string]any) *Object {
		o := &Object{Kind: pluginKind, Labels: []string{"secret", "x"}}
		for name, v := range values {
			o.Set(name, v)
		}
		return o
	}
	mount := func(asks, runs, sum string) map[string]any {
		return map[string]any{"plugin_version": asks, "running_plugin_version": runs, "running_sha256": sum}
	}
	sum, version := map[string]any{"sha256": "AA"}, map[string]any{"sha256": "aa", "version": "1.0.0"}
	pinned := map[string]any{"sha256": "aa", "pin": true}
	for _, row := range []struct {
		plugin map[string]any
		mount  map[string]any
		want   string
	}{
		{sum, mount("v1.0.0", "v1.0.0", "aa"), ""},
		{version, mount("v1.0.0", "v1.0.0", "aa"), ""},
		{sum, mount("v1.0.0", "v1.0.0", "bb"), "it runs another program"},
		{version, mount("v1.0.0", "v0.9.0", "aa"), "it runs another version"},
		{sum, mount("v0.9.0", "v1.0.0", "aa"), "it would run another version when it is started again"},
		{pinned, mount("v0.9.0", "v1.0.0", "aa"), ""},
	} {
		if got := outdated(plugin(row.plugin), row.mount, "v1.0.0", true); got != row.want {
			t.Errorf("%v for %v: %q", row.mount, row.plugin, got)
		}
	}
}
