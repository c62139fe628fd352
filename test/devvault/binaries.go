package devvault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// pluginName is the binary's name, and the only file in a server's plugin directory.
const pluginName = "vault-plugin-secrets-ai-keys"

// bootstrapName is the binary of the program that sets a server up.
const bootstrapName = "ai-keys-bootstrap"

// Binaries are the programs that a server is made of, and the one that sets it up.
type Binaries struct{ Vault, Plugin, Bootstrap string }

// ErrMissing says that a program was not built yet.
var ErrMissing = errors.New("not built yet")

// Find looks for the programs in bin/ of the source tree around the working
// directory. What is not there is an [ErrMissing] that says how to build it.
func Find() (Binaries, error) {
	root, err := SourceTree()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{
		Vault:     filepath.Join(root, "bin", "vault"),
		Plugin:    filepath.Join(root, "bin", pluginName),
		Bootstrap: filepath.Join(root, "bin", bootstrapName),
	}
	for path, target := range map[string]string{b.Vault: "vault", b.Plugin: "build", b.Bootstrap: "build"} {
		if _, err := os.Stat(path); err != nil {
			return Binaries{}, fmt.Errorf("%s is %w: make %s", filepath.Join("bin", filepath.Base(path)), ErrMissing, target)
		}
	}
	return b, nil
}

// SourceTree walks up from the working directory to where the plugin's source is.
func SourceTree() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the source tree: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "cmd", pluginName)); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside the source tree", start)
		}
	}
}
