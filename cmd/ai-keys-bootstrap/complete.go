package main

import (
	"github.com/spf13/cobra"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

// complete tells the shell what may stand after a flag: for --target the
// objects of the file, for --resend-secret its secrets. No server is asked.
func (p *program) complete(c *cobra.Command) {
	for flag, names := range map[string]func(*bootstrap.Desired) []string{
		"target": func(d *bootstrap.Desired) []string {
			out := make([]string, len(d.Objects))
			for i, o := range d.Objects {
				out[i] = o.Name()
			}
			return out
		},
		"resend-secret": func(d *bootstrap.Desired) []string {
			out := make([]string, len(d.Secrets))
			for i, s := range d.Secrets {
				out[i] = s.Name
			}
			return out
		},
	} {
		if c.Flags().Lookup(flag) == nil {
			continue
		}
		err := c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			files, err := p.files()
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			d, _ := bootstrap.Load(files)
			if d == nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return names(d), cobra.ShellCompDirectiveNoFileComp
		})
		if err != nil {
			panic(err) // the flag was looked up a moment ago
		}
	}
}
