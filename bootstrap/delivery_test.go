package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written is a file with that text in a folder of its own.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	to := written(t, "ci.wrap", "hvs.old\n")
	if err := os.Chmod(to, 0o644); err != nil {
		t.Fatal(err)
	}
	leftover := filepath.Join(filepath.Dir(to), ".ci.wrap.ai-keys-bootstrap")
	if err := os.Symlink("/etc/passwd", leftover); err != nil {
		t.Fatal(err)
	}
	d, err := openDelivery(to)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, to); got != "hvs.old\n" {
		t.Errorf("before its time the file holds %q", got)
	}
	if err := d.put("hvs.new"); err != nil {
		t.Fatal(err)
	}
	d.end()
	if got := content(t, to); got != "hvs.new\n" {
		t.Errorf("the file holds %q", got)
	}
	info, err := os.Stat(to)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}
	onlyFile(t, to)
}

// onlyFile wants nothing else in a file's folder.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s is there too", e.Name())
		}
	}
}

func TestDeliveryThatIsGivenUp(t *testing.T) {
	t.Parallel()
	to := written(t, "ci.wrap", "")
	d, err := openDelivery(to)
	if err != nil {
		t.Fatal(err)
	}
	d.end()
	onlyFile(t, to)
}

func TestDeliveryIsRefused(t *testing.T) {
	t.Parallel()
	key := written(t, "id_rsa", "-----BEGIN KEY-----\nhvs.x\n")
	link := filepath.Join(filepath.Dir(key), "link")
	if err := os.Symlink(key, link); err != nil {
		t.Fatal(err)
	}
	long := written(t, "long", "hvs."+strings.Repeat("x", mostInFile))
	for _, tc := range []struct{ to, want string }{
		{filepath.Dir(key), "is no plain file"},
		{link, "is no plain file"},
		{key, "holds no wrapping token"},
		{long, "holds no wrapping token"},
		{filepath.Join(filepath.Dir(key), "none", "x"), "is not there: make it"},
		{filepath.Join(key, "x"), "is not there: make it"},
	} {
		d, err := openDelivery(tc.to)
		if err == nil {
			d.end()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "BEGIN KEY") {
			t.Errorf("%s: %v, want %q", tc.to, err, tc.want)
		}
	}
	if got := content(t, key); !strings.HasPrefix(got, "-----BEGIN KEY-----") {
		t.Errorf("the key is %q now", got)
	}
}
