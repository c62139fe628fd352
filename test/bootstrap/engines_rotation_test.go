package bootstrap_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// rotating is a file with a root rotation, that has been applied.
func (h *harness) rotating(d dialect, db *servers.Database) {
	h.t.Helper()
	h.write("a.hcl", d.connection(db, "rotate_root = true", d.roles()))
	h.least("a.hcl").run("apply", "-f", "a.hcl", "--auto-approve").exits(0).says("db connection app root rotation")
}

// rotated checks that the password of the file is dead, that Vault knows the
// one that is not, and that a plan is empty.
func (h *harness) rotated(db *servers.Database, password string) {
	h.t.Helper()
	if err := db.Login(h.t.Context(), "vault", password); !errors.Is(err, servers.ErrRefused) {
		h.t.Errorf("a login with the password before the rotation: %v, want refused", err)
	}
	h.issues(db)
	h.run("plan", "-f", "a.hcl").exits(0).says("Nothing to do")
}

func TestRootRotation(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, h *harness, d dialect, db *servers.Database) {
		db.Exec(t, d.robot)
		h.rotating(d, db)
		h.rotated(db, db.Password)

		// Another password in the source, or none, changes nothing.
		h.secret("DB_PASSWORD")
		h.plan("a.hcl")
		h.run("plan", "-f", "a.hcl").exits(0).says("its source has changed since it was rotated")
		delete(h.env, "DB_PASSWORD")
		h.plan("a.hcl")

		// Other settings change without it.
		h.vault("db/config/app", map[string]any{"plugin_name": db.Plugin, "allowed_roles": "*"})
		h.plan("a.hcl", updates("db connection app", "allowed_roles"))
		h.apply("a.hcl")
		h.issues(db)

		// The record is lost: the old password is not sent all the same.
		h.secret("DB_PASSWORD", db.Password)
		h.forget("db%20connection%20app")
		r := h.plan("a.hcl", want{"rotate", "db connection app root rotation", nil})
		if got := r.find(t, "db connection app"); got.Action != "none" || len(got.Notes) == 0 {
			t.Errorf("the connection's plan is %+v", got)
		}
		h.run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
		h.rotated(db, db.Password)

		// The operator sets another password, and it is rotated again.
		fresh := h.secret("DB_PASSWORD")
		db.Exec(t, fmt.Sprintf(d.reset, fresh))
		h.plan("a.hcl")
		h.run("apply", "-f", "a.hcl", "--auto-approve", "--resend-secret", "db").exits(0).says("db connection app root rotation")
		h.rotated(db, fresh)

		// Made anew: what is recorded of the old one does not count.
		if _, err := h.api.Logical().DeleteWithContext(t.Context(), "db/config/app"); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, fmt.Sprintf(d.reset, fresh))
		h.plan("a.hcl", creates("db connection app"), want{"rotate", "db connection app root rotation", nil})
		h.run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
		h.rotated(db, fresh)
	})
}

// forget loses what is recorded of an object.
func (h *harness) forget(name string) {
	h.t.Helper()
	path := "ai-keys-bootstrap/record/metadata/objects/" + name
	if h.has(path) == nil {
		h.t.Fatalf("nothing is recorded at %s", path)
	}
	if _, err := h.api.Logical().DeleteWithContext(h.t.Context(), path); err != nil {
		h.t.Fatal(err)
	}
}

// With a password that is wrong and not verified, the rotation fails and says
// the way out.
func TestRootRotationFails(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, h *harness, d dialect, db *servers.Database) {
		h.secret("DB_PASSWORD")
		h.write("a.hcl", d.connection(db, "rotate_root = true\nverify_connection = false", ""))
		h.run("apply", "-f", "a.hcl", "--auto-approve").exits(3).says("--resend-secret db")
		h.secret("DB_PASSWORD", db.Password)
		h.run("apply", "-f", "a.hcl", "--auto-approve").exits(3).says("--resend-secret db")
		h.run("apply", "-f", "a.hcl", "--auto-approve", "--resend-secret", "db").exits(0)
		h.plan("a.hcl")
		if err := db.Login(t.Context(), "vault", db.Password); !errors.Is(err, servers.ErrRefused) {
			t.Errorf("a login with the password before the rotation: %v, want refused", err)
		}
	})
}

// deaths runs an apply from the same beginning again and again, and kills it at
// its first write, at its second, and so on, each before and after the server
// had it; the next apply has to finish every time.
func (h *harness) deaths(least int, begin func(name string) (file string), check func()) {
	h.t.Helper()
	deaths := 0
	for _, forwarded := range []bool{false, true} {
		for n := 1; ; n++ {
			file := begin(fmt.Sprintf("%d-%t", n, forwarded))
			died := h.diesAt(n, forwarded, "apply", "-f", file, "--auto-approve")
			h.apply(file)
			check()
			if h.t.Failed() {
				h.t.Fatalf("after the death at write %d (the server had it: %t)", n, forwarded)
			}
			if !died {
				break
			}
			deaths++
		}
	}
	if deaths < least {
		h.t.Errorf("the program died %d times only", deaths)
	}
}

// unmount takes a mount away, whatever is recorded of it.
func (h *harness) unmount(path string) {
	h.t.Helper()
	if err := h.api.Sys().UnmountWithContext(h.t.Context(), path); err != nil {
		h.t.Fatal(err)
	}
}

// Wherever an apply is killed, the next one finishes: the file's password is not
// sent when it is dead, and Vault never left without the one that is not.
func TestDatabaseRotationAfterEveryDeath(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, h *harness, d dialect, db *servers.Database) {
		db.Exec(t, d.robot)
		h.rotating(d, db) // makes the record mount too
		h.deaths(20, func(string) string {
			h.unmount("db")
			db.Exec(t, fmt.Sprintf(d.reset, db.Password))
			return "a.hcl"
		}, func() { h.rotated(db, db.Password) })
	})
}

func TestAWSRotationAfterEveryDeath(t *testing.T) {
	t.Parallel()
	h := start(t)
	cloud, _ := h.cloud()
	h.write("a.hcl", awsFile(cloud, "rotate_root = true", ""))
	h.apply("a.hcl") // makes the record mount too
	var (
		user string
		root servers.AccessKey
	)
	h.deaths(12, func(name string) string {
		user = "vault-" + name
		root = cloud.User(t, user, "iam:*", "sts:*")
		h.env["AWS_KEY_ID"] = root.ID
		h.secret("AWS_KEY", root.Secret)
		h.unmount("aws")
		return "a.hcl"
	}, func() {
		if _, err := cloud.Caller(t.Context(), root); !errors.Is(err, servers.ErrRefused) {
			t.Errorf("the key before the rotation: %v, want refused", err)
		}
		if keys := cloud.AccessKeys(t, user); len(keys) != 1 || keys[0] != h.has("aws/config/root")["access_key"] {
			t.Errorf("the user has the keys %v", keys)
		}
	})
}

// An operator who sends a password again, and is interrupted at any point, gets
// there by doing it again; if the password was rotated by then, and is refused,
// the next apply without the flag finds what Vault has in order.
func TestResendAfterEveryDeath(t *testing.T) {
	t.Parallel()
	d := dialects[0]
	db := d.start(t)
	h := start(t)
	db.Exec(t, d.robot)
	h.secret("DB_PASSWORD", db.Password)
	h.rotating(d, db)
	resend := []string{"apply", "-f", "a.hcl", "--auto-approve", "--resend-secret", "db"}
	for _, forwarded := range []bool{false, true} {
		for n := 1; ; n++ {
			fresh := h.secret("DB_PASSWORD")
			db.Exec(t, fmt.Sprintf(d.reset, fresh))
			died := h.diesAt(n, forwarded, resend...)
			if died && h.run(resend...).code != 0 {
				h.run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
			}
			h.rotated(db, fresh)
			if t.Failed() {
				t.Fatalf("after the death at write %d (the server had it: %t)", n, forwarded)
			}
			if !died {
				break
			}
		}
	}
}
