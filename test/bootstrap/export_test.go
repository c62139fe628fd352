package bootstrap_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exported is what export --json prints.
type exported struct {
	Command string   `json:"command"`
	File    string   `json:"file"`
	Out     string   `json:"out"`
	Notes   []string `json:"notes"`
}

// export exports to a file, and checks that it can be planned with and that
// nothing would be changed.
func (h *harness) export(file string) exported {
	h.t.Helper()
	var out exported
	r := h.run("export", "--json", "-o", file, "--force").exits(0)
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		h.t.Fatal(err)
	}
	if text := h.read(file); text != out.File {
		h.t.Errorf("the file is not what --json says:\n%s", text)
	}
	h.t.Logf("%s\n%s", out.File, strings.Join(out.Notes, "\n"))
	h.run("validate", "-f", file).exits(0).silent("warning", "is called")
	h.plan(file)
	return out
}

// What the production example sets up comes back as a file that says the same.
func TestExportOfEverything(t *testing.T) {
	t.Parallel()
	p := inProduction(t)
	p.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	p.export("exported.hcl")
}

func TestExportOfAnEmptyServer(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.export("exported.hcl")
	if info, err := os.Stat(filepath.Join(h.dir, "exported.hcl")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the file: %v, %v", info.Mode(), err)
	}
}
