package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

const about = `Set up the Vault around the ai-keys engine from one file: plugin, policies, mounts
and what is in them, logins, MFA, audit, quotas.

The file is HCL, YAML or JSON; "{me} help file" says what may stand in it.
What Vault has is compared with it, field by field; what differs is shown (plan),
changed (apply) or reported (verify). Nothing secret stands in the file, in what is
printed, or in a saved plan.

The server and the token are those of the vault command: VAULT_ADDR, VAULT_TOKEN or
the token helper, VAULT_CACERT, VAULT_NAMESPACE and the rest.

Exit codes:
  0  nothing to do, or done
  1  error
  2  plan, verify or destroy --dry-run: there is something
  3  apply or destroy stopped part-way; running it again goes on
  4  a proof by use failed`

const legend = `Signs: + create, ~ change, - delete, ↻ rotate, ! cannot be changed in place,
? a secret that could not be compared, · nothing to do, but something to know.`

const aboutJSON = `With --json there is one document on standard output, whatever happens, and
progress on standard error. An error is {"error": {"kind", "message"}}, where kind is
usage, file, server, token, denied (with "missing_policy"), changed, interrupted,
stopped or other. Mistakes and warnings of the file are "diagnostics".`

// A task is a command.
type task struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	flags                     []func(*program, *pflag.FlagSet)
	run                       func(*program, context.Context, []string) error
}

// tasks are the commands, in the order in which they are used.
var tasks = []task{
	{
		use: "validate", short: "Check the file; no server is asked",
		long: `Check the file: syntax, blocks, fields, references, secrets in the wrong place. No
server is asked and no secret is read. Every mistake is reported, with its line and
the way out.

Exit codes: 0 no mistakes, 1 mistakes.

With --json: {"command", "valid", "objects", "diagnostics"}.`,
		example: "  {me} validate -f vault.hcl\n  {me} validate -f setup/ --json",
		run:     (*program).validate, flags: []func(*program, *pflag.FlagSet){fileFlags},
	},
	{
		use: "plan", short: "Show what apply would do",
		long: `Compare the file with the server and show every difference, with the line of the
file it comes from. Nothing is written to the server. Secrets that are not to be had
here are not compared, and marked with a question mark; prompt: secrets never are.

` + legend + `

With --out the plan is saved: {me} apply FILE then does this and nothing else, and
refuses if the server has changed in between. It holds no secret.

Exit codes: 0 nothing to do, 1 error, 2 there are differences.

With --json: {"command", "server", "changes": [{"object", "kind", "action", "at",
"fields": [{"field", "old", "new", "why", "diff", "immutable"}], "notes",
"unchecked", "withheld"}], "unmanaged": [{"object", "kind"}], "unread": [{"secret",
"why"}], "summary"}. An action is create, update, delete, rotate, blocked or none;
durations are in seconds; null is Vault's empty value: "", 0, false, none.`,
		example: "  {me} plan\n  {me} plan -f vault.hcl --out plan.json\n  {me} plan --target auth/okta --target 'policy reader'",
		run:     (*program).plan, flags: []func(*program, *pflag.FlagSet){fileFlags, serverFlags, scopeFlags, outFlag},
	},
	{
		use: "apply [PLAN]", short: "Make the server as the file says",
		long: `Show the plan, ask, and make the changes one after the other. Everything that can be
known is checked before the first of them: the secrets, the token's rights, what
cannot be changed in place. Each object is read again after it was written, and in the
end it is proved by use that everything works, as verify does.

It can be interrupted at any time, and killed: the next apply goes on. The first
SIGINT or SIGTERM lets the object finish that is under way, the second ends at once.
Two applies at once do not fight: the second waits.

A saved plan (plan --out) is applied without a question, and refused if the server
has changed since.

Exit codes: 0 done or nothing to do, 1 error and nothing was written, 3 stopped
part-way, 4 applied, and a proof failed.

With --json: {"command", "server", "done": [change], "failed": change, "left":
[change], "next", "summary", "proofs", "error"}, a change as in plan's, a proof as in
verify's. It takes --auto-approve or a saved plan, because nobody is asked.`,
		example: "  {me} apply -f vault.hcl\n  {me} apply --auto-approve --wait 2m\n  {me} apply plan.json",
		args:    cobra.MaximumNArgs(1),
		run:     (*program).apply, flags: []func(*program, *pflag.FlagSet){fileFlags, serverFlags, scopeFlags, approveFlag, noChecksFlag},
	},
	{
		use: "verify", short: "Look for drift, and prove by use that it works",
		long: `Compare the server with the file, as plan does, and prove by use that it works: every
object of which that can be proved without a trace outside Vault (a transit round
trip, an AppRole login), and everything that the file has a check block for. What a
proof makes, it takes away again. For a cron job or a pipeline.

Exit codes: 0 as the file says, 1 error, 2 there are differences, 4 a proof failed.

With --json: as plan's, and "proofs": [{"proof", "at", "outcome", "did", "why",
"seconds"}]; an outcome is ok, failed or skipped.`,
		example: "  {me} verify --json -f vault.hcl",
		run:     (*program).verify, flags: []func(*program, *pflag.FlagSet){fileFlags, serverFlags, targetFlag},
	},
	exportTask,
	{
		use: "policy", short: "Print the least policy that this file needs",
		long: `Print the policy that a token needs to plan, apply, verify and destroy this file, and
nothing more. No server is asked.

With --json: {"command", "policy", "paths": {path: [capability]}}.`,
		example: "  {me} policy -f vault.hcl | vault policy write bootstrap -",
		run:     (*program).policy, flags: []func(*program, *pflag.FlagSet){fileFlags},
	},
	{
		use: "destroy", short: "Take away what the file has made",
		long: `Delete the objects of the file, in the opposite order of an apply, after showing
them and asking for the word "destroy". What is in a mount goes with it, also what is
in no file; each line says what is lost. Keys that the engine has made are withdrawn
at their providers first. In the end what the program has recorded goes too.

What ownership.protect names stays, with all that is in it. A transit key that may not
be deleted stops everything before anything is deleted; so does a token that would
end, or lose its rights, on the way. It can be interrupted and killed as apply can.

Exit codes: 0 done or nothing there, 1 error and nothing was deleted, 2 with
--dry-run: there is something, 3 stopped part-way.

With --json: as apply's, with --dry-run as plan's. It takes --auto-approve or
--dry-run, because nobody is asked.`,
		example: "  {me} destroy --dry-run -f vault.hcl\n  {me} destroy -f vault.hcl",
		run:     (*program).destroy, flags: []func(*program, *pflag.FlagSet){fileFlags, serverFlags, targetFlag, approveFlag, dryRunFlag},
	},
}

func fileFlags(p *program, f *pflag.FlagSet) {
	f.StringArrayVarP(&p.flags.files, "file", "f", nil, "`file` or folder to read; may be given again (default: bootstrap.hcl or .yaml, if it is alone)")
}

func serverFlags(p *program, f *pflag.FlagSet) {
	f.StringVar(&p.flags.namespace, "namespace", "", "Vault `namespace` (default: VAULT_NAMESPACE)")
	f.DurationVar(&p.flags.wait, "wait", 0, "wait until the server answers and is unsealed, but no longer than this `duration`, as in 5m")
	f.BoolVar(&p.flags.verbose, "verbose", false, "list everything that is in no file, not only the first 20")
}

func targetFlag(p *program, f *pflag.FlagSet) {
	f.StringArrayVar(&p.flags.targets, "target", nil, "only this `object`, and what is in it, by the name that a plan shows; may be given again")
}

func scopeFlags(p *program, f *pflag.FlagSet) {
	targetFlag(p, f)
	f.BoolVar(&p.flags.prune, "prune", false, "delete what is in no file, of the kinds that ownership.prune names")
	f.StringArrayVar(&p.flags.resend, "resend-secret", nil, "send the secret of this `name` although a rotation has replaced it; may be given again")
	f.BoolVar(&p.flags.allowLockout, "allow-lockout", false, "allow an MFA enforcement that this token's own login falls under")
}

func outFlag(p *program, f *pflag.FlagSet) {
	f.StringVar(&p.flags.out, "out", "", "save the plan in this `file`, to be applied later")
}

func approveFlag(p *program, f *pflag.FlagSet) {
	f.BoolVar(&p.flags.autoApprove, "auto-approve", false, "do not ask")
}

func noChecksFlag(p *program, f *pflag.FlagSet) {
	f.BoolVar(&p.flags.noChecks, "no-checks", false, "do not prove by use that it works")
}

func dryRunFlag(p *program, f *pflag.FlagSet) {
	f.BoolVar(&p.flags.dryRun, "dry-run", false, "show what would be deleted, and delete nothing")
}

// command is the command line.
func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use: p.name, Long: strings.ReplaceAll(about+"\n\n"+aboutJSON, "{me}", p.name), Version: version(),
		SilenceErrors: true, SilenceUsage: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var known []string
			for _, t := range c.Commands() {
				known = append(known, t.Name())
			}
			return usageError{fmt.Errorf("there is no command %q%s; %s help lists them", args[0], meant(args[0], "", known), p.name)}
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(p.flagError)
	root.PersistentFlags().BoolVar(&p.flags.json, "json", false, "print one JSON document")
	root.PersistentFlags().BoolVar(&p.flags.noColor, "no-color", false, "no colours (default: colours on a terminal, unless NO_COLOR is set)")
	for _, t := range tasks {
		root.AddCommand(p.commandOf(t))
	}
	root.AddCommand(&cobra.Command{Use: "file", Short: "What may stand in a file: every block and field", Long: bootstrap.Reference()})
	return root
}

func (p *program) commandOf(t task) *cobra.Command {
	named := func(text string) string { return strings.ReplaceAll(text, "{me}", p.name) }
	c := &cobra.Command{
		Use: t.use, Short: t.short, Long: named(t.long), Example: named(t.example),
		Args: func(c *cobra.Command, args []string) error {
			allowed := t.args
			if allowed == nil {
				allowed = cobra.NoArgs
			}
			if allowed(c, args) != nil {
				return usageError{fmt.Errorf("%s does not take %q; a file is named with -f; %s says more", c.Name(), args[len(args)-1], c.CommandPath()+" --help")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			p.task = c.Name()
			return t.run(p, c.Context(), args)
		},
	}
	for _, add := range t.flags {
		add(p, c.Flags())
	}
	p.complete(c)
	return c
}

// flagError adds a suggestion to the error of an unknown flag.
func (p *program) flagError(c *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	p.task = c.Name()
	text := err.Error()
	if name, is := strings.CutPrefix(text, "unknown flag: --"); is {
		var known []string
		c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		text = fmt.Sprintf("%s has no flag --%s%s", c.CommandPath(), name, meant(name, "--", known))
	}
	return usageError{fmt.Errorf("%s; %s --help lists the flags", text, c.CommandPath())}
}
