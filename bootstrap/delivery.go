package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A delivery is a file that a wrapping token is put into, at once and as a
// whole: whoever watches the file never sees half of it.
type delivery struct {
	to   string
	file *os.File // beside to, until it is put in its place
}

// mostInFile is more than any wrapping token is long.
const mostInFile = 4 << 10

// checkDelivery says why a file cannot be made at a path, and returns what is
// there now. What does not look like a token that was left there is not
// overwritten: the path may be a mistake.
func checkDelivery(to string) (string, error) {
	folder := filepath.Dir(to)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return "", fmt.Errorf("the folder %s is not there: make it, or write another path in to", folder)
	}
	info, err := os.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking at the file of to: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no plain file, and would be replaced: remove it, or write another path in to", to)
	}
	f, err := os.Open(to) //nolint:gosec // the operator's own file names it
	if err != nil {
		return "", fmt.Errorf("looking into the file of to: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, mostInFile))
	if err != nil {
		return "", fmt.Errorf("looking into the file of to: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token != "" && !looksWrapped(token) {
		return "", fmt.Errorf("%s is there, and holds no wrapping token: move it away, or write another path in to", to)
	}
	return token, nil
}

// looksWrapped tells whether a text may be a wrapping token.
func looksWrapped(text string) bool {
	service := strings.HasPrefix(text, "hvs.") || strings.HasPrefix(text, "s.")
	return service && len(text) < mostInFile/2 && !strings.ContainsAny(text, " \t\r\n")
}

// openDelivery begins a delivery: whatever may stand in its way does so now.
func openDelivery(to string) (*delivery, error) {
	if _, err := checkDelivery(to); err != nil {
		return nil, err
	}
	temp := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".ai-keys-bootstrap")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing what an earlier run left: %w", err)
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // as above
	if err != nil {
		return nil, fmt.Errorf("making the file of to: %w", err)
	}
	return &delivery{to: to, file: f}, nil
}

// put delivers. When it returns, the file is there also after a power cut.
func (d *delivery) put(text string) error {
	_, err := d.file.WriteString(text + "\n")
	if err == nil {
		err = d.file.Sync()
	}
	if err == nil {
		err = os.Rename(d.file.Name(), d.to)
	}
	if err != nil {
		return fmt.Errorf("writing the file of to: %w", err)
	}
	folder, err := os.Open(filepath.Dir(d.to))
	if err != nil {
		return fmt.Errorf("writing the file of to: %w", err)
	}
	defer folder.Close() //nolint:errcheck // it was only read
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("writing the file of to: %w", err)
	}
	return nil
}

// end leaves nothing beside the file that was delivered.
func (d *delivery) end() {
	_ = d.file.Close()           // what counts was synced
	_ = os.Remove(d.file.Name()) // it is gone if it was delivered
}
