// Command fake-providers serves fake OpenAI, Anthropic and Azure OpenAI on
// this machine, so that the engine can be tried without an account at a
// vendor. It runs until it is interrupted, and then forgets everything.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "fake-providers:", err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c fakes.Config
	flags := flag.NewFlagSet("fake-providers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.Listen, "listen", "127.0.0.1:0", "loopback `address` of OpenAI, Anthropic and the control endpoint; port 0: any")
	flags.StringVar(&c.ListenTLS, "listen-tls", "127.0.0.1:0", "loopback `address` of Azure")
	flags.StringVar(&c.CAFile, "ca-file", "", "`file` to write the certificate authority of the TLS port to (default: a temporary one)")
	flags.StringVar(&c.Cloud.Marker, "marker", "", "`text` inside every secret, to search for leaks")
	flags.StringVar(&c.Cloud.OpenAI.AdminKey, "openai-admin-key", "", "the admin `key` at OpenAI")
	flags.StringVar(&c.Cloud.Anthropic.AdminKey, "anthropic-admin-key", "", "the admin `key` at Anthropic")
	flags.StringVar(&c.Cloud.Azure.ClientSecret, "azure-client-secret", "", "the client `secret` at Azure")
	flags.DurationVar(&c.Latency, "latency", 0, "make every call take that much longer")
	asJSON := flags.Bool("json", false, "say where the fakes are in one line of JSON")
	verbose := flags.Bool("v", false, "log each call, without secrets, to standard error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("there are no arguments, only flags: %q", flags.Arg(0))
	}
	if *verbose {
		c.Log = stderr
	}
	s, err := fakes.Start(ctx, c)
	if err != nil {
		return err
	}
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(s.Addresses)
	} else {
		err = describe(stdout, s.Addresses)
	}
	if err == nil {
		err = s.Wait(ctx)
	}
	return errors.Join(err, s.Close())
}

// describe tells people what to give the engine.
func describe(w io.Writer, a fakes.Addresses) error {
	_, err := fmt.Fprintf(w, `The fake providers are up. Live keys: %s

  vault write ai-keys/accounts/openai provider=openai \
    base_url=%s admin_key=%s
  vault write ai-keys/roles/app account=openai type=dynamic ttl=5m project_id=%s

  vault write ai-keys/accounts/anthropic provider=anthropic \
    base_url=%s admin_key=%s
  A person makes a key for ai-keys/import/<role>:
    curl -d '{"provider":"anthropic","name":"by hand"}' %skeys

  vault write ai-keys/accounts/azure provider=azure-openai \
    base_url=%s authority_host=%s ca_cert=@%s \
    tenant_id=%s client_id=%s \
    client_secret=%s subscription_id=%s
  vault write ai-keys/roles/chat account=azure type=static rotation_period=24h \
    resource_group=%s resource_name=%s

Interrupt ends them, and every key with them.
`, a.Control,
		a.OpenAI.BaseURL, a.OpenAI.AdminKey, a.OpenAI.ProjectID,
		a.Anthropic.BaseURL, a.Anthropic.AdminKey, a.Control,
		a.Azure.BaseURL, a.Azure.AuthorityHost, a.Azure.CAFile, a.Azure.TenantID, a.Azure.ClientID,
		a.Azure.ClientSecret, a.Azure.SubscriptionID, a.Azure.ResourceGroup, a.Azure.ResourceName)
	return err
}
