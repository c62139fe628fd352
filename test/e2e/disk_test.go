package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// A disk is a small file system of its own, which can be filled, and be made
// read-only.
type disk struct {
	testing.TB

	dir string
}

// newDisk mounts one, in memory. That takes rights: without them the test is
// skipped, or fails where everything must run.
func newDisk(t *testing.T, megabytes int) *disk {
	t.Helper()
	d := &disk{t, t.TempDir()}
	if err := d.mount("-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", megabytes), "tmpfs", d.dir); err != nil {
		why := fmt.Sprintf("a file system of one's own cannot be mounted here, which needs root, or sudo without a password: %v", err)
		if os.Getenv("AI_KEYS_REQUIRE_ALL") == "1" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	t.Cleanup(func() {
		if err := d.run("umount", d.dir); err != nil {
			t.Error(err)
		}
	})
	if err := d.run("chown", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()), d.dir); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *disk) mount(args ...string) error {
	if runtime.GOOS != "linux" {
		return errors.ErrUnsupported
	}
	return d.run("mount", args...)
}

func (d *disk) run(program string, args ...string) error {
	if os.Getuid() != 0 {
		program, args = "sudo", append([]string{"-n", program}, args...)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", program, args, err, out)
	}
	return nil
}

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill leaves no room.
func (d *disk) fill() {
	d.Helper()
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close() // it is meant to fail
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
}

// clear makes room again.
func (d *disk) clear() {
	d.Helper()
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Fatal(err)
	}
}

// readOnly refuses every write; writable takes them again. Nothing may be open for
// writing there.
func (d *disk) readOnly() { d.Helper(); d.remount("ro") }
func (d *disk) writable() { d.Helper(); d.remount("rw") }

func (d *disk) remount(how string) {
	d.Helper()
	if err := d.mount("-o", "remount,"+how, d.dir); err != nil {
		d.Fatal(err)
	}
}
